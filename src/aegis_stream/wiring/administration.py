"""What the administrative commands need: organizations, keys, the master key."""

from aegis_stream.control.deps import StoreDeps
from aegis_stream.domain.audit import COMMAND_LINE
from aegis_stream.settings import Settings
from aegis_stream.store.audit_writer import AuditWriter
from aegis_stream.vault import Rotation

from .master_key import key_source
from .process import SystemClock, SystemRandom
from .stores import Stores


def make_rotation(settings: Settings, stores: Stores) -> Rotation:
    """Return what rotates master keys."""
    clock, random = SystemClock(), SystemRandom()
    audit_writer = AuditWriter(COMMAND_LINE, clock, random) if settings.organization.audit_actions else None
    return Rotation(
        key_source(settings),
        settings.store.data_dir,
        stores.secrets,
        stores.db,
        clock,
        random,
        audit_writer.append if audit_writer is not None else None,
        shared=stores.location.shared,
    )


def make_store_deps(settings: Settings, stores: Stores) -> StoreDeps:
    """Return what the use cases need that the command line runs on the store itself."""
    return StoreDeps(
        db=stores.db,
        clock=SystemClock(),
        random=SystemRandom(),
        audit_actions=settings.organization.audit_actions,
        keys_max=settings.organization.keys_max,
        forget_key=lambda _: None,  # this process remembers no keys
        sealer=stores.secrets.sealer,
    )
