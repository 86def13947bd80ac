"""The composition root: the only place that picks a database, the real clock, the real source of random numbers.

`cli` calls one function of this module per command; everything below is given what it needs.
"""

import contextlib
import hashlib
import os
import random
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import PRODUCT, __version__
from .access import Access, AccessLimits, Issuer
from .api.counts import IngestCounts
from .api.service import Service
from .domain.audit import COMMAND_LINE
from .domain.event import EventLimits
from .domain.ids import Micros, WorkerId, new_secret
from .domain.organization import OPERATOR_KEY_PREFIX
from .domain.rate import Rate
from .errors import Misconfigured, Unavailable
from .netguard import NetGuard
from .pipeline.ingest import Ingest
from .pipeline.route import route_of
from .ports import Notifier
from .sender import AsyncSender, Limits, ThreadResolver, TrustStore
from .settings import Settings
from .store.audit_writer import AuditWriter
from .store.database import Database
from .store.directory import StoredDirectory
from .store.ledger import StoredLedger
from .store.log import StoredLog
from .store.opening import Location, is_alive, open_database, open_listener
from .store.retention import Retention
from .store.secrets import StoredSecrets, needs_a_key
from .telemetry import Log
from .vault import GivenKeys, KeyFile, KeySource, Rotation, Vault, parse_ring
from .worker import Worker, WorkerDeps

USER_AGENT = f"{PRODUCT}/{__version__}"


class SystemClock:
    """The machine's clock."""

    def now(self) -> Micros:
        """Return microseconds since 1970-01-01 UTC."""
        return Micros(time.time_ns() // 1000)


class SystemRandom:
    """The machine's chance."""

    def chance(self) -> float:
        """Return a number in [0, 1); good for jitter, not for secrets."""
        return random.random()  # noqa: S311

    def random_bytes(self, count: int) -> bytes:
        """Return bytes that nobody can foresee."""
        return secrets.token_bytes(count)


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
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"AEGIS_DATA_DIR {folder} cannot be made: {error.strerror}") from error
    notes: list[str] = []
    keys = key_source(settings)
    if isinstance(keys, KeyFile) and keys.path.exists():
        keys.read()  # what is wrong with it is said before a database is made
    elif check_keys and settings.secrets.master_key is None and settings.secrets.master_key_file is not None:
        raise Misconfigured(f"AEGIS_MASTER_KEY_FILE {settings.secrets.master_key_file} does not exist")
    location = database_location(settings)
    db = open_database(location, SystemClock(), threads=threads)
    before, after = db.migrate()
    if before == 0:
        notes.append(f"made {location.path}: events, destinations and keys live here")
    elif before != after:
        telemetry.info("store.migrated", before=before, after=after)
    stored_secrets = _open_vault(settings, db, telemetry, notes, check=check_keys)
    operator_digest = _operator_digest(settings, notes, telemetry) if answers else b""
    return Stores(
        db,
        StoredLog(db),
        StoredLedger(db),
        StoredDirectory(db, stored_secrets.sealer),
        stored_secrets,
        Retention(db),
        location,
        operator_digest,
        tuple(notes),
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
                f"made {keys.path}: it opens the stored credentials; back it up apart from the database"
            )
    stored = StoredSecrets(db, Vault(keys, SystemRandom(), telemetry.error))
    if check:
        stored.check(SystemClock().now())
    return stored


def _operator_digest(settings: Settings, notes: list[str], telemetry: Log) -> bytes:
    """Return the SHA-256 of the operator key; make a key at the first start, and keep only its digest."""
    if settings.secrets.operator_key is not None:
        return hashlib.sha256(settings.secrets.operator_key.encode()).digest()
    path = settings.store.data_dir / "operator.sha256"
    with contextlib.suppress(FileNotFoundError):
        return bytes.fromhex(path.read_text().strip())
    key = new_secret(OPERATOR_KEY_PREFIX, secrets.token_bytes(32))
    digest = hashlib.sha256(key.encode()).digest()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(digest.hex() + "\n")
    notes.append(f"operator key, shown this once: {key}")
    telemetry.info("service.operator_key_made")
    return digest


def make_rotation(settings: Settings, stores: Stores) -> Rotation:
    """Return what turns master keys."""
    clock, random = SystemClock(), SystemRandom()
    audit_writer = AuditWriter(COMMAND_LINE, clock, random) if settings.organization.audit_actions else None
    return Rotation(
        key_source(settings),
        settings.store.data_dir,
        stores.secrets,
        stores.directory,
        clock,
        random,
        audit_writer.append if audit_writer is not None else None,
    )


