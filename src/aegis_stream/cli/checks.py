"""The checks of `aegis doctor` on this machine: settings, files, disk, clock, database, keys, workers, deliveries.

They create, change and repair nothing, and no finding repeats a secret. Checks that leave the machine are in
checks_egress.py.
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
"""Too little free space: a GiB holds a few hundred thousand events, and file systems are slow when they are nearly full."""
FREE_FILES_MIN = 1000
CHECK_SECONDS_MAX = 60.0
"""Longest check of the database: SQLite reads some hundred MB per second."""
CLOCK_SLACK_US = 5 * SECOND
"""How far the clock may be behind a recorded time: clocks are sometimes set back a little."""
SHOWN_MAX = 10
"""Most ids that one finding lists."""
_CLOCK_UNSYNCHRONIZED = 5  # TIME_ERROR, adjtimex(2)

State = Literal["ok", "note", "problem"]


class Finding(NamedTuple):
    """The result of one check.

    Args:
        state: "note" is worth knowing, but not a problem.
        remedy: what to do; "" if the state is "ok".
    """

    check: str
    state: State
    detail: str
    remedy: str = ""


def listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return ", ".join(names[:SHOWN_MAX]) + more


# ── settings and files ──


def check_settings(settings: Settings, config: Path | None) -> Iterator[Finding]:
    """Check settings that are valid, but may be unwise."""
    yield Finding("configuration", "ok", "all settings are known and in range")
    if settings.egress.allow_http:
        yield Finding(
            "configuration", "note", "plain http destinations are accepted: events and credentials cross networks unencrypted",
            "unset AEGIS_ALLOW_HTTP, unless this is a test",
        )  # fmt: skip
    wide = [
        str(one) for one in settings.egress.allowed_networks if one.prefixlen < (8 if one.version == 4 else 7)
    ]
    if wide:
        yield Finding(
            "configuration", "problem", f"AEGIS_ALLOWED_NETWORKS allows {', '.join(wide)} to every organization",
            "list only the networks of the receivers",
        )  # fmt: skip
    if config is not None and any(
        value is not None and SETTINGS[name].secret for name, value in settings.values().items()
    ):
        yield from _private(config, "configuration")


def check_files(folder: Path, database: Path) -> Iterator[Finding]:
    """Check who can read the data directory and its files."""
    found = folder.stat()
    problems = []
    if stat.S_IMODE(found.st_mode) & 0o077:
        problems.append(Finding("files", "problem", f"other users can read {folder}", f"chmod 700 {folder}"))
    names = [folder / name for name in ("master.key", "operator.sha256", "node.id")]
    names += [database.with_name(database.name + end) for end in ("", "-wal", "-shm", ".lock")]
    for path in names:
        problems += [one for one in _private(path, "files") if one.state == "problem"]
        if path.exists() and path.stat().st_uid != found.st_uid:
            problems.append(
                Finding(
                    "files",
                    "problem",
                    f"{path} belongs to another user than the directory: the service may be unable to write it",
                    f"chown {found.st_uid}:{found.st_gid} {path}",
                )
            )
    yield from problems or [Finding("files", "ok", f"only the owner can read {folder} and its files")]


def _private(path: Path, check: str) -> Iterator[Finding]:
    if not path.exists():
        return
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Finding(check, "problem", f"other users can read or write {path}", f"chmod 600 {path}")
    else:
        yield Finding(check, "ok", f"only the owner can read {path}")


def check_disk(folder: Path) -> Iterator[Finding]:
    """Check the free space."""
    room = os.statvfs(folder)
    free, whole = room.f_bavail * room.f_frsize, max(1, room.f_blocks * room.f_frsize)
    text = f"{free / 1e9:.1f} GB ({free / whole:.0%}) free on the file system of {folder}"
    if free < FREE_BYTES_MIN or (free / whole < FREE_SHARE_MIN and free < 20 * FREE_BYTES_MIN):
        remedy = "free space, or lower AEGIS_RETENTION_DAYS: when the disk is full, ingest answers 503"
        yield Finding("disk", "problem", text, remedy)
    elif room.f_files and room.f_favail < FREE_FILES_MIN:
        yield Finding(
            "disk",
            "problem",
            f"{room.f_favail} files can still be created on the file system of {folder}",
            "delete files there",
        )
    else:
        yield Finding("disk", "ok", text)


# ── clock ──


def check_clock(now: Micros, newest: Micros, database: Path) -> Iterator[Finding]:
    """Compare the clock with the times that the store and the file system have recorded.

    Args:
        newest: the newest time in the store.
    """
    files = [path for path in (database, database.with_name(database.name + "-wal")) if path.exists()]
    noted = max([newest, *(Micros(path.stat().st_mtime_ns // 1000) for path in files)])
    if now < noted - CLOCK_SLACK_US:
        yield Finding(
            "clock", "problem", f"the clock shows {to_text(now)}, but {to_text(noted)} is already recorded",
            "set the clock (timedatectl, chronyd); until then events get wrong times and retries wait",
        )  # fmt: skip
        return
    synchronized = _is_synchronized()
    if synchronized is False:
        yield Finding(
            "clock", "note", f"the clock shows {to_text(now)}, but is not synchronized",
            "run chronyd or systemd-timesyncd; receivers reject signatures with a wrong time",
        )  # fmt: skip
    else:
        kept = "is synchronized" if synchronized else "agrees with recorded times; synchronization is unknown"
        yield Finding("clock", "ok", f"the clock shows {to_text(now)} and {kept}")


def _is_synchronized() -> bool | None:
    """Ask the kernel whether the clock is synchronized; None if it does not tell.

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
    """Check the file: its location, its integrity, and its schema version."""
    try:
        refuse_unsuitable(location)
    except Misconfigured as error:
        yield Finding("database", "problem", error.message, "do this before the next start")
    found, newest = inspection.schema
    if found > newest:
        remedy = "install the newer version, or restore the backup from before the upgrade"
        yield Finding(
            "database",
            "problem",
            f"schema version {found} is newer than {newest}, the newest that this version supports",
            remedy,
        )
    elif found < newest:
        yield Finding(
            "database",
            "note",
            f"schema version {found}; the next start migrates it to {newest}",
            "back up the database first",
        )
    faults = inspection.quick_check(CHECK_SECONDS_MAX)
    if faults is None:
        yield Finding(
            "database", "note", f"the integrity check was not finished within {CHECK_SECONDS_MAX:g} s; it found no fault until then",
            "run `PRAGMA integrity_check` on a copy",
        )  # fmt: skip
    elif faults:
        yield Finding(
            "database", "problem", "; ".join(faults), "stop the service and restore the last backup"
        )
    else:
        yield Finding("database", "ok", f"{location.path} is intact, schema version {found}")


