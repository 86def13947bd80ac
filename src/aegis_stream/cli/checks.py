"""What `aegis doctor` looks at on this machine: settings, files, master key, database, disk, clock, workers.

Nothing is made, changed or repaired, and no finding repeats a secret. What leaves the machine is in checks_egress.py.
"""

import ctypes
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from aegis_stream.domain.destination import HALTED, Destination
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.times import to_text
from aegis_stream.errors import Misconfigured
from aegis_stream.settings import SETTINGS, Settings
from aegis_stream.store.inspection import Inspection, Sealed
from aegis_stream.store.opening import Location, is_alive, refuse_unsuitable
from aegis_stream.vault import KeySource, Vault

FREE_BYTES_MIN = 1 << 30
FREE_SHARE_MIN = 0.05
"""Less free space than both is a finding: a GiB holds a few hundred thousand events, and file systems slow down when full."""
FREE_FILES_MIN = 1000
CHECK_SECONDS_MAX = 60.0
"""Longest check of the database; SQLite reads some hundred MB a second."""
CLOCK_SLACK_US = 5 * SECOND
"""How far the clock may stand behind a time that was noted: clocks are set back a little now and then."""
SHOWN_MAX = 10
"""Ids that one finding lists."""
_CLOCK_UNSYNCHRONIZED = 5  # TIME_ERROR, adjtimex(2)

State = Literal["ok", "note", "problem"]


class Finding(NamedTuple):
    """What a look at one thing found.

    Args:
        state: "note" is worth knowing and needs nothing done.
        remedy: what to do; "" where nothing is.
    """

    check: str
    state: State
    detail: str
    remedy: str = ""


def listed(names: list[str]) -> str:
    """Return some names, and how many more there are."""
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return ", ".join(names[:SHOWN_MAX]) + more


# ── settings and files ──


def check_settings(settings: Settings, config: Path | None) -> Iterator[Finding]:
    """Look at what is set; that it can be read is known already."""
    yield Finding("configuration", "ok", "every setting is known and in its range")
    if settings.egress.allow_http:
        yield Finding(
            "configuration", "note", "plain http destinations are taken: events and credentials cross networks readably",
            "unset AEGIS_ALLOW_HTTP unless this is a test",
        )  # fmt: skip
    wide = [
        str(one) for one in settings.egress.allowed_networks if one.prefixlen < (8 if one.version == 4 else 7)
    ]
    if wide:
        yield Finding(
            "configuration", "problem", f"AEGIS_ALLOWED_NETWORKS opens {', '.join(wide)} to every tenant",
            "list the networks of the receivers alone",
        )  # fmt: skip
    if config is not None and any(
        value is not None and SETTINGS[name].secret for name, value in settings.values().items()
    ):
        yield from _private(config, "configuration")


def check_files(folder: Path, database: Path) -> Iterator[Finding]:
    """Look at who may read the data directory and what lies in it."""
    found = folder.stat()
    problems = []
    if stat.S_IMODE(found.st_mode) & 0o077:
        problems.append(Finding("files", "problem", f"{folder} is open to others", f"chmod 700 {folder}"))
    names = [folder / name for name in ("master.key", "operator.sha256")]
    names += [database.with_name(database.name + end) for end in ("", "-wal", "-shm", ".lock")]
    for path in names:
        problems += [one for one in _private(path, "files") if one.state == "problem"]
        if path.exists() and path.stat().st_uid != found.st_uid:
            problems.append(
                Finding(
                    "files",
                    "problem",
                    f"{path} belongs to another user than the directory: the service may not be able to write it",
                    f"chown {found.st_uid}:{found.st_gid} {path}",
                )
            )
    yield from problems or [Finding("files", "ok", f"{folder} and what is in it are the owner's alone")]


def _private(path: Path, check: str) -> Iterator[Finding]:
    if not path.exists():
        return
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding(check, "problem", f"{path} can be read or written by others", f"chmod 600 {path}")
    else:
        yield Finding(check, "ok", f"{path} is its owner's alone")


