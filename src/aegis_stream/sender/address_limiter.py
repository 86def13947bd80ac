"""Limits for one address: how many connections it gets, and how often requests start there.

Called by `pool`. Channels do not know each other, but ten thousand destinations with one host behind them would flood it,
whatever their names are. So connections are counted by IP address, IPv6 by /64. No organization can take the last place at an address:
if n organizations have connections there, each may have at most 1/(n + 1) of the places, so the next one always finds room.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, Protocol

_IPV4_INSIDE_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_IPV4_INSIDE_NAT64: Final = IPv6Network("64:ff9b::/96")
PACE_BURST_S = 0.1
"""After a pause, as many requests as are allowed in this many seconds may start at once."""


class Holder(Protocol):
    """Owner of connections: a channel."""

    def give_up_idle(self, limiter: "AddressLimiter") -> bool:
        """Close an idle connection to this address; return False if there is none."""
        ...

    def find_room(self) -> None:
        """Try again: a place may have become free."""
        ...


class AddressLimiter:
    """All connections of this process to one address.

    Args:
        address: IP address.
        places_max: most connections, shared as above.
        requests_per_s: most requests that start in a second; 0 for no limit.

    Attributes:
        paced: requests_per_s is set.
        waiting: organization → its holders that wait for a place, in their order.
    """

    __slots__ = ("_next_s", "_parties", "_places_max", "_step_s", "address", "paced", "waiting")

    def __init__(self, address: str, places_max: int, requests_per_s: float) -> None:
        self.address = address
        self._places_max = places_max
        self._step_s = 1 / requests_per_s if requests_per_s else 0.0
        self._next_s = 0.0
        self.paced = bool(requests_per_s)
        self._parties: dict[str, dict[Holder, int]] = {}
        self.waiting: dict[str, dict[Holder, None]] = {}

    @property
    def empty(self) -> bool:
        """True if nobody has a connection here or waits for one."""
        return not self._parties and not self.waiting

    def enter(self, org_id: str, holder: Holder) -> bool:
        """Take a place for one more connection; return False if the organization already has its share.

        Then an idle connection of another channel of the organization is closed first. A holder that got False is told by
        `find_room` when to try again.
        """
        party = self._parties.get(org_id, {})
        organizations = len(self._parties) + (org_id not in self._parties)
        part = max(1, self._places_max // (organizations + 1))
        if sum(party.values()) >= part and not any(one.give_up_idle(self) for one in list(party)):
            self.waiting.setdefault(org_id, {})[holder] = None
            return False
        party = self._parties.setdefault(org_id, {})  # the closed connection may have been its last one
        party[holder] = party.get(holder, 0) + 1
        return True

    def leave(self, org_id: str, holder: Holder) -> None:
        """Give a place back, and tell the longest waiting holder of each organization."""
        party = self._parties[org_id]
        party[holder] -= 1
        if not party[holder]:
            del party[holder]
        if not party:
            del self._parties[org_id]
        for waiting_org, waiting in list(self.waiting.items()):
            first = next(iter(waiting))
            self.stop_waiting(waiting_org, first)
            first.find_room()

    def stop_waiting(self, org_id: str, holder: Holder) -> None:
        """Forget a waiting holder; does nothing if it does not wait."""
        waiting = self.waiting.get(org_id, {})
        waiting.pop(holder, None)
        if not waiting:
            self.waiting.pop(org_id, None)

    def delay_s(self, now_s: float, until_s: float) -> float | None:
        """Reserve the next start of a request.

        Args:
            now_s, until_s: loop times.
        Returns: the seconds until that start, 0 for now; None, with nothing reserved, if it would not be before `until_s`.
        """
        turn_s = max(self._next_s, now_s - PACE_BURST_S)
        if turn_s >= until_s:
            return None
        self._next_s = turn_s + self._step_s
        return max(0.0, turn_s - now_s)


class AddressLimiters:
    """The limiters of all addresses.

    Args:
        places_max: connections to one address at most.
        requests_per_s: most requests that start at one address in a second; 0 for no limit.
    """

    __slots__ = ("_at", "_places_max", "_requests_per_s")

    def __init__(self, places_max: int, requests_per_s: float = 0.0) -> None:
        self._places_max = places_max
        self._requests_per_s = requests_per_s
        self._at: dict[str, AddressLimiter] = {}

    def __len__(self) -> int:
        return len(self._at)

    def at(self, address: str) -> AddressLimiter:
        """Return the limiter of an address, a new one if there is none."""
        place = place_of(address)
        limiter = self._at.get(place)
        if limiter is None:
            if len(self._at) >= 2 * self._places_max:
                self._at = {where: one for where, one in self._at.items() if not one.empty}
            limiter = self._at[place] = AddressLimiter(place, self._places_max, self._requests_per_s)
        return limiter


def place_of(address: str) -> str:
    """Return what counts as one address: of IPv6 the /64, which is the least that anybody is given.

    An IPv4 address inside IPv6 (mapped, or NAT64) counts as itself.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed in _IPV4_INSIDE_MAPPED or parsed in _IPV4_INSIDE_NAT64:
        return str(IPv4Address(int(parsed) & 0xFFFF_FFFF))
    return str(IPv6Address(int(parsed) >> 64 << 64))
