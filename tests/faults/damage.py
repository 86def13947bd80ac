"""Damage at rest: a byte that changed, a file that was cut, removed or put back, a row that is gone.

Whatever it is, no event is handed out with other bytes than were recorded, and what is missing is named: by the start, or by doctor.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import apsw

from aegis_stream.cli.checks_store import check_database, check_events
from aegis_stream.domain.ids import OrganizationId
from aegis_stream.errors import AegisError, Unavailable
from aegis_stream.store import organizations
from aegis_stream.store.opening import inspect_database
from aegis_stream.store.pages import read_page
from aegis_stream.store.recorded_head import RecordedHead
from aegis_stream.wiring.process import SystemClock
from aegis_stream.wiring.stores import database_location, demands_of, open_stores
from faults.frame import Fault, Run
from support.api import FakeLog
from support.clock import T0
from support.settings import make_settings
from support.stores import append_to, event

EVENTS, IN_THE_LOG = 300, 120
"""Events of the database, and how many of them stand in its write-ahead log alone."""


@dataclass
class Original:
    """A data directory in order, as a killed service leaves it, and the bodies of its events."""

    folder: Path
    bodies: list[bytes] = field(default_factory=list)

    async def make(self, random: Random) -> None:
        """Record events; copy the files while the database is open, so that the newest stand in the log alone."""
        open_folder = self.folder.with_name("open")
        stores = open_stores(make_settings(data_dir=open_folder), FakeLog(), threads=False)
        no = stores.db.write_now(lambda unit: organizations.add(unit, OrganizationId("org_a"), "A", T0))
        for number in range(EVENTS):
            if number == EVENTS - IN_THE_LOG:
                other = apsw.Connection(str(open_folder / "aegis.db"))
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                other.close()
            one = event(
                f"e{number}",
                f'{{"event":{{"id":"e{number}"}},"text":"{random.randbytes(random.randrange(900)).hex()}"}}',
            )
            await append_to(stores.log, no, [one], T0)
            self.bodies.append(one.body.encode())
        RecordedHead(open_folder).write(EVENTS)
        shutil.copytree(open_folder, self.folder, ignore=shutil.ignore_patterns("*-shm", "bell"))
        stores.close()


# ── what is done to it ──


def _flip(path: Path, at: int, bits: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bits]))


def flip_in_a_body(folder: Path, random: Random) -> None:
    """Change a byte in the text of an event, wherever it lies."""
    path = folder / random.choice(("aegis.db", "aegis.db-wal"))
    places = [found.start() for found in re.finditer(rb'"event":', path.read_bytes())]
    _flip(path, random.choice(places) + random.randrange(40), 1 << random.randrange(8))


def flip_in_the_database(folder: Path, random: Random) -> None:
    """Change any byte of the database."""
    path = folder / "aegis.db"
    _flip(path, random.randrange(path.stat().st_size), 1 << random.randrange(8))


def flip_in_the_log(folder: Path, random: Random) -> None:
    """Change any byte of the write-ahead log."""
    path = folder / "aegis.db-wal"
    _flip(path, random.randrange(path.stat().st_size), 1 << random.randrange(8))


def zero_a_sector(folder: Path, random: Random) -> None:
    """Lose a sector of the database."""
    path = folder / "aegis.db"
    with path.open("r+b") as file:
        file.seek(random.randrange(path.stat().st_size // 512) * 512)
        file.write(bytes(512))


def cut(folder: Path, random: Random) -> None:
    """Cut one of the two files at any length."""
    path = folder / random.choice(("aegis.db", "aegis.db-wal"))
    with path.open("r+b") as file:
        file.truncate(random.randrange(path.stat().st_size))


def remove_log(folder: Path, random: Random) -> None:
    """Remove the write-ahead log."""
    (folder / "aegis.db-wal").unlink()


def remove_database(folder: Path, random: Random) -> None:
    """Remove the database, with its log or without."""
    (folder / "aegis.db").unlink()
    if random.random() < 0.5:
        (folder / "aegis.db-wal").unlink()


def remove_rows(folder: Path, random: Random) -> None:
    """Remove rows of events, as a mistaken statement does."""
    db = apsw.Connection(str(folder / "aegis.db"))
    for _ in range(random.randrange(1, 5)):
        db.execute("DELETE FROM events WHERE sequence = ?", (random.randrange(1, EVENTS + 1),))
    db.close()


DAMAGES: tuple[Callable[[Path, Random], None], ...] = (
    flip_in_a_body,
    flip_in_the_database,
    flip_in_the_log,
    zero_a_sector,
    cut,
    remove_log,
    remove_database,
    remove_rows,
)


# ── what must hold ──


async def damage(run: Run) -> None:
    """Damage a copy of the data directory in each round, start on it, and read everything."""
    original = Original(run.folder / "original")
    await original.make(run.random)
    for number in range(run.rounds):
        what = DAMAGES[number % len(DAMAGES)]
        folder = run.folder / "state"
        shutil.copytree(original.folder, folder)
        what(folder, run.random)
        name = f"round {number}, {what.__name__}"
        try:
            missing = _start_and_read(run, folder, original.bodies, name)
            if missing:
                told = _told_by_doctor(folder)
                run.expect(bool(told), f"{name}: {missing} events are missing, and doctor says nothing")
                run.add(named_by_doctor=1)
        except AegisError:
            run.add(refused_to_start=1)
        run.add(runs=1)
        shutil.rmtree(folder)


def _start_and_read(run: Run, folder: Path, bodies: list[bytes], name: str) -> int:
    """Start, and return how many events cannot be had; none may have other bytes. Raises: AegisError when it does not start."""
    stores = open_stores(make_settings(data_dir=folder), FakeLog(), threads=False)
    found: list[bytes] = []
    try:
        while len(found) < len(bodies):
            span = (len(found) + 1, len(bodies))
            try:
                page = stores.db.read_now(lambda unit, s=span: read_page(unit, 1, s, 1 << 16, labels=True))
            except Unavailable:
                found.append(b"")
                continue
            found += page.bodies or [b""] * (len(bodies) - len(found))
    finally:
        stores.close()
    wrong = sum(1 for one, body in zip(found, bodies, strict=True) if one not in (b"", body))
    run.expect(wrong == 0, f"{name}: {wrong} events are handed out with other bytes")
    run.add(acked=len(bodies), wrong=wrong)
    return sum(1 for one in found if not one)


def _told_by_doctor(folder: Path) -> list[str]:
    """Return what doctor finds wrong with the database and its events."""
    settings = make_settings(data_dir=folder)
    location = database_location(settings)
    try:
        with inspect_database(location) as inspection:
            findings = [
                *check_database(location, inspection, demands_of(settings), SystemClock().now),
                *check_events(inspection, RecordedHead(folder)),
            ]
    except Unavailable as error:
        return [error.message]
    return [one.detail for one in findings if one.state == "problem"]


FAULTS = (
    Fault(
        "damage-at-rest",
        "whatever byte, row or file of the database was changed, cut or removed: no event is handed out with other bytes than were "
        "recorded, and what is missing is named by the start or by doctor",
        damage,
        rounds=96,
        seconds=300,
    ),
)
