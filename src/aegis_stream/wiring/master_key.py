"""The master key: where it is kept, and who may make one at the first start."""

from functools import partial

from aegis_stream.errors import Misconfigured
from aegis_stream.settings import Settings
from aegis_stream.store.database import Database, Unit
from aegis_stream.store.opening import Location
from aegis_stream.store.secrets import StoredSecrets, needs_a_key, register_first
from aegis_stream.telemetry import Log
from aegis_stream.vault import GivenKeys, KeyFile, KeySource, Vault, parse_ring

from .process import SystemClock, SystemRandom


def key_source(settings: Settings) -> KeySource:
    """Return where the master keys are kept. Raises: Misconfigured."""
    if settings.secrets.master_key is not None:
        return GivenKeys(parse_ring(settings.secrets.master_key, "AEGIS_MASTER_KEY"))
    return KeyFile(settings.secrets.master_key_file or settings.store.data_dir / "master.key")


def open_vault(
    keys: KeySource, db: Database, location: Location, telemetry: Log, notes: list[str], *, check: bool
) -> StoredSecrets:
    """Open what is sealed; make the master key's file at the first start, and only then.

    Raises: Misconfigured when a key is missing or wrong, unless `check` is False. Unavailable.
    """
    if isinstance(keys, KeyFile) and not keys.path.exists():
        made = keys.make(SystemRandom()) if not check else _make_first(keys, db, location)
        if made:
            notes.append(
                f"created {keys.path}, which decrypts the stored credentials; back it up apart from the database"
            )
    stored = StoredSecrets(db, Vault(keys, SystemRandom(), telemetry.error))
    if check:
        stored.check(SystemClock().now())
    return stored


def _make_first(keys: KeyFile, db: Database, location: Location) -> bool:
    """Make a key and its file, if the database knows no key yet; the same transaction registers it, so two nodes make one.

    Raises: Misconfigured when the database knows a key.
    """
    made = not db.read_now(needs_a_key) and db.write_now(partial(_register_new, keys))
    if not made and not keys.path.exists():  # another process on this directory may have made it just now
        raise Misconfigured(_missing(keys, shared=location.shared), code="wrong-master-key")
    return made


def _register_new(keys: KeyFile, unit: Unit) -> bool:
    if needs_a_key(unit):
        return False
    keys.make(SystemRandom())  # it is durable before the database knows it
    register_first(unit, Vault(keys, SystemRandom()), unit.now())
    return True


def _missing(keys: KeyFile, *, shared: bool) -> str:
    if shared:
        return (
            f"{keys.path} is missing, and the database has a master key already: give this node the same key as the others, in "
            "AEGIS_MASTER_KEY or AEGIS_MASTER_KEY_FILE, or as a copy of that file with mode 0600; the node that started first made "
            "it in its data directory"
        )
    return (
        f"{keys.path} is missing, and it opens the stored credentials: put it back from its backup, with mode 0600; if it is lost "
        "for good, see `aegis vault reset`"
    )
