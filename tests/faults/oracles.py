"""What must hold after every fault: the ledger, the quiet, what doctor says, what the processes hold.

Each function notes in the run what is wrong; none of them raises.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from faults.frame import Run
from support.processes import Client, by_event_id

Bodies = Mapping[str, bytes]


@dataclass
class Delivered:
    """What came of the events at one destination.

    Args:
        bodies: of the requests that it answered 2xx, in order; events of a request are separate.
        dead: reasons of its dead letters by event id.
        repeats_max: most events that may have arrived twice; the bound of docs/explanation/delivery.md.
    """

    name: str
    bodies: Iterable[bytes]
    dead: Mapping[str, str] = field(default_factory=dict)
    repeats_max: int = 0


def judge_log(run: Run, sent: Bodies, acked: Bodies, stored: Bodies) -> None:
    """Every acknowledged event is in the log; everything in the log has the bytes that were sent."""
    lost = [one for one in acked if one not in stored]
    wrong = [one for one, body in stored.items() if sent.get(one) != body]
    run.add(acked=len(acked), lost=len(lost), wrong=len(wrong))
    run.expect(not lost, f"{len(lost)} of {len(acked)} acknowledged events are not in the log: {lost[:3]}")
    run.expect(not wrong, f"{len(wrong)} events of the log have other bytes than were sent: {wrong[:3]}")


def judge_delivery(run: Run, stored: Bodies, delivered: Delivered) -> None:
    """Every event of the log has arrived unchanged, or is a dead letter with a reason; few arrived twice."""
    arrived, repeats = by_event_id(delivered.bodies)
    lost = [one for one in stored if one not in arrived and not delivered.dead.get(one)]
    wrong = [one for one, bodies in arrived.items() if bodies != {stored.get(one)}]
    run.add(delivered=len(arrived), dead_letters=len(delivered.dead), lost=len(lost), wrong=len(wrong))
    run.add(repeats=repeats, repeats_max=delivered.repeats_max)
    name = delivered.name
    run.expect(not lost, f"{name}: {len(lost)} of {len(stored)} events were never delivered: {lost[:3]}")
    run.expect(not wrong, f"{name}: {len(wrong)} events arrived with other bytes: {wrong[:3]}")
    run.expect(
        repeats <= delivered.repeats_max,
        f"{name}: {repeats} events were repeated; the bound is {delivered.repeats_max}",
    )


def await_quiet(run: Run, client: Client, dst_ids: Iterable[str], seconds: float) -> bool:
    """Without a new event, every destination delivers what is outstanding; return whether it does in time."""
    began_s, left = time.monotonic(), {}
    while True:
        with suppress(Exception):  # the service may be starting
            found = {one: client.stats(one) for one in dst_ids}
            left = {one: stats for one, stats in found.items() if stats["backlog"] or stats["retrying"]}
            if not left:
                return True
        if time.monotonic() - began_s > seconds:
            return run.expect(holds=False, otherwise=f"not quiet after {seconds:g} s: {left}")
        time.sleep(0.1)  # between two polls, not instead of one


def expect_no_blame(run: Run, client: Client, dst_ids: Iterable[str]) -> None:
    """A receiver that answered every request 2xx has no failed attempts."""
    for one in dst_ids:
        failed = client.stats(one)["failed_attempts"]
        run.expect(failed == 0, f"{failed} attempts failed at a receiver that accepted everything")


def problems_of_doctor(environment: Mapping[str, str]) -> list[str]:
    """Return what `aegis doctor` calls a problem."""
    command = [sys.executable, "-m", "aegis_stream", "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    findings = json.loads(done.stdout)["findings"]
    return [f"{one['check']}: {one['detail']}" for one in findings if one["state"] == "problem"]


def measure(run: Run, pids: Iterable[int], database: Path) -> None:
    """Note the most memory and descriptors that a process has used, and the length of the write-ahead log."""
    for pid in pids:
        with suppress(OSError, IndexError):
            peak = Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]
            run.most(memory_mib_max=int(peak) / 1024)
            run.most(descriptors_max=len(list(Path(f"/proc/{pid}/fd").iterdir())))
    with suppress(OSError):
        run.most(wal_mib_max=database.with_name(database.name + "-wal").stat().st_size / (1 << 20))


@dataclass
class Stored:
    """What a database file holds, read beside the service or after it."""

    events: dict[str, bytes]
    dead: dict[str, dict[str, str]]
    """Destination → event id → reason."""
    unanswered: dict[str, int]
    """Destination → events of attempts whose answer did not come in time: the receiver may have them, and gets them again."""


def read_stored(run: Run, database: Path, org_id: str) -> Stored:
    """Read the log of an organization and its dead letters; the file must be sound, and the log without gaps."""
    connection = apsw.Connection(str(database))
    connection.set_busy_timeout(10_000)
    try:
        checked = connection.execute("PRAGMA integrity_check").fetchall()
        run.expect(checked == [("ok",)], f"the database is damaged: {checked[:3]}")
        org_no, head, oldest = _row(
            connection, "SELECT org_no, head, oldest FROM organizations WHERE org_id = ?", org_id
        )
        rows = connection.execute(
            "SELECT event_id, body FROM events WHERE position BETWEEN (?1 << 40) + ?2 AND (?1 << 40) + ?3 ORDER BY position",
            (org_no, oldest, head),
        ).fetchall()
        letters = connection.execute(
            "SELECT d.dst_id, l.event_id, l.message FROM dead_letters l JOIN destinations d USING (dst_no)"
        ).fetchall()
        unanswered = connection.execute(
            "SELECT d.dst_id, sum(a.last_sequence - a.first_sequence + 1) FROM attempts a JOIN destinations d USING (dst_no) "
            "WHERE a.state = 'failed' AND a.status_code IS NULL GROUP BY 1"
        ).fetchall()
    finally:
        connection.close()
    run.expect(len(rows) == head - oldest + 1, f"the log has {len(rows)} rows between {oldest} and {head}")
    twice = [one for one, count in Counter(one for one, _ in rows).items() if count > 1]
    run.expect(not twice, f"{len(twice)} events stand twice in the log: {twice[:3]}")
    dead: dict[str, dict[str, str]] = {}
    for dst_id, event_id, message in letters:
        dead.setdefault(dst_id, {})[event_id] = message
    events = {one: body.encode() if isinstance(body, str) else body for one, body in rows}
    return Stored(events, dead, dict(unanswered))


def _row(connection: apsw.Connection, statement: str, *values: Any) -> Any:
    (found,) = connection.execute(statement, values).fetchall()
    return found