def make_issuer(settings: Settings) -> Issuer:
    """Return what makes organizations and keys at the command line."""
    clock, random = SystemClock(), SystemRandom()
    audit_writer = AuditWriter(COMMAND_LINE, clock, random) if settings.organization.audit_actions else None
    return Issuer(clock, random, audit_writer, settings.organization.keys_max)


def make_sender(settings: Settings) -> AsyncSender:
    """Return the one sender of a process: everything that leaves goes through it, and past the guard."""
    return AsyncSender(
        user_agent=USER_AGENT,
        guard=NetGuard(settings.egress.allowed_networks),
        trust=TrustStore(str(settings.egress.ca_bundle) if settings.egress.ca_bundle else None),
        limits=Limits(
            connections_max=settings.delivery.window_max + 8,
            idle_max=settings.delivery.window_max,
            address_connections_max=settings.egress.address_connections_max,
            address_requests_per_s=settings.egress.address_requests_per_second,
        ),
    )


def make_service(
    settings: Settings,
    stores: Stores,
    telemetry: Log,
    notifier: Notifier,
    counts: IngestCounts | None = None,
) -> Service:
    """Return what the API stands on.

    Args:
        counts: shared by all API processes, whose number divides the limits of calls; None where there is only this one.
    """
    counts = counts or IngestCounts()
    clock, random = SystemClock(), SystemRandom()
    return Service(
        access=Access(
            stores.directory,
            clock,
            stores.operator_digest,
            share_of_limits(settings, counts.processes),
            on_guess=lambda network, key: telemetry.warning("access.key_refused", network=network, key=key),
        ),
        issuer=Issuer(clock, random, keys_max=settings.organization.keys_max),
        ingest=Ingest(
            stores.log, clock, random, notifier, settings.ingest.queue_bytes_max, event_limits(settings)
        ),
        counts=counts,
        log=stores.log,
        directory=stores.directory,
        sender=make_sender(settings),
        resolver=ThreadResolver(threads_max=8),
        guard=NetGuard(settings.egress.allowed_networks),
        clock=clock,
        random=random,
        notifier=notifier,
        telemetry=telemetry,
        settings=settings,
    )


def event_limits(settings: Settings) -> EventLimits:
    """Return how large and how odd an event may be."""
    return EventLimits(
        settings.ingest.event_bytes_max,
        settings.ingest.json_depth_max,
        settings.ingest.number_digits_max,
        settings.ingest.privacy_check,
    )


def share_of_limits(settings: Settings, processes: int) -> AccessLimits:
    """Return what one of several API processes lets pass: they count apart, and together they keep to the settings."""
    whole = AccessLimits.of(settings)

    def share(rate: Rate) -> Rate:
        return Rate(max(1, rate.count // processes), rate.per_s)

    return AccessLimits(share(whole.ingest), share(whole.calls), share(whole.failures), share(whole.tests))


def make_worker(settings: Settings, stores: Stores, telemetry: Log) -> Worker:
    """Return a worker on these stores."""
    return Worker(
        WorkerDeps(
            log=stores.log,
            ledger=stores.ledger,
            directory=stores.directory,
            retention=stores.retention,
            sender=make_sender(settings),
            clock=SystemClock(),
            random=SystemRandom(),
            telemetry=telemetry,
            listen=lambda worker_id, on_ring: open_listener(stores.location, worker_id, on_ring),
            route_of=lambda destination: route_of(destination.spec, settings, destination.org_id),
            settings=settings,
        )
    )


async def remove_dead_workers(stores: Stores, telemetry: Log) -> None:
    """Free what dead workers of this machine still hold, so that nobody waits for their leases to expire."""
    with contextlib.suppress(Unavailable):  # a full disk: the leases expire by themselves
        for worker_id in await stores.ledger.workers():
            if not is_alive(stores.location, worker_id):
                await stores.ledger.retire(WorkerId(worker_id))
                telemetry.info("store.worker_removed", worker_id=worker_id)


def make_log(settings: Settings) -> Log:
    """Return the log as configured."""
    form = settings.telemetry.log_format
    if form == "auto":
        form = "console" if sys.stderr.isatty() else "json"
    return Log(form, settings.telemetry.log_level)
