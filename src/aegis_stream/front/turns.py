"""Whose turn is next: one holder after the other, whatever the number of requests that each has waiting.

What costs more than a moment is not done as it arrives: with thousands of connections of one client, a round of the event loop
would last so long that all others wait.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Turns:
    """A number of turns at the same time, and holders that wait for one.

    Args:
        free: turns that nobody has. While there is one, nobody waits.
    """

    free: int
    _waiting: dict[str, dict[Hashable, Callable[[], bool]]] = field(default_factory=dict)

    def take(self) -> bool:
        """Take a turn if one is free."""
        if not self.free:
            return False
        self.free -= 1
        return True

    def wait(self, holder: str, one: Hashable, begin: Callable[[], bool]) -> None:
        """Wait behind the others of the same holder.

        Args:
            begin: called when the turn comes; False says that it is not wanted any more. After True, `end` is called once.
        """
        self._waiting.setdefault(holder, {})[one] = begin

    def leave(self, holder: str, one: Hashable) -> None:
        """Wait no more; does nothing for somebody who does not wait."""
        queue = self._waiting.get(holder, {})
        queue.pop(one, None)
        if not queue:
            self._waiting.pop(holder, None)

    def end(self) -> None:
        """End a turn: whoever of the next holder has waited longest begins."""
        self.free += 1
        while self.free and self._waiting:
            holder = next(iter(self._waiting))
            queue = self._waiting.pop(holder)
            one = next(iter(queue))
            begin = queue.pop(one)
            if queue:
                self._waiting[holder] = queue  # last: all others come first
            self.free -= 1
            if not begin():
                self.free += 1
