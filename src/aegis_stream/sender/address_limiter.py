"""How much of what leaves goes to one address: its connections, and how often requests begin there.

Called by `pool`. Channels know nothing of each other; but ten thousand destinations with one victim behind them, under
however many names, are one flood. So connections are counted by the address they were made to. An organization never takes the
last place at an address: with n organizations there, each may hold one part in n + 1, so that the next one always finds room.
"""

from typing import Protocol

PACE_BURST_S = 0.1
"""Seconds' worth of requests that may begin at once, after a pause."""


class Holder(Protocol):
    """What holds connections: a channel."""

    def give_up_idle(self, limiter: "AddressLimiter") -> bool:
        """Close a connection to this address that carries nothing; False when there is none."""
        ...

    def find_room(self) -> None:
        """A place may have become free: look again."""
        ...


class AddressLimiter:
    """All connections of this process to one address.

    Args:
        address: IP address.
        places_max: most connections, shared as above.
        requests_per_s: most requests that begin in a second; 0 for no limit.

    Attributes:
        paced: there is a limit of requests a second.
        waiting: organization → those that wait for a place, in their order.
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
        """True when nobody is here or waits to be."""
        return not self._parties and not self.waiting

    def enter(self, org_id: str, holder: Holder) -> bool:
        """Take a place for one more connection; False when the organization holds its part already.

        What is idle in another channel of the same organization gives way. Whoever got False is told when to look again.
        """
        party = self._parties.get(org_id, {})
        organizations = len(self._parties) + (org_id not in self._parties)
        part = max(1, self._places_max // (organizations + 1))
        if sum(party.values()) >= part and not any(one.give_up_idle(self) for one in list(party)):
            self.waiting.setdefault(org_id, {})[holder] = None
            return False
        party = self._parties.setdefault(org_id, {})  # what gave way may have been the last of it
        party[holder] = party.get(holder, 0) + 1
        return True

    def leave(self, org_id: str, holder: Holder) -> None:
        """Give a place back, and tell the one of each organization that has waited longest."""
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
        """Forget one that waits; does nothing for one that does not."""
        waiting = self.waiting.get(org_id, {})
        waiting.pop(holder, None)
        if not waiting:
            self.waiting.pop(org_id, None)

    def delay_s(self, now_s: float, until_s: float) -> float | None:
        """Take a turn to begin one more request.

        Args:
            now_s, until_s: loop times.
        Returns: the seconds until that turn, 0 for now; None when there is none before `until_s`, and none is taken.
        """
        turn_s = max(self._next_s, now_s - PACE_BURST_S)
        if turn_s >= until_s:
            return None
        self._next_s = turn_s + self._step_s
        return max(0.0, turn_s - now_s)


class AddressLimiters:
    """The limiter at each address.

    Args:
        places_max: connections to one address at most.
        requests_per_s: requests that begin at one address in a second, at most; 0 for no limit.
    """

    __slots__ = ("_at", "_places_max", "_requests_per_s")

    def __init__(self, places_max: int, requests_per_s: float = 0.0) -> None:
        self._places_max = places_max
        self._requests_per_s = requests_per_s
        self._at: dict[str, AddressLimiter] = {}

    def __len__(self) -> int:
        return len(self._at)

    def at(self, address: str) -> AddressLimiter:
        """Return the limiter at an address, a new one if nobody is there."""
        limiter = self._at.get(address)
        if limiter is None:
            if len(self._at) >= 2 * self._places_max:
                self._at = {where: one for where, one in self._at.items() if not one.empty}
            limiter = self._at[address] = AddressLimiter(address, self._places_max, self._requests_per_s)
        return limiter
