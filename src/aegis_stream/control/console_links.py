"""Links that open the console once, and the sessions that begin with them.

Whoever has an admin key makes a link for somebody who has none: an integrator for a page of their own, a person at the command line
for the browser beside it. The token of a link is shown once and only its SHA-256 is stored. A POST uses a link up, never a GET:
scanners of mail and previews in chats open links.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aegis_stream.domain.audit import console_link_action, console_link_view
from aegis_stream.domain.console_link import (
    LINK_PREFIX,
    SECONDS_DEFAULT,
    ConsoleLink,
    check_lifetime,
    check_return_url,
    check_scope,
)
from aegis_stream.domain.ids import (
    RANDOM_BYTES,
    SECOND,
    Micros,
    OrganizationId,
    OrganizationNo,
    new_id,
    new_secret,
)
from aegis_stream.domain.organization import Scope
from aegis_stream.errors import Conflict, NotFound, Unauthenticated
from aegis_stream.store import console_links, organizations
from aegis_stream.store.database import Unit

from .audit import Record, perform
from .caller import Caller
from .deps import ControlDeps, StoreDeps

OPEN_MAX: Final = 1000
"""Most links of an organization that nobody has used."""
KEPT_MAX: Final = 10_000
"""Most links of an organization, with those whose session may go on."""
Check = Callable[[ConsoleLink], None]
"""Raises when a link is no longer as whoever acts on it has seen it."""
_OPERATOR = OrganizationNo(0)
_UNUSABLE = (
    "this link cannot be used: it was used already, has expired, or was deleted; a link opens the console once. "
    "Ask for a new one where you got it, or sign in with a key"
)
"""One text for all reasons: whoever guesses must not learn which tokens were good once."""


class NewLink(NamedTuple):
    """A link to make.

    Args:
        seconds: how long it may wait to be opened.
        return_url: where "Back to …" leads, "" for nowhere.
    """

    scope: Scope = Scope.READ
    seconds: int = SECONDS_DEFAULT
    return_url: str = ""


@dataclass(frozen=True, slots=True)
class IssuedLink:
    """A new link and its token, which is shown once and stored nowhere."""

    link: ConsoleLink
    token: str = field(repr=False)


async def create(deps: StoreDeps, caller: Caller, org_id: str, new: NewLink) -> IssuedLink:
    """Make a link that opens the console of an organization once.

    Raises: Invalid with the field. NotFound without such an organization. Conflict when it has too many links. Unavailable.
    """
    check_scope(new.scope)
    check_lifetime(new.seconds)
    check_return_url(new.return_url)
    made_by = caller.principal.key_id if caller.principal is not None else ""

    def act(unit: Unit, record: Record) -> IssuedLink:
        found = organizations.find(unit, org_id)
        issued = _issue(unit, deps, new, (found.no, found.org_id), made_by)
        after = console_link_view(issued.link)
        record(issued.link, console_link_action("console_link_create", issued.link, after=after))
        return issued

    return await perform(deps, caller, act)


async def create_for_operator(deps: StoreDeps, seconds: int = SECONDS_DEFAULT) -> IssuedLink:
    """Make a link that opens the operator's pages once, for whoever sits at the machine.

    No audit event is recorded: it belongs to no organization.
    Raises: Invalid for the field expires_seconds. Conflict when there are too many. Unavailable.
    """
    check_lifetime(seconds)
    new = NewLink(Scope.ADMIN, seconds)
    return await deps.db.write(lambda unit: _issue(unit, deps, new, (_OPERATOR, OrganizationId("")), ""))


async def list_of(deps: StoreDeps, org_id: str, after: str, limit: int) -> list[ConsoleLink]:
    """Return links of an organization with an id above `after`, oldest first; those that have ended are not among them.

    Raises: NotFound, Unavailable.
    """

    def work(unit: Unit) -> list[ConsoleLink]:
        no = organizations.find(unit, org_id).no
        return console_links.list_of(unit, no, after, limit, deps.clock.now())

    return await deps.db.read(work)


async def find(deps: StoreDeps, org_id: str, link_id: str) -> ConsoleLink:
    """Return one link of an organization; it may have ended. Raises: NotFound, Unavailable."""
    return await deps.db.read(lambda unit: _find(unit, org_id, link_id))


async def delete(
    deps: StoreDeps, caller: Caller, org_id: str, link_id: str, *, check: Check = lambda _: None
) -> None:
    """Delete a link; the session that began with it ends at its next request.

    Raises: NotFound, Unavailable, and what `check` raises, which sees the link as it is then.
    """

    def act(unit: Unit, record: Record) -> None:
        found = _find(unit, org_id, link_id)
        check(found)
        console_links.delete(unit, found)
        record(found, console_link_action("console_link_delete", found, before=console_link_view(found)))

    await perform(deps, caller, act)


async def use(deps: ControlDeps, token: str, address: str | None) -> ConsoleLink:
    """Use a link up. Of several calls with one token, one succeeds.

    Args:
        token: as it was shown when the link was made.
        address: where the call comes from.
    Raises: Unauthenticated for a token that opens nothing. Limited after too many of them from there. Unavailable.
    """
    digest = hashlib.sha256(token.encode()).digest()
    now = deps.clock.now()
    # Read first: a guess must not cost a write. The write below decides.
    found = await deps.db.read(lambda unit: console_links.find_open(unit, digest, now))
    if found is None:
        deps.access.refuse_guess(address, "console link")
        raise Unauthenticated(_UNUSABLE)
    link = found

    def take(unit: Unit) -> None:
        if not console_links.use(unit, link, now):
            raise Unauthenticated(_UNUSABLE)

    def act(unit: Unit, record: Record) -> None:
        take(unit)
        record(link, console_link_action("console_link_use", link))

    if link.is_operators:
        await deps.db.write(take)  # no organization has a log for it
    else:
        await perform(deps, Caller.of_link(link, address), act)
    return link


async def of_session(deps: StoreDeps, organization_no: OrganizationNo, link_id: str) -> ConsoleLink:
    """Return the link that a session began with, while the session lasts.

    Raises: Unauthenticated when the link was deleted, or the key that made it was revoked or has expired. Unavailable.
    """
    now = deps.clock.now()

    def work(unit: Unit) -> ConsoleLink | None:
        return console_links.find_used(unit, organization_no, link_id, now)

    # At once, where the database can: whoever asks must not wait behind the reads of others.
    at_once = deps.db.peek(lambda unit: [work(unit)])
    found = at_once[0] if at_once is not None else await deps.db.read(work)
    if found is None:
        raise Unauthenticated("this session is over: ask for a new link where you got the last one")
    return found


def _find(unit: Unit, org_id: str, link_id: str) -> ConsoleLink:
    found = console_links.find(unit, organizations.find(unit, org_id).no, link_id)
    if found is None:
        raise NotFound(f"there is no console link {link_id[:80]!r} in this organization")
    return found


def _issue(
    unit: Unit, deps: StoreDeps, new: NewLink, owner: tuple[OrganizationNo, OrganizationId], made_by: str
) -> IssuedLink:
    """Store a new link. Raises: Conflict when there are too many."""
    no, org_id = owner
    now = deps.clock.now()
    console_links.delete_ended_of(unit, no, now)
    counts = console_links.count(unit, no)
    if counts.open >= OPEN_MAX or counts.kept >= KEPT_MAX:
        raise Conflict(
            f"there are {counts.open} unused console links and {counts.kept - counts.open} whose session may go on; the limits are "
            f"{OPEN_MAX} and {KEPT_MAX} together: delete some, or let them expire",
            code="too-many-console-links",
        )
    token = new_secret(LINK_PREFIX, deps.random.random_bytes(32))
    link = ConsoleLink(
        organization_no=no,
        link_id=new_id("lnk", now, deps.random.random_bytes(RANDOM_BYTES)),
        org_id=org_id,
        scope=new.scope,
        made_by=made_by,
        return_url=new.return_url,
        created_at=now,
        expires_at=Micros(now + new.seconds * SECOND),
    )
    console_links.add(unit, link, hashlib.sha256(token.encode()).digest())
    return IssuedLink(link, token)
