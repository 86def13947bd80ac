"""What is done through the API, recorded in the log of the organization it is done to.

A call that writes carries its event in the transaction of the write (`recorded_by`): both are stored, or neither, and then
the caller is told that nothing was done. A call that writes nothing (a test event) is recorded when it is over, and its
result is told only then (`record`). A refused key is refused whether or not that could be recorded.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from litestar import Request

from aegis_stream.access import Issuer, Principal, Refusal
from aegis_stream.domain.audit import Actor, AdminAction
from aegis_stream.domain.ids import OrganizationId, OrganizationNo
from aegis_stream.domain.rate import Buckets, Rate
from aegis_stream.errors import AegisError
from aegis_stream.pipeline.ingest import Ingest
from aegis_stream.ports import Clock, Random
from aegis_stream.store.around import with_after, with_before
from aegis_stream.store.audit_writer import AuditWriter
from aegis_stream.store.database import Unit
from aegis_stream.store.directory import StoredDirectory

from .scopes import address_of, caller_of
from .service import service_of

AnyRequest = Request[Any, Any, Any]
T = TypeVar("T")

REFUSALS = Rate(1, 60)
"""Events of refused keys: one a minute for each key and reason, or a client with a wrong key would fill the log."""


def recorded_by(request: AnyRequest, describe: Callable[[T], AdminAction]) -> StoredDirectory:
    """Return the directory to do something with that is recorded.

    Args:
        describe: what its write returned → what was done.
    """
    service, audit_writer, caller = service_of(request), audit_writer_of(request), caller_of(request)
    if audit_writer is None:
        return service.directory

    def append(unit: Unit, result: T) -> None:
        audit_writer.append(unit, caller.organization_no, caller.org_id, describe(result))

    return with_after(service.directory, append)


def recorded_before(request: AnyRequest, admin_action: AdminAction) -> StoredDirectory:
    """Return the directory to do something with whose event shall stand before it in the log.

    A destination receives what is recorded after it was made; the event of its own making stands before that.
    """
    service, audit_writer, caller = service_of(request), audit_writer_of(request), caller_of(request)
    if audit_writer is None:
        return service.directory

    def append(unit: Unit) -> None:
        audit_writer.append(unit, caller.organization_no, caller.org_id, admin_action)

    return with_before(service.directory, append)


def issuer_of(request: AnyRequest) -> Issuer:
    """Return what makes and ends keys, and records it."""
    service = service_of(request)
    return replace(
        service.issuer, audit_writer=audit_writer_of(request), keys_max=service.settings.organization.keys_max
    )


async def record(request: AnyRequest, admin_action: AdminAction) -> None:
    """Record what was done without a write. Raises: Unavailable."""
    service, audit_writer, caller = service_of(request), audit_writer_of(request), caller_of(request)
    if audit_writer is not None:
        await _ingest(service.ingest, audit_writer, caller.organization_no, caller.org_id, admin_action)


def audit_writer_of(request: AnyRequest) -> AuditWriter | None:
    """Return what records the caller's deeds; None where the operator wants none recorded."""
    service = service_of(request)
    if not service.settings.organization.audit_actions:
        return None
    if "auth" in request.scope:
        actor = actor_of(caller_of(request), address_of(request))
    else:
        actor = Actor("operator", "operator key", "operator", address_of(request))
    return AuditWriter(actor, service.clock, service.random)


def actor_of(principal: Principal, address: str | None) -> Actor:
    """Return a caller as events name it."""
    return Actor(principal.key_id, principal.name, principal.scope.value, address)


@dataclass(frozen=True, slots=True)
class RefusalLog:
    """Records refused keys in the log of the organization whose key it is (port Watch)."""

    ingest: Ingest
    clock: Clock
    random: Random
    _recorded: Buckets[tuple[str, str]] = field(default_factory=lambda: Buckets(REFUSALS), repr=False)

    async def refused(self, refusal: Refusal) -> None:
        """Record a refusal, at most once a minute for each key and reason; raises nothing."""
        who = refusal.principal
        if self._recorded.take((who.key_id, refusal.reason), self.clock.now()):
            return
        audit_writer = AuditWriter(actor_of(who, refusal.address), self.clock, self.random)
        admin_action = AdminAction(
            "sign_in_refuse", "api_key", who.key_id, who.name, failure=REASONS[refusal.reason]
        )
        with contextlib.suppress(AegisError):
            await _ingest(self.ingest, audit_writer, who.organization_no, who.org_id, admin_action)


REASONS = {
    "expired": "the key has expired",
    "scope": "the key's scope does not allow the call",
    "organization": "the call named another organization",
}


async def _ingest(
    ingest: Ingest,
    audit_writer: AuditWriter,
    organization_no: OrganizationNo,
    org_id: OrganizationId,
    admin_action: AdminAction,
) -> None:
    _, body = audit_writer.event(org_id, admin_action)
    recorded = await ingest.record(organization_no, org_id, [body.encode()], reserved=True)
    assert not recorded.rejected, "the service's own events are fit for the log"
