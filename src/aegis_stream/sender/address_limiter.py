"""Limits for one address: how many connections it gets, and how often requests start there.

Called by `pool`. Channels do not know each other, but ten thousand destinations with one host behind them would flood it,
whatever their names are. So connections are counted by IP address, IPv6 by /64. No organization can take the last place at an address:
if n organizations have connections there, each may have at most 1/(n + 1) of the places, so the next one always finds room.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from .shares import UNBOUNDED, ConnectionShares

_IPV4_INSIDE_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_IPV4_INSIDE_NAT64: Final = IPv6Network("64:ff9b::/96")
PACE_BURST_S = 0.1
"""After a pause, as many requests as are allowed in this many seconds may start at once."""


class AddressLimiter(ConnectionShares):
    """All connections of this process to one address.

    Args:
        address: IP address.
        places_max: most connections, shared as above.
        requests_per_s: most requests that start in a second; 0 for no limit.

    Attributes:
        paced: requests_per_s is set.
    """

    __slots__ = ("_next_s", "_step_s", "address", "paced")

    def __init__(self, address: str, places_max: int, requests_per_s: float) -> None:
        super().__init__(places_max, all_max=UNBOUNDED)
        self.address = address
        self._step_s = 1 / requests_per_s if requests_per_s else 0.0
        self._next_s = 0.0
        self.paced = bool(requests_per_s)

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
