"""The stores of a process: opens the data directory, and makes what is missing at the first start."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from aegis_stream.domain.ids import WorkerId
from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.settings import Settings
from aegis_stream.store.database import Database
from aegis_stream.store.directory import StoredDirectory
from aegis_stream.store.ledger import StoredLedger
from aegis_stream.store.log import StoredLog
from aegis_stream.store.nodes import is_of_node, own_node
from aegis_stream.store.opening import Location, is_alive, open_database
from aegis_stream.store.recorded_head import NAME, RecordedHead, total
from aegis_stream.store.retention import Retention
from aegis_stream.store.secrets import StoredSecrets, needs_a_key
from aegis_stream.telemetry import Log
from aegis_stream.vault import GivenKeys, KeyFile, KeySource, Vault, parse_ring

from .operator_key import operator_digest
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
    if fault := lost_database(folder, location.path):
        raise Misconfigured(fault, code="database-missing")
    db = open_database(location, SystemClock(), threads=threads)
    try:
        before, after = db.migrate()
        RecordedHead(folder).refuse_rollback(db.read_now(total))
    except Misconfigured:
        db.close()
        raise
    if before == 0:
        notes.append(f"created {location.path}, which holds events, destinations and keys")
    elif before != after:
        telemetry.info("store.migrated", before=before, after=after)
    stored_secrets = _open_vault(settings, db, telemetry, notes, check=check_keys)
    digest, generated = b"", False
    if answers:
        digest, generated = operator_digest(folder, settings.secrets.operator_key, notes.append)
    if generated:
        telemetry.info("service.operator_key_made")
    return Stores(
        db,
        StoredLog(db, settings.organization.stored_bytes_max),
        StoredLedger(db),
        StoredDirectory(db, stored_secrets.sealer),
        stored_secrets,
        Retention(db),
        location,
        db.write_now(lambda unit: own_node(unit, SystemRandom())),
        digest,
        tuple(notes),
    )


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
    folder, url = settings.store.data_dir, settings.store.database_url
    path = Path(url.removeprefix("sqlite:///")) if url else folder / "aegis.db"
    return Location(path, wake_folder=folder / "bell")


def key_source(settings: Settings) -> KeySource:
    """Return where the master keys are kept. Raises: Misconfigured."""
    if settings.secrets.master_key is not None:
        return GivenKeys(parse_ring(settings.secrets.master_key, "AEGIS_MASTER_KEY"))
    return KeyFile(settings.secrets.master_key_file or settings.store.data_dir / "master.key")


def _open_vault(
    settings: Settings, db: Database, telemetry: Log, notes: list[str], *, check: bool
) -> StoredSecrets:
    """Open what is sealed; make the master key's file at the first start, and only then.

    Raises: Misconfigured when a key is missing or wrong, unless `check` is False.
    """
    keys = key_source(settings)
    if isinstance(keys, KeyFile) and not keys.path.exists():
        if check and db.read_now(needs_a_key):
            raise Misconfigured(
                f"{keys.path} is missing, and it opens the stored credentials: put it back from its backup, with mode "
                "0600; if it is lost for good, see `aegis vault reset`",
                code="wrong-master-key",
            )
        if keys.make(SystemRandom()):
            notes.append(
                f"created {keys.path}, which decrypts the stored credentials; back it up apart from the database"
            )
    stored = StoredSecrets(db, Vault(keys, SystemRandom(), telemetry.error))
    if check:
        stored.check(SystemClock().now())
    return stored


async def remove_dead_workers(stores: Stores, telemetry: Log) -> None:
    """Remove the dead workers of this node, so that nobody waits for their leases to expire; those of other nodes expire."""
    with contextlib.suppress(
        Unavailable, OSError
    ):  # a full disk, no descriptor: the leases expire by themselves
        for worker_id in await stores.ledger.workers():
            if is_of_node(worker_id, stores.node) and not is_alive(stores.location, worker_id):
                await stores.ledger.retire(WorkerId(worker_id))
                telemetry.info("store.worker_removed", worker_id=worker_id)
