"""Who asks for an action: what rights, audit events and limits need to know."""

from dataclasses import dataclass

from aegis_stream.domain import audit
from aegis_stream.domain.audit import Actor
from aegis_stream.domain.ids import OrganizationId, OrganizationNo

from .access import Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """A key of an organization, the operator, or a person at the command line.

    Args:
        actor: as audit events name it, with the address the call came from.
        principal: the key's; None for the operator and the command line, which belong to no organization.
    """

    actor: Actor
    principal: Principal | None = None

    @classmethod
    def of_key(cls, principal: Principal, address: str | None) -> "Caller":
        """Return the holder of a key."""
        actor = Actor(principal.key_id, principal.name, principal.scope.value, address)
        return cls(actor, principal)

    @classmethod
    def operator(cls, address: str | None) -> "Caller":
        """Return the holder of the operator key."""
        return cls(Actor("operator", "operator key", "operator", address))

    @property
    def organization_no(self) -> OrganizationNo:
        """Number of the organization whose key this is."""
        assert self.principal is not None, "only keys of an organization may call this"
        return self.principal.organization_no

    @property
    def org_id(self) -> OrganizationId:
        """Id of the organization whose key this is."""
        assert self.principal is not None, "only keys of an organization may call this"
        return self.principal.org_id


COMMAND_LINE = Caller(audit.COMMAND_LINE)
"""A person at the command line, who works on the store itself."""