def check_keys(keys: KeySource, vault: Vault, inspection: Inspection) -> Iterator[Finding]:
    """Check the master keys: that they are the right ones, and that no rotation is unfinished."""
    sealing = inspection.sealing_key()
    if sealing is None:
        yield Finding(
            "master key", "note", "the database does not name one yet", "nothing: the next start records it"
        )
        return
    if not inspection.opens_sentinel(vault, sealing):
        yield Finding(
            "master key", "problem", f"credentials are sealed with key {sealing.key_id.hex()}, which is not in {keys.setting}",
            "restore that key from its backup; if there is no backup, see `aegis vault reset --help`",
        )  # fmt: skip
        return
    ring = keys.read()
    older = [one.key_id.hex() for one in ring if one.key_id != sealing.key_id]
    yield Finding(
        "master key", "ok", f"{sealing.key_id.hex()} in {keys.setting} decrypts the stored credentials"
    )
    if sealing.rewrapped_at is None or ring[0].key_id != sealing.key_id:
        yield Finding("master key", "problem", "a rotation is unfinished", "run `aegis vault rotate`")
    elif older:
        yield Finding(
            "master key", "note", f"older keys are still kept: {listed(older)}",
            "when no backup needs them, run `aegis vault rotate --drop-old`, or remove them from AEGIS_MASTER_KEY",
        )  # fmt: skip
    old_form = inspection.count_to_rewrap(vault.stamp(sealing.key_id))
    if old_form and sealing.rewrapped_at is not None:
        yield Finding(
            "master key", "note", f"{old_form} destinations are sealed in the form of an older version, not bound to their organization",
            "run `aegis vault rotate`",
        )  # fmt: skip


def check_credentials(vault: Vault, inspection: Inspection) -> tuple[list[Destination], Finding]:
    """Decrypt the credentials of every destination. Returns: the destinations that decrypt, and the finding."""
    opened, broken = list[Destination](), list[str]()
    for one in inspection.destinations(vault):
        if isinstance(one, Sealed):
            broken.append(f"{one.dst_id} of {one.org_id} ({one.code})")
        else:
            opened.append(one)
    if broken:
        remedy = "restore the missing master key from its backup; `aegis vault reset` deletes and lists damaged credentials"
        return opened, Finding("credentials", "problem", f"cannot decrypt: {listed(broken)}", remedy)
    return opened, Finding(
        "credentials", "ok", f"credentials of all {len(opened)} destinations can be decrypted"
    )


# ── workers ──


def check_workers(
    inspection: Inspection, location: Location, now: Micros, destinations: int
) -> Iterator[Finding]:
    """Check that workers deliver: running processes with valid leases."""
    workers = inspection.workers()
    dead = [
        one.worker_id
        for one in workers
        if not location.wake_folder.is_dir() or not is_alive(location, one.worker_id)
    ]
    silent = [one.worker_id for one in workers if one.worker_id not in dead and one.expires_at <= now]
    living = [one for one in workers if one.worker_id not in (*dead, *silent)]
    if dead:
        yield Finding(
            "workers", "problem", f"their process is gone: {listed(dead)}",
            "start `aegis serve` or `aegis worker`: it takes over their destinations",
        )  # fmt: skip
    if silent:
        yield Finding(
            "workers", "problem", f"silent for longer than their lease: {listed(silent)}",
            "the process is stopped or hangs: continue it (kill -CONT), or kill it",
        )  # fmt: skip
    if living:
        served = sum(one.destinations for one in living)
        yield Finding(
            "workers", "ok", f"{len(living)} running, {served} of {destinations} destinations served"
        )
        waiting = inspection.unserved()
        if waiting:
            yield Finding(
                "workers", "note", f"{waiting} destinations wait for a worker", "run this again in a minute"
            )
    elif not dead and not silent:
        state: State = "problem" if destinations else "note"
        yield Finding(
            "workers", state, "none is running: nothing is delivered", "start `aegis serve` or `aegis worker`"
        )


# ── deliveries ──


def check_deliveries(inspection: Inspection) -> Iterator[Finding]:
    """Look for destinations that receive nothing: halted by a bug of this program, or failing for their own reason."""
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
