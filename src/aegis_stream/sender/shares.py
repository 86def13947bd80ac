"""All connections of a process, shared between organizations.

Called by `pool`, beside the limiter of each address: an organization with many addresses must not use up the process's
connections, and with them its file descriptors, or nobody else could connect.

Of n organizations with connections each may have 1/(n + 1) of the places, so the next one finds room. One that has more,
because it came when there were fewer, gives places back as soon as there are none left for others: its idle connections are
closed, and those that are in use are not kept after their request.
"""

from typing import Protocol


class ShareHolder(Protocol):
    """Owner of connections: a channel."""

    def give_up_any_idle(self) -> bool:
        """Close an idle connection; return False if there is none."""
        ...

    def find_room(self) -> None:
        """Try again: a place may have become free."""
        ...


class ConnectionShares:
    """The connections of a process.

    Args:
        places_max: most connections of all organizations together.

    Attributes:
        pressed: somebody waits for a place, or there is none left.
        waiting: organization → its channels that wait for a place, in their order.
    """

    __slots__ = ("_channels", "_held", "_of", "_places_max", "pressed", "waiting")

    def __init__(self, places_max: int) -> None:
        self._places_max = places_max
        self._held = 0
        self._of: dict[str, int] = {}  # organization → its connections
        self._channels: dict[str, dict[ShareHolder, int]] = {}  # the same, by channel
        self.waiting: dict[str, dict[ShareHolder, None]] = {}
        self.pressed = False

    def enter(self, org_id: str, holder: ShareHolder) -> bool:
        """Take a place for one more connection; return False if there is none for this organization.

        Idle connections are closed first: the organization's own if it has its share, else of one that has more than its
        share. A holder that got False is told by `find_room` when to try again.
        """
        if self._of.get(org_id, 0) >= self._part(org_id):
            # While somebody of it waits, no connection of it becomes idle: see `must_give`.
            has_room = org_id not in self.waiting and self._close_idle(org_id)
        elif self._held >= self._places_max:
            has_room = any(self._close_idle(one) for one in list(self._of) if self._has_too_much(one))
        else:
            has_room = True
        if has_room:
            self._of[org_id] = self._of.get(org_id, 0) + 1
            channels = self._channels.setdefault(org_id, {})
            channels[holder] = channels.get(holder, 0) + 1
            self._held += 1
        else:
            self.waiting.setdefault(org_id, {})[holder] = None
        self._note()
        return has_room

    def leave(self, org_id: str, holder: ShareHolder, *, tell: bool = True) -> None:
        """Give a place back.

        Args:
            tell: let the channel of each organization that has waited longest try again.
        """
        channels = self._channels[org_id]
        channels[holder] -= 1
        if not channels[holder]:
            del channels[holder]
        self._of[org_id] -= 1
        if not self._of[org_id]:
            del self._of[org_id], self._channels[org_id]
        self._held -= 1
        self._note()
        if tell and self.waiting:
            for waiting_org, waiting in list(self.waiting.items()):
                first = next(iter(waiting))
                self.stop_waiting(waiting_org, first)
                first.find_room()

    def stop_waiting(self, org_id: str, holder: ShareHolder) -> None:
        """Forget a waiting holder; does nothing if it does not wait."""
        waiting = self.waiting.get(org_id, {})
        waiting.pop(holder, None)
        if not waiting:
            self.waiting.pop(org_id, None)
        self._note()

    def must_give(self, org_id: str) -> bool:
        """Tell whether an organization closes its connections after their request; asked when `pressed`.

        So it is when another channel of it waits for a place, or there is none left and it has more than its share.
        """
        return org_id in self.waiting or (self._held >= self._places_max and self._has_too_much(org_id))

    def _has_too_much(self, org_id: str) -> bool:
        return self._of.get(org_id, 0) > self._part(org_id)

    def _part(self, org_id: str) -> int:
        organizations = len(self._of) + (org_id not in self._of)
        return max(1, self._places_max // (organizations + 1))

    def _close_idle(self, org_id: str) -> bool:
        return any(one.give_up_any_idle() for one in list(self._channels.get(org_id, ())))

    def _note(self) -> None:
        self.pressed = bool(self.waiting) or self._held >= self._places_max
