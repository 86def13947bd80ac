"""Places for connections, shared between organizations and, within each, between channels.

Called by `pool`: for all connections of the process here, and for those to one address by `address_limiter`. An organization with
many addresses must not use up the process's connections, and with them its file descriptors, or nobody else could connect.

Of n organizations with connections each may have 1/(n + 1) of the places, so the next one finds room. One that has more,
because it came when there were fewer, gives places back as soon as there are none left for others: its idle connections are
closed, and those that are in use are not kept after their request.

A connection costs a dial, so a channel keeps it from request to request even while other channels of its organization wait. It
gives one up only for a channel that has none, or at least two fewer. Where there are more channels than places, they take turns.
"""

import math
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

TURN_S = 2.0
"""How long a channel keeps its only connection while others of its organization have none, seconds."""
ASKED_MAX = 32
"""Most channels that are asked for an idle connection at a time; the next search begins where this one ended."""

UNBOUNDED = math.inf
"""As `all_max`: an organization always finds a place, even while those before it keep more than their share."""


class Holder(Protocol):
    """Owner of connections: a channel."""

    def give_up_idle(self, shares: "ConnectionShares") -> bool:
        """Close an idle connection that has one of these places; return False if there is none."""
        ...

    def find_room(self) -> None:
        """Try again: there is a place."""
        ...


@dataclass(slots=True, eq=False)
class Party:
    """The connections of one organization.

    Attributes:
        held: how many it has.
        of: the same, by channel.
        waiting: channels that wait for a place, in their order.
        needy: those of them that have no connection at all; they are served first.
        offered: channels that were told of a place, which is theirs until they come or stop waiting.
    """

    held: int = 0
    of: dict[Holder, int] = field(default_factory=dict)
    waiting: dict[Holder, None] = field(default_factory=dict)
    needy: dict[Holder, None] = field(default_factory=dict)
    offered: dict[Holder, None] = field(default_factory=dict)

    @property
    def first(self) -> Holder:
        """The channel that is served next; there must be one."""
        return next(iter(self.needy or self.waiting))

    def wait(self, holder: Holder) -> None:
        """Put a channel into the queue; one that is there keeps its place."""
        self.offered.pop(holder, None)
        self.waiting[holder] = None
        if holder not in self.of:
            self.needy[holder] = None

    def forget(self, holder: Holder) -> None:
        """Take a channel out of the queue."""
        self.waiting.pop(holder, None)
        self.needy.pop(holder, None)
        self.offered.pop(holder, None)


class ConnectionShares:
    """Places for connections.

    Args:
        places_max: how many are shared.
        all_max: most connections of all organizations together.

    Attributes:
        pressed: somebody waits for a place, or there is none left; `must_give` need not be asked otherwise.
        waiting: organization → what it has, of those with channels that wait for a place.
    """

    __slots__ = ("_all_max", "_held", "_parties", "_places_max", "pressed", "waiting")

    def __init__(self, places_max: int, *, all_max: float | None = None) -> None:
        self._places_max = places_max
        self._all_max = places_max if all_max is None else all_max
        self._held = 0
        self._parties: dict[str, Party] = {}
        self.waiting: dict[str, Party] = {}
        self.pressed = False

    @property
    def empty(self) -> bool:
        """True if nobody has a place or waits for one."""
        return not self._parties

    def enter(self, org_id: str, holder: Holder) -> bool:
        """Take a place for one more connection; return False if there is none for this channel.

        Idle connections are closed first: the organization's own if it has its share, else of one that has more than its
        share. A holder that got False is told by `find_room` when to try again, until it stops waiting.
        """
        party = self._parties.setdefault(org_id, Party())
        party.wait(holder)
        if not self._has_room(party):
            self._close_own(party, holder)  # the place may be offered to one that has waited longer
            party.offered.pop(holder, None)
        has_room = self._has_room(party) and (self._held < self._all_max or self._close_of_others())
        if has_room:
            party.forget(holder)
            party.of[holder] = party.of.get(holder, 0) + 1
            party.held += 1
            self._held += 1
        else:
            party.wait(holder)
        self._note(org_id, party)
        return has_room

    def leave(self, org_id: str, holder: Holder, *, tell: bool = True) -> None:
        """Give a place back.

        Args:
            tell: offer free places to those who wait, one of each organization.
        """
        party = self._parties[org_id]
        party.of[holder] -= 1
        if not party.of[holder]:
            del party.of[holder]
        party.held -= 1
        self._held -= 1
        self._note(org_id, party)
        if tell:
            for waiting_id, waiting in list(self.waiting.items()):
                self._offer(waiting_id, waiting)

    def stop_waiting(self, org_id: str, holder: Holder) -> None:
        """Forget a waiting holder, and offer its place to the next one; does nothing if it does not wait."""
        party = self._parties.get(org_id)
        if party is None:
            return
        had_offer = holder in party.offered
        party.forget(holder)
        self._note(org_id, party)
        if had_offer and party.waiting:
            self._offer(org_id, party)

    def must_give(self, org_id: str, holder: Holder, age_s: float) -> bool:
        """Tell whether a channel closes a connection after its request; asked when `pressed`.

        Args:
            age_s: since when the connection has been open, seconds.
        """
        party = self._parties[org_id]
        if self._held >= self._all_max and party.held > self._part():
            return True
        if not party.waiting:
            return False
        mine = party.of[holder]
        if party.needy:
            return mine > 1 or age_s >= TURN_S
        first = party.first
        if mine > party.of.get(first, 0) + 1:
            return True
        party.waiting[first] = party.waiting.pop(first)  # the next one may have fewer
        return False

    def must_give_idle(self, org_id: str) -> bool:
        """Tell whether a channel closes a connection that it has no request for; asked when `pressed`."""
        return bool(self._parties[org_id].needy)

    def _part(self) -> int:
        """Return how many places an organization may have; the one that asks is counted among those that have some."""
        return max(1, self._places_max // (len(self._parties) + 1))

    def _has_room(self, party: Party) -> bool:
        return party.held + len(party.offered) < self._part()

    def _offer(self, org_id: str, party: Party) -> None:
        if party.waiting and self._has_room(party):
            first = party.first
            party.forget(first)
            party.offered[first] = None
            self._note(org_id, party)
            first.find_room()

    def _close_own(self, party: Party, holder: Holder) -> None:
        """Close an idle connection of the channel itself, or of one of its organization that it may take it from."""
        mine = party.of.get(holder, 0)
        if not (mine and holder.give_up_idle(self)):
            self._close_idle(party, mine + 1 if mine else 0)

    def _close_of_others(self) -> bool:
        """Close an idle connection of an organization that has more than its share."""
        part = self._part()
        return any(self._close_idle(one) for one in list(self._parties.values()) if one.held > part)

    def _close_idle(self, party: Party, more_than: int = 0) -> bool:
        """Close an idle connection of a channel that has more than so many; few are asked at a time."""
        for one in list(islice(party.of, ASKED_MAX)):
            count = party.of[one] = party.of.pop(one)  # it comes last in the next search
            if count > more_than and one.give_up_idle(self):
                return True
        return False

    def _note(self, org_id: str, party: Party) -> None:
        if party.waiting:
            self.waiting[org_id] = party
        else:
            self.waiting.pop(org_id, None)
            if not (party.held or party.offered):
                self._parties.pop(org_id, None)
        self.pressed = bool(self.waiting) or self._held >= self._all_max
