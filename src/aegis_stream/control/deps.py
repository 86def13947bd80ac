"""What use cases need, given to them by wiring."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from aegis_stream.netguard import NetGuard
from aegis_stream.pipeline.ingest import Ingest
from aegis_stream.ports import Clock, Random, Sealer, Sender
from aegis_stream.settings import Settings
from aegis_stream.store.database import Database
from aegis_stream.store.log import StoredLog

from .access import Access
from .seal_waits import SealWaits


class Resolver(Protocol):
    """Looks up names."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name. Raises: OSError."""
        ...


class LookUps(Protocol):
    """Looks up names for organizations."""

    def of(self, org_id: str) -> Resolver:
        """Return the resolver of an organization, which has its own share of look-ups."""
        ...


@dataclass(frozen=True, slots=True)
class StoreDeps:
    """What a use case needs that works on the store alone: all that the command line has.

    Args:
        audit_actions: whether actions are recorded in the log of their organization.
        keys_max: most keys of one organization.
        forget_key: called with the id of a key that was revoked or rotated, so that no cache goes on accepting it.
        sealer: seals and opens secrets.
    """

    db: Database
    clock: Clock
    random: Random
    audit_actions: bool
    keys_max: int
    forget_key: Callable[[str], None]
    sealer: Sealer


@dataclass(frozen=True, slots=True)
class ControlDeps(StoreDeps):
    """What the other use cases need beside that: the service.

    Args:
        notify_changes: tells the workers that destinations changed.
    """

    log: StoredLog
    ingest: Ingest
    access: Access
    sender: Sender
    look_ups: LookUps
    guard: NetGuard
    notify_changes: Callable[[], None]
    settings: Settings
    seal_waits: SealWaits = field(default_factory=SealWaits)
