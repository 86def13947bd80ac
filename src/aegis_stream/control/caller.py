"""Who asks for an action: what rights, audit events and limits need to know."""

from dataclasses import dataclass

from aegis_stream.domain import audit
from aegis_stream.domain.audit import Actor
from aegis_stream.domain.console_link import ConsoleLink
from aegis_stream.domain.ids import OrganizationId, OrganizationNo
from aegis_stream.domain.organization import Scope
from aegis_stream.errors import Denied, NotFound

ALLOWED: dict[Scope, frozenset[Scope]] = {
    Scope.ADMIN: frozenset({Scope.ADMIN, Scope.INGEST, Scope.READ}),
    Scope.INGEST: frozenset({Scope.INGEST}),
    Scope.READ: frozenset({Scope.READ}),
}
"""What a key of each scope may do."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: a key of one organization.

    Args:
        key_id: of the key; the link's where a console link stands for one.
        name: of the key, "" for none.
    """

    organization_no: OrganizationNo
    org_id: OrganizationId
    scope: Scope
    key_id: str
    name: str = ""

    def may(self, org_id: str, scope: Scope) -> bool:
        """Tell whether `require` would let a call pass."""
        return org_id == self.org_id and scope in ALLOWED[self.scope]

    def require(self, org_id: str, scope: Scope | None) -> None:
        """Refuse a call on another organization (as if it did not exist) or beyond the key's scope.

        Args:
            scope: what the call needs; None where any key of the organization is enough.
        Raises: NotFound, Denied.
        """
        if org_id != self.org_id:
            raise NotFound(
                f"organization {org_id[:80]!r} does not exist, or this key belongs to another one: check the id in the URL"
            )
        if scope is not None and scope not in ALLOWED[self.scope]:
            raise Denied(
                f"this key has scope {self.scope.value}; the call needs scope {scope.value}: use a key with that scope"
            )


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
    def of_link(cls, link: ConsoleLink, address: str | None) -> "Caller":
        """Return whoever signed in with a console link: nobody knows their name."""
        name = "visitor by console link"
        principal = Principal(link.organization_no, link.org_id, link.scope, link.link_id, name)
        return cls(Actor(link.link_id, name, link.scope.value, address), principal)

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
