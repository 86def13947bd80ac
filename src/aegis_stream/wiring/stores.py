"""The stores of a process: opens the data directory, and makes what is missing at the first start."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from aegis_stream.domain.ids import SECOND, WorkerId
from aegis_stream.errors import AegisError, Misconfigured, Unavailable
from aegis_stream.settings import Settings
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store.database import Database
from aegis_stream.store.dead_letter_jobs import DeadLetterWork
from aegis_stream.store.directory import StoredDirectory
from aegis_stream.store.ledger import StoredLedger
from aegis_stream.store.log import StoredLog
from aegis_stream.store.nodes import is_of_node, node_of_directory, own_node
from aegis_stream.store.opening import (
    Location,
    is_alive,
    open_database,
    refuse_unfinished,
    refuse_unsuitable,
)
from aegis_stream.store.recorded_head import NAME, RecordedHead, total
from aegis_stream.store.retention import Retention
from aegis_stream.store.secrets import StoredSecrets
from aegis_stream.store.suitability import Demands
from aegis_stream.telemetry import Log
from aegis_stream.vault import KeyFile

from .master_key import key_source, open_vault
from .operator_key import operator_digest, shared_operator_digest
from .process import SystemClock, SystemRandom

_LEFT_BY_A_SERVICE = ("operator.sha256", "operator.key", NAME, "bell")
"""What the data directory has only after a service ran on its database. A master key may be put there before."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything on one database."""

    db: Database
    log: StoredLog
    ledger: StoredLedger
    directory: StoredDirectory
    secrets: StoredSecrets
    retention: Retention
    dead_letters: DeadLetterWork
    location: Location
    node: str
    operator_digest: bytes
    notes: tuple[str, ...]

    def close(self) -> None:
        """Close the database."""
        self.db.close()


def open_stores(
    settings: Settings, telemetry: Log, *, threads: bool = True, check_keys: bool = True, answers: bool = True
) -> Stores:
    """Open the data directory: make what is missing, migrate the schema, try the master key.

    Args:
        check_keys: False lets a wrong or missing master key pass, for the command that mends that.
        answers: False for a worker, which has no use for the operator's key, and is not told it.
    Returns: the stores, with notes for the person at the first start.
    Raises: Misconfigured, in words that say what to do.
    """
    folder = settings.store.data_dir
    make_folder(folder)
    notes: list[str] = []
    keys = key_source(settings)
    if isinstance(keys, KeyFile) and keys.path.exists():
        keys.read()  # what is wrong with it is said before a database is made
    elif check_keys and settings.secrets.master_key is None and settings.secrets.master_key_file is not None:
        raise Misconfigured(f"AEGIS_MASTER_KEY_FILE {settings.secrets.master_key_file} does not exist")
    location = database_location(settings)
    if location.shared:
        _check_server(location, demands_of(settings), telemetry)
    db = _open_database(location, folder, telemetry, notes, threads=threads)
    try:
        stored_secrets = open_vault(keys, db, location, telemetry, notes, check=check_keys)
        digest = _operator_digest(settings, db, location, telemetry, notes) if answers else b""
    except AegisError:
        db.close()
        raise
    return Stores(
        db,
        StoredLog(db, settings.organization.stored_bytes_max),
        StoredLedger(db, _grace_us(settings, location)),
        StoredDirectory(db, stored_secrets.sealer),
        stored_secrets,
        Retention(db, settings.proof.enabled, _tiles_longer_us(settings)),
        DeadLetterWork(db, SystemClock(), SystemRandom(), settings.organization.audit_actions),
        location,
        _node(db, location, folder),
        digest,
        tuple(notes),
    )


def _check_server(location: Location, demands: Demands, telemetry: Log) -> None:
    """Refuse a server that loses what it acknowledges, and tell what else is wrong with it. Raises: Misconfigured; Unavailable."""
    for one in refuse_unsuitable(location, demands):
        if one.state == "warn":
            telemetry.warning("store.server_warning", row=one.row, reason=one.detail, remedy=one.remedy)


