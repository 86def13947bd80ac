"""The checks of `aegis doctor` on the store: database, master keys, credentials, workers, deliveries.

They only read, and no finding repeats a secret.
"""

from collections.abc import Callable, Iterator

from aegis_stream.domain.destination import HALTED, Destination
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.organization import Quotas
from aegis_stream.store.database import Schema
from aegis_stream.store.inspection import Inspection, Sealed
from aegis_stream.store.opening import Location, is_alive
from aegis_stream.store.recorded_head import RecordedHead
from aegis_stream.store.suitability import Demands
from aegis_stream.vault import KeySource, Vault

from .checks import Finding, State, listed

EVENTS_SECONDS_MAX = 30.0
"""Longest verification of the log, seconds: about a million events each."""
NEAR_QUOTA, FULL_QUOTA = 0.8, 0.95
"""Shares of a quota that are worth a note, and that are a problem: a large request may not fit any more."""
_FIRST_START = "if a service has its data elsewhere, correct AEGIS_DATABASE_URL; otherwise nothing"
_STATES: dict[str, State] = {"ok": "ok", "info": "note", "warn": "problem", "refuse": "problem"}
CHECK_SECONDS_MAX = 60.0
"""Longest check of the database: SQLite reads some hundred MB per second."""


# ── database and master key ──


def check_database(
    location: Location, inspection: Inspection, demands: Demands, clock: Callable[[], Micros]
) -> Iterator[Finding]:
    """Check the database: whether a start would accept it, its integrity, and its schema version."""
    for one in inspection.suitability(demands, clock):
        yield Finding(one.row, _STATES[one.state], one.detail, one.remedy)
    yield from _check_schema(inspection.schema)
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
        detail = f"{location.path} is intact" if not location.shared else f"{location.url.safe()} answers"
        yield Finding("database", "ok", f"{detail}, schema version {inspection.schema.found}")


def _check_schema(schema: Schema) -> Iterator[Finding]:
    found, newest, _ = schema
    if not schema.readable:
        remedy = "install the newer version, or restore the backup from before the upgrade"
        yield Finding(
            "database",
            "problem",
            f"schema version {found} is newer than {newest}, the newest that this version supports",
            remedy,
        )
    elif found > newest:
        detail = f"schema version {found} is newer than {newest}, the newest that this version knows, but it can work on it"
        yield Finding("database", "note", detail, "finish the upgrade: install the newer version here too")
    elif not found:
        yield Finding("database", "note", "it is empty; the next start makes the tables", _FIRST_START)
    elif found < newest:
        yield Finding(
            "database",
            "note",
            f"schema version {found}; the next start migrates it to {newest}",
            "back up the database first",
        )


def check_events(inspection: Inspection, recorded: RecordedHead | None) -> Iterator[Finding]:
    """Check that every acknowledged event is there and has the bytes that were recorded.

    Args:
        recorded: what is noted beside the database; None where nothing is.
    """
    if recorded is not None and (fault := recorded.fault(inspection.total_head())):
        remedy = f"restore the newest backup, or delete {recorded.path} to start with what is left"
        yield Finding("events", "problem", fault, remedy)
    damaged, finished = inspection.damaged_events(EVENTS_SECONDS_MAX)
    if damaged:
        names = listed([f"event {sequence} of {org_id}" for org_id, sequence in damaged])
        yield Finding(
            "events", "problem", f"damaged or missing: {names}",
            "these are not delivered but become dead letters; check the disk, and restore a backup",
        )  # fmt: skip
    elif not finished:
        yield Finding(
            "events", "note", f"not all events were verified within {EVENTS_SECONDS_MAX:g} s; those that were are intact",
            "run `aegis doctor` on a restored backup",
        )  # fmt: skip
    else:
        yield Finding("events", "ok", "all events are there, and have the bytes that were recorded")


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
            "master key", "note", f"{old_form} destinations are sealed in the form of an older version, not bound to where they are sent",
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


# ── quotas ──


def check_quotas(inspection: Inspection, default: Quotas) -> Iterator[Finding]:
    """Look for organizations that have used up their quota of stored bytes, or nearly."""
    near, limited = list[str](), 0
    full = list[str]()
    for one in inspection.storage_use(default):
        limited += 1
        share = one.stored_bytes / one.stored_bytes_max
        if share >= NEAR_QUOTA:
            # Rounded down: 100 % is said of a quota that is really used up.
            text = f"organization {one.org_id} stores {int(share * 100)} % of its quota of {one.stored_bytes_max:,} bytes"
            (full if share >= FULL_QUOTA else near).append(text)
    remedy = (
        "redrive or purge its dead letters, or raise the quota: `aegis org quota --org ORG --stored-bytes N`"
    )
    if full:
        yield Finding("quotas", "problem", f"{listed(full)}: events are refused, or soon will be", remedy)
    if near:
        yield Finding("quotas", "note", listed(near), remedy)
    if not full and not near:
        text = f"none of {limited} organizations with a quota of stored bytes has used {NEAR_QUOTA:.0%} of it"
        yield Finding("quotas", "ok", text if limited else "no organization has a quota of stored bytes")


# ── workers ──


def check_workers(
    inspection: Inspection, location: Location, now: Micros, destinations: int
) -> Iterator[Finding]:
    """Check that workers deliver: running processes with valid leases.

    Args:
        now: by the clock that leases are judged by.
    """
    workers = inspection.workers()
    # Of a database of several machines, leases alone say who lives: this machine does not see the others' processes.
    dead = [
        one.worker_id
        for one in workers
        if not location.shared
        and (not location.wake_folder.is_dir() or not is_alive(location, one.worker_id))
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
            "the process is stopped or hangs, or its machine is gone: continue it (kill -CONT), or kill it",
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
