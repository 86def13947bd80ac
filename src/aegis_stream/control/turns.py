"""Reads of one organization take turns, so that one organization's dear reads do not delay the calls of all others.

All reads of a process share a few threads and one interpreter. Whoever asks for much at once waits for itself.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from aegis_stream.domain.ids import OrganizationNo
from aegis_stream.errors import Limited

WAITING_MAX = 200
"""Most reads of one organization that wait for their turn."""
WAIT_S = 10.0
"""Longest wait for a turn, seconds."""


@dataclass(slots=True)
class Turns:
    """At most one read of each organization at a time, in order of arrival."""

    _waiting: dict[OrganizationNo, "deque[asyncio.Future[None]]"] = field(default_factory=dict)

    async def enter(self, no: OrganizationNo) -> None:
        """Wait for the organization's turn; `leave` must follow.

        Raises: Limited when too many reads wait, or this one for too long; then no `leave` follows.
        """
        waiting = self._waiting.get(no)
        if waiting is None:
            self._waiting[no] = deque()
            return
        if len(waiting) >= WAITING_MAX:
            raise _too_many()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            async with asyncio.timeout(WAIT_S):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.leave(no)  # it came just now, and nobody will use it
            else:
                waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise _too_many() from None
            raise

    def leave(self, no: OrganizationNo) -> None:
        """End a turn: the next one that waits begins."""
        waiting = self._waiting[no]
        while waiting:
            following = waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        del self._waiting[no]


def _too_many() -> Limited:
    return Limited(
        "too many reads of this organization are waiting; one is answered at a time: send fewer at once",
        retry_after_s=1,
        code="rate-limited",
    )