def check_disk(folder: Path) -> Iterator[Finding]:
    """Look at the room that is left."""
    room = os.statvfs(folder)
    free, whole = room.f_bavail * room.f_frsize, max(1, room.f_blocks * room.f_frsize)
    text = f"{free / 1e9:.1f} GB free ({free / whole:.0%}) where {folder} is"
    if free < FREE_BYTES_MIN or (free / whole < FREE_SHARE_MIN and free < 20 * FREE_BYTES_MIN):
        remedy = "free some space, or lower AEGIS_RETENTION_DAYS: when it is full, ingest answers 503"
        yield Finding("disk", "problem", text, remedy)
    elif room.f_files and room.f_favail < FREE_FILES_MIN:
        yield Finding(
            "disk",
            "problem",
            f"{room.f_favail} files can still be made where {folder} is",
            "remove some files",
        )
    else:
        yield Finding("disk", "ok", text)


# ── clock ──


def check_clock(now: Micros, newest: Micros, database: Path) -> Iterator[Finding]:
    """Look at the clock beside the times that the store and the file system have noted.

    Args:
        newest: the newest time that the store knows.
    """
    files = [path for path in (database, database.with_name(database.name + "-wal")) if path.exists()]
    noted = max([newest, *(Micros(path.stat().st_mtime_ns // 1000) for path in files)])
    if now < noted - CLOCK_SLACK_US:
        yield Finding(
            "clock", "problem", f"it shows {to_text(now)}, and something was noted at {to_text(noted)} already",
            "set the clock (timedatectl, chronyd), or events get wrong times and retries wait",
        )  # fmt: skip
        return
    synchronized = _is_synchronized()
    if synchronized is False:
        yield Finding(
            "clock", "note", f"it shows {to_text(now)}, and the kernel says that nothing keeps it right",
            "run chronyd or systemd-timesyncd; receivers refuse what is signed at a wrong time",
        )  # fmt: skip
    else:
        kept = (
            "is kept right by NTP"
            if synchronized
            else "goes on from what was noted; whether NTP keeps it is not known"
        )
        yield Finding("clock", "ok", f"it shows {to_text(now)} and {kept}")


def _is_synchronized() -> bool | None:
    """Ask the kernel whether the clock is kept right; None where it does not say.

    Source: adjtimex(2): with modes 0 it changes nothing and returns the state of the clock.
    """
    try:
        library = ctypes.CDLL(None)
        state = int(library.adjtimex(ctypes.create_string_buffer(256)))  # struct timex has 208 bytes
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _CLOCK_UNSYNCHRONIZED


# ── database and master key ──


def check_database(location: Location, inspection: Inspection) -> Iterator[Finding]:
    """Look at the file: can it be trusted, is it whole, does it fit this version."""
    try:
        refuse_unsuitable(location)
    except Misconfigured as error:
        yield Finding("database", "problem", error.message, "do what the line says before the next start")
    found, newest = inspection.schema
    if found > newest:
        remedy = "install that version, or restore the backup made before the upgrade"
        yield Finding(
            "database",
            "problem",
            f"schema version {found} is newer than {newest}, which this version knows",
            remedy,
        )
    elif found < newest:
        yield Finding(
            "database",
            "note",
            f"schema version {found}; the next start brings it to {newest}",
            "back it up first",
        )
    faults = inspection.quick_check(CHECK_SECONDS_MAX)
    if faults is None:
        yield Finding(
            "database", "note", f"the check was not finished within {CHECK_SECONDS_MAX:g} s, and found nothing until then",
            "let `PRAGMA integrity_check` look at a copy",
        )  # fmt: skip
    elif faults:
        yield Finding(
            "database", "problem", "; ".join(faults), "stop the service and restore the last backup"
        )
    else:
        yield Finding("database", "ok", f"{location.path} is whole, schema version {found}")


def check_keys(keys: KeySource, vault: Vault, inspection: Inspection) -> Iterator[Finding]:
    """Look at the master keys: the right ones, and no rotation left half-way."""
    sealing = inspection.sealing_key()
    if sealing is None:
        yield Finding("master key", "note", "the database knows none yet", "the next start notes it")
        return
    if not inspection.opens_sentinel(vault, sealing):
        yield Finding(
            "master key", "problem", f"the credentials are sealed with key {sealing.key_id.hex()}, which is not in {keys.setting}",
            "put that key back from its backup; if it is lost for good, see `aegis vault reset`",
        )  # fmt: skip
        return
    ring = keys.read()
    older = [one.key_id.hex() for one in ring if one.key_id != sealing.key_id]
    yield Finding("master key", "ok", f"{sealing.key_id.hex()} in {keys.setting} opens what is stored")
    if sealing.rewrapped_at is None or ring[0].key_id != sealing.key_id:
        yield Finding("master key", "problem", "a rotation was not finished", "run `aegis vault rotate`")
    elif older:
        yield Finding(
            "master key", "note", f"older keys are still kept: {listed(older)}",
            "when no backup needs them any more: `aegis vault rotate --drop-old`, or leave them out where they are given",
        )  # fmt: skip
    old_form = inspection.count_to_rewrap(vault.stamp(sealing.key_id))
    if old_form and sealing.rewrapped_at is not None:
        yield Finding(
            "master key", "note", f"{old_form} destinations are sealed as the version before did, not bound to their organization",
            "run `aegis vault rotate`",
        )  # fmt: skip


def check_credentials(vault: Vault, inspection: Inspection) -> tuple[list[Destination], Finding]:
    """Open every destination. Returns: those that open, and the finding."""
    opened, broken = list[Destination](), list[str]()
    for one in inspection.destinations(vault):
        if isinstance(one, Sealed):
            broken.append(f"{one.dst_id} of {one.org_id} ({one.code})")
        else:
            opened.append(one)
    if broken:
        remedy = (
            "put the missing master key back; what is damaged is deleted and listed by `aegis vault reset`"
        )
        return opened, Finding("credentials", "problem", f"do not open: {listed(broken)}", remedy)
    return opened, Finding("credentials", "ok", f"of all {len(opened)} destinations open")


# ── workers ──


def check_workers(
    inspection: Inspection, location: Location, now: Micros, destinations: int
) -> Iterator[Finding]:
    """Look for who delivers: living processes whose leases hold."""
    workers = inspection.workers()
    bells = location.wake_folder
    dead = [one.worker_id for one in workers if not bells.is_dir() or not is_alive(location, one.worker_id)]
    silent = [one.worker_id for one in workers if one.worker_id not in dead and one.expires_at <= now]
    living = [one for one in workers if one.worker_id not in (*dead, *silent)]
    if dead:
        yield Finding(
            "workers", "problem", f"no process is left of {listed(dead)}",
            "start `aegis serve` or `aegis worker`: it takes over what they served",
        )  # fmt: skip
    if silent:
        yield Finding(
            "workers", "problem", f"silent for longer than their lease: {listed(silent)}",
            "their process is stopped or hangs: let it go on (SIGCONT), or end it",
        )  # fmt: skip
    if living:
        served = sum(one.destinations for one in living)
        yield Finding("workers", "ok", f"{len(living)} alive, {served} of {destinations} destinations served")
        waiting = inspection.unserved()
        if waiting:
            yield Finding(
                "workers", "note", f"{waiting} destinations wait for a worker", "look again in a minute"
            )
    elif not dead and not silent:
        state: State = "problem" if destinations else "note"
        yield Finding(
            "workers", state, "none runs: nothing is delivered", "start `aegis serve` or `aegis worker`"
        )


# ── deliveries ──


def check_deliveries(inspection: Inspection) -> Iterator[Finding]:
    """Look for destinations that get nothing: halted by a bug of ours, or failing for a reason of theirs."""
    halted, failing = list[str](), list[str]()
    for one in inspection.failing():
        if one.reason.startswith(HALTED):
            halted.append(f"{one.dst_id} of {one.org_id} ({one.reason})")
        else:
            failing.append(f"{one.dst_id} of {one.org_id}")
    if halted:
        yield Finding(
            "deliveries", "problem", f"halted: {listed(halted)}",
            "report the bug with this line; a newer version may have it fixed",
        )  # fmt: skip
    if failing:
        yield Finding(
            "deliveries", "note", f"attempts fail: {listed(failing)}",
            "`aegis destination show` prints the last error and what to do",
        )  # fmt: skip
    if not halted and not failing:
        yield Finding("deliveries", "ok", "no destination is failing")
