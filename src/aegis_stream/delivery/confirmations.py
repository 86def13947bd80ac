"""Requests that a destination has accepted and not yet stored: asked about until it confirms them (between steps 7 and 8).

Called by `attempts` for answers with a number to ask about (Splunk's indexer acknowledgement). Until a request is confirmed its
events count as in flight: the cursor does not pass them, and after a crash they are sent again.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from aegis_stream.domain.attempt import Accepted, Answer, Failure, FailureScope, Verdict
from aegis_stream.domain.endpoint import Route
from aegis_stream.formats import Acks
from aegis_stream.ports import Channel

from .work import Work

ASK_PAUSE_S = 2.0
"""Seconds between two questions: indexing takes seconds, and asking costs the destination something."""
CONFIRM_S = 300.0
"""Seconds after which a request counts as lost: the time that Splunk's documentation tells clients to wait."""
UNCONFIRMED_MAX = 1000
"""At most this many requests wait for their confirmation; at that number no attempt starts. One question asks about all."""


class _Waiting(NamedTuple):
    work: Work
    accepted: Accepted
    latency_us: int
    until_s: float


def questions_route(route: Route, acks: Acks) -> Route:
    """Return where questions go: the same host, headers and query, and another path; never compressed."""
    query = route.endpoint.target.partition("?")[2]
    target = f"{acks.path}?{query}" if query else acks.path
    headers = tuple(one for one in route.headers if one[0].lower() != "content-encoding")
    return replace(route, endpoint=replace(route.endpoint, target=target), headers=headers)


class Confirmations:
    """The requests of one destination that wait to be confirmed.

    Args:
        acks: how its format asks.
        open_channel: opens the channel for questions, or returns why it cannot.
        on_end: called as on_end(work, verdict, latency_us) when a request is confirmed, or lost.
    """

    __slots__ = ("_acks", "_channel", "_loop", "_on_end", "_open_channel", "_timer", "_waiting")

    def __init__(
        self,
        acks: Acks,
        open_channel: Callable[[], Channel | Failure],
        on_end: Callable[[Work, Verdict, int], None],
    ) -> None:
        self._acks = acks
        self._open_channel = open_channel
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, _Waiting] = {}
        self._channel: Channel | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Work]:
        return iter([one.work for one in self._waiting.values()])

    def add(self, work: Work, accepted: Accepted, latency_us: int) -> None:
        """Begin to ask about a request; `accepted` has its ack_id."""
        ack_id = accepted.ack_id
        assert ack_id is not None, "only such requests are waited for"
        before = self._waiting.pop(ack_id, None)
        self._waiting[ack_id] = _Waiting(work, accepted, latency_us, self._loop.time() + CONFIRM_S)
        if before is not None:
            # Numbers begin anew when the destination restarts: nobody can tell the two apart.
            self._lost(before, f"ackId {ack_id} was given out a second time before the first was confirmed")
        if self._timer is None:
            self._timer = self._loop.call_later(ASK_PAUSE_S, self._ask)

    def give_up(self) -> list[Work]:
        """Stop asking; returns what was waiting, of which nothing is known."""
        works = list(self)
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        return works

    def _ask(self) -> None:
        self._timer = None
        channel = self._channel or self._open_channel()
        if isinstance(channel, Failure):
            self._go_on()
            return
        self._channel = channel
        ack_ids = list(self._waiting)
        try:
            question = self._acks.encode_question(ack_ids)
        except Exception:  # noqa: BLE001 - a bug in a format: nothing is confirmed, so everything is sent again
            self._go_on()
            return
        channel.start(question, self._heard, ack_ids)

    def _heard(self, ack_ids: list[int], answer: Answer) -> None:
        try:
            confirmed = self._acks.confirmed(answer, ack_ids)
        except Exception:  # noqa: BLE001 - as above
            confirmed = frozenset()
        for ack_id in confirmed:
            one = self._waiting.pop(ack_id, None)
            if one is not None:
                self._on_end(one.work, one.accepted, one.latency_us)
        self._go_on()

    def _go_on(self) -> None:
        """Let go of what has waited for too long, and ask about the rest later."""
        now_s = self._loop.time()
        for ack_id, one in [(no, one) for no, one in self._waiting.items() if one.until_s <= now_s]:
            del self._waiting[ack_id]
            self._lost(one, f"it was not confirmed as stored within {CONFIRM_S:g} s")
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_later(ASK_PAUSE_S, self._ask)

    def _lost(self, one: _Waiting, why: str) -> None:
        status = one.accepted.status_code
        message = f"answered {status}, and then {why}: it is sent again; look into the destination's queues and its log"
        self._on_end(one.work, Failure(FailureScope.DESTINATION, message, status_code=status), one.latency_us)