def _open_database(
    location: Location, folder: Path, telemetry: Log, notes: list[str], *, threads: bool
) -> Database:
    """Open the database and bring its schema up to date. Raises: Misconfigured; Unavailable."""
    if not location.shared and (fault := lost_database(folder, location.path)):
        raise Misconfigured(fault, code="database-missing")
    db = open_database(location, SystemClock(), threads=threads)
    try:
        before, after = db.migrate()
        refuse_unfinished(db)
        if not location.shared:  # what is noted beside a database of several machines says nothing about it
            RecordedHead(folder).refuse_rollback(db.read_now(total))
    except AegisError:
        db.close()
        raise
    if before == 0 and location.shared:
        notes.append(f"made the tables in {location.url.safe()}, which hold events, destinations and keys")
    elif before == 0:
        notes.append(f"created {location.path}, which holds events, destinations and keys")
    elif before != after:
        telemetry.info("store.migrated", before=before, after=after)
    return db


def _operator_digest(
    settings: Settings, db: Database, location: Location, telemetry: Log, notes: list[str]
) -> bytes:
    """Return the SHA-256 of the operator key. Raises: Misconfigured; Unavailable."""
    folder, given = settings.store.data_dir, settings.secrets.operator_key
    if location.shared:
        digest, generated = shared_operator_digest(db, folder, given, notes.append)
    else:
        digest, generated = operator_digest(folder, given, notes.append)
    if generated:
        telemetry.info("service.operator_key_made")
    return digest


def _node(db: Database, location: Location, folder: Path) -> str:
    """Return the id of this node."""
    if location.shared:
        return node_of_directory(folder, SystemRandom())
    return db.write_now(lambda unit: own_node(unit, SystemRandom()))


def _tiles_longer_us(settings: Settings) -> int | None:
    """Return for how long beyond events the hashes of sealed logs are kept; None for ever."""
    days = settings.proof.retention_days
    return int(max(0.0, days - settings.retention.days) * 86_400 * SECOND) if days else None


def _grace_us(settings: Settings, location: Location) -> int:
    """Return how long workers that return after an outage leave those of other machines to return: a lease."""
    return int(settings.delivery.lease_seconds * SECOND) if location.shared else 0


def make_folder(folder: Path) -> None:
    """Make the data directory unless it exists. Raises: Misconfigured."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"AEGIS_DATA_DIR {folder} cannot be made: {error.strerror}") from error


def lost_database(folder: Path, database: Path) -> str:
    """Return why a missing or empty database is no first start: what a service leaves beside it is there; else ""."""
    with contextlib.suppress(OSError):
        if database.stat().st_size:
            return ""
    left = [name for name in _LEFT_BY_A_SERVICE if (folder / name).exists()]
    if not left:
        return ""
    return (
        f"{database} is missing or empty, but {', '.join(left)} in {folder} belong to a database that was there: put it back, "
        f"or restore a backup with `aegis restore --replace FILE`; for a new, empty service name another AEGIS_DATA_DIR"
    )


def database_location(settings: Settings) -> Location:
    """Return where the database is."""
    folder = settings.store.data_dir
    url = settings.store.database_url or DatabaseUrl(folder / "aegis.db")
    return Location(url, folder / "bell", settings.store.database_listen_url)


def demands_of(settings: Settings) -> Demands:
    """Return what the operator demands of the database."""
    return Demands(settings.store.require_sync, settings.store.atomic_pages)


async def remove_dead_workers(stores: Stores, telemetry: Log) -> None:
    """Remove the dead workers of this node, so that nobody waits for their leases to expire; those of other nodes expire."""
    with contextlib.suppress(
        Unavailable, OSError
    ):  # a full disk, no descriptor: the leases expire by themselves
        for worker_id in await stores.ledger.workers():
            if is_of_node(worker_id, stores.node) and not is_alive(stores.location, worker_id):
                await stores.ledger.retire(WorkerId(worker_id))
                telemetry.info("store.worker_removed", worker_id=worker_id)
