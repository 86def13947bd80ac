"""What clients may hold at once, and who gives way when there is no more: whoever holds most.

Connections and bytes under way (heads and bodies that arrive, requests that wait, answers that nobody has read) are shared by
organization, and by network where the organization is not known yet: an IPv4 address, or the /64 of an IPv6 address, which is
the least that anybody is given. So clients behind one address do not lose their places to each other. Nobody has to be slow or wrong to give way: holding most is enough.
"""

from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

COMPARED_MAX = 64
"""Most holders that are compared for one eviction. Where more hold about as much, one of those gives way: it has at least half of
what the largest has."""


class Held(Protocol):
    """A connection, as far as sharing goes."""

    def give_way(self, what: str) -> None:
        """End at once: `what` ("connections" or "bytes") is needed by others."""
        ...


@dataclass(slots=True, eq=False)
class Holder:
    """What one network or organization holds.

    Args:
        waiting: its connections that wait for their clients, the one that moved least recently first.
        charged: its connections with bytes under way, the one that moved least recently first.
    """

    name: str
    connections: int = 0
    bytes: int = 0
    waiting: dict[Held, None] = field(default_factory=dict)
    charged: dict[Held, None] = field(default_factory=dict)

    def moved(self, connection: Held) -> None:
        """Note that a connection waits for its client from now on, or has just heard of it."""
        self.waiting.pop(connection, None)
        self.waiting[connection] = None

    def busy(self, connection: Held) -> None:
        """Note that a connection's client waits for us."""
        self.waiting.pop(connection, None)


class Shares:
    """Holders of connections and of bytes.

    Args:
        connections_max: of all networks.
        bytes_max: of all holders.
    """

    def __init__(self, connections_max: int, bytes_max: int) -> None:
        self.connections_max = connections_max
        self.bytes_max = bytes_max
        self.connections = 0
        self.bytes = 0
        self._holders: dict[str, Holder] = {}
        self._by_size: list[dict[Holder, None]] = [{}, {}]
        self._largest = 0
        # Those with bytes, by the number of binary digits of how many: the largest are found without looking at all.
        self._by_digits: dict[int, dict[Holder, None]] = {}

    def holder(self, name: str) -> Holder:
        """Return what a network or an organization holds."""
        found = self._holders.get(name)
        if found is None:
            found = self._holders[name] = Holder(name)
        return found

    def enter(self, network: Holder) -> bool:
        """Count a new connection; where there is no room, the holder of most connections gives one up.

        Returns: False when even that makes no room: every connection of those who hold as many is being answered.
        """
        if self.connections >= self.connections_max:
            self._evict_connection(network.connections)
        has_room = self.connections < self.connections_max
        self._resize(network, 1)
        return has_room

    def leave(self, network: Holder) -> None:
        """Count a connection no more."""
        self._resize(network, -1)
        self._forget(network)

    def move(self, connection: Held, source: Holder, target: Holder, count: int) -> None:
        """Count a connection and its `count` bytes under way for another holder: it is known now whose it is."""
        self._resize(source, -1)
        self._resize(target, 1)
        for before, after in ((source.waiting, target.waiting), (source.charged, target.charged)):
            if connection in before:
                del before[connection]
                after[connection] = None
        self._count(source, -count)
        self._count(target, count)
        self._forget(source)

    def charge(self, holder: Holder, count: int) -> None:
        """Count bytes under way, or (negative) no more; where they are too many, the holder of most gives some up."""
        self._count(holder, count)
        self.bytes += count
        if count < 0:
            self._forget(holder)
        while self.bytes > self.bytes_max:
            largest = self._by_digits[max(self._by_digits)]
            with_most = max(islice(largest, COMPARED_MAX), key=lambda one: one.bytes)
            next(iter(with_most.charged)).give_way("bytes")

    def _count(self, holder: Holder, change: int) -> None:
        before, holder.bytes = holder.bytes.bit_length(), holder.bytes + change
        after = holder.bytes.bit_length()
        if after != before:
            if before:
                same = self._by_digits[before]
                del same[holder]
                if not same:
                    del self._by_digits[before]
            if after:
                self._by_digits.setdefault(after, {})[holder] = None

    def _evict_connection(self, at_least: int) -> None:
        for size in range(self._largest, max(at_least, 1) - 1, -1):
            for holder in self._by_size[size]:
                if holder.waiting:
                    next(iter(holder.waiting)).give_way("connections")
                    return

    def _resize(self, network: Holder, change: int) -> None:
        self.connections += change
        del_from, network.connections = network.connections, network.connections + change
        self._by_size[del_from].pop(network, None)
        if network.connections == len(self._by_size):
            self._by_size.append({})
        if network.connections:
            self._by_size[network.connections][network] = None
        self._largest = max(self._largest, network.connections)
        while self._largest and not self._by_size[self._largest]:
            self._largest -= 1

    def _forget(self, holder: Holder) -> None:
        if not holder.connections and not holder.bytes:
            self._holders.pop(holder.name, None)
