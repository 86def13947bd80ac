"""The attempts of one destination that are under way: encode → compress → send → interpret (steps 5 to 7).

`deliver` chooses what to send and records what it came to; everything between is here. Nothing is awaited between an answer and
the call that records it.
"""

from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Protocol

from aegis_stream.domain.attempt import Accepted, Answer, Failure, FailureScope, Fault, Request, Verdict
from aegis_stream.domain.destination import Compression, Destination
from aegis_stream.domain.endpoint import Route
from aegis_stream.errors import AegisError
from aegis_stream.formats import Acks, Format
from aegis_stream.pipeline.attempt import format_of, request_of, verdicts_of
from aegis_stream.pipeline.compress import (
    BESIDE_MAX,
    INLINE_BYTES_MAX,
    compressed,
    compressed_beside,
    make_threads,
)
from aegis_stream.ports import Channel, Sender

from .confirmations import CONFIRM_S, UNCONFIRMED_MAX, Confirmations, questions_route
from .sources import LiveSource
from .work import Work


@dataclass(frozen=True, slots=True)
class Outbound:
    """What the attempts of all destinations of a worker share.

    Args:
        route_of: destination → where its requests go; raises Invalid when its URL is no longer allowed.
        spawn: starts a task in the worker's task group.
        threads: where large bodies are compressed.
    """

    sender: Sender
    route_of: Callable[[Destination], Route]
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    threads: Executor = field(default_factory=make_threads)


class Listener(Protocol):
    """Who is told what becomes of attempts, some of it within the call that begins one."""

    def ended(self, work: Work, verdicts: Verdict | list[Verdict], latency_us: int) -> None:
        """Record what an attempt came to, and go on."""
        ...

    def look_at_age(self, oldest: bytes) -> None:
        """Look whether an event that is about to be sent is too old for its destination."""
        ...

    def unsent(self, works: Iterable[Work]) -> None:
        """Take back what was not sent, or of which nothing is known: nothing has failed, and it is to be sent."""
        ...

    def wake(self) -> None:
        """Look whether there is room for more."""
        ...

    def met_bug(self, error: Exception) -> None:
        """Take note of an error that must not happen."""
        ...


@dataclass(slots=True, eq=False)
class Attempts:
    """What is under way to one destination.

    Args:
        live: where what is new comes from; everything else goes beside it.

    Attributes:
        format: of attempts that begin now; those under way end in the one that they began in.
        flying: attempts without an answer, each with its format.
        beside: how many of them are not of the live source.
        full: nothing may begin, whatever the window says: too much is being compressed, or waits for its confirmation.
        stopped: attempts that end by the closing of their connection are given back, not failed.
    """

    outbound: Outbound
    destination: Destination
    live: LiveSource
    listener: Listener
    format: Format = field(init=False)
    flying: dict[Work, Format] = field(default_factory=dict)
    beside: int = 0
    full: bool = False
    stopped: bool = False
    _channel: Channel | None = None
    _confirmations: Confirmations | None = None
    _compressing: int = 0
    _compression: Compression = "none"
    _attempt_s_max: float = 0.0
    _ended: Callable[[Work, Verdict | list[Verdict], int], None] = field(init=False)

    def __post_init__(self) -> None:
        self._ended = self.listener.ended
        self._resolve()

    @property
    def idle(self) -> bool:
        """True when nothing is under way, and nothing waits for its confirmation."""
        return not (self.flying or self._confirmations)

    def begin(self, work: Work) -> None:
        """Make one attempt; the listener is told what it came to."""
        format_ = self.format
        self.flying[work] = format_
        self.beside += work.source is not self.live
        channel = self._channel or self._open_channel()
        if isinstance(channel, Failure):
            self._land(work)
            self._ended(work, channel, 0)
            return
        request = request_of(format_, work.bodies)
        if isinstance(request, Failure):
            self._refuse(work, request)
            return
        if format_.age_max_s is not None:
            self.listener.look_at_age(work.bodies[0])
        if self._compression == "none":
            channel.start(request, self._answered, work)
        elif len(request.body) <= INLINE_BYTES_MAX:
            channel.start(compressed(request, self._compression), self._answered, work)
        else:
            self._compressing += 1
            self._look_whether_full()
            self.outbound.spawn(self._compress_and_start(channel, work, request))
        if channel.waits:
            self._look_whether_full()

    def reconfigure(self, destination: Destination) -> None:
        """Begin everything from now on as the destination is now; what is under way ends as it began."""
        self.destination = destination
        if self._channel is not None and not self.flying:
            self._channel.close()
        self._channel = None
        if self._confirmations is not None:
            # Nobody knows what becomes of what the destination, as it was, has not confirmed: it is sent again.
            self.listener.unsent(self._confirmations.give_up())
            self._confirmations = None
        self._resolve()

    def close(self) -> None:
        """Close the connections: what is under way ends without an answer, and is not recorded."""
        self.stopped = True
        if self._confirmations is not None:
            self._confirmations.give_up()
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def longest_s(self) -> dict[Work, float]:
        """Return what is under way, with the seconds within which each must have ended."""
        ends_s = dict.fromkeys(self.flying, self._attempt_s_max)
        ends_s.update(dict.fromkeys(self._confirmations or (), CONFIRM_S))
        return ends_s

    def _resolve(self) -> None:
        spec = self.destination.spec
        self._compression = spec.compression
        self._look_whether_full()
        self.format = format_of(spec)

    def _refuse(self, work: Work, failure: Failure) -> None:
        """End an attempt before anything is sent: some event of it cannot be."""
        self._land(work)
        if len(work.sequences) > 1:
            self.listener.unsent(work.halves())
        else:
            self._ended(work, failure, 0)

    async def _compress_and_start(self, channel: Channel, work: Work, request: Request) -> None:
        """Go on with an attempt whose body is large; its time begins with sending."""
        try:
            request = await compressed_beside(request, self._compression, self.outbound.threads)
        except Exception as error:  # noqa: BLE001 - a bulkhead: one destination's bug must not end the worker of all
            self._land(work)
            self.listener.met_bug(error)
            return
        finally:
            self._compressing -= 1
            self._look_whether_full()
        if self.stopped or channel is not self._channel:
            # Stopped or configured otherwise meanwhile. Nothing was sent, so nothing has failed: it begins anew, if ever.
            self._land(work)
            self.listener.unsent([work])
        else:
            channel.start(request, self._answered, work)
            self._look_whether_full()
        self.listener.wake()

    def _answered(self, work: Work, answer: Answer) -> None:
        format_ = self._land(work)
        if self.stopped and isinstance(answer, Fault):
            return  # the connection was closed under it
        try:
            if self.full:
                self._look_whether_full()
            verdicts = verdicts_of(format_, answer, len(work.sequences))
            acks = format_.acks
            if acks is not None and isinstance(verdicts, Accepted) and verdicts.ack_id is not None:
                self._await_confirmation(acks, work, verdicts, answer.latency_us)
            else:
                self._ended(work, verdicts, answer.latency_us)
        except Exception as error:  # noqa: BLE001 - a bulkhead, as above
            self.listener.met_bug(error)

    def _confirmed(self, work: Work, verdict: Verdict, latency_us: int) -> None:
        self._look_whether_full()
        try:
            self._ended(work, verdict, latency_us)
        except Exception as error:  # noqa: BLE001 - a bulkhead, as above
            self.listener.met_bug(error)

    def _land(self, work: Work) -> Format:
        """End an attempt; returns the format it was made in, which may be another one than the destination has now."""
        self.beside -= work.source is not self.live
        return self.flying.pop(work)

    def _await_confirmation(self, acks: Acks, work: Work, accepted: Accepted, latency_us: int) -> None:
        """Ask about what was accepted until it is stored; only then it is delivered."""
        if self._confirmations is None:

            def open_channel() -> Channel | Failure:
                return self._channel_of(lambda route: questions_route(route, acks))

            self._confirmations = Confirmations(acks, open_channel, self._confirmed)
        self._confirmations.add(work, accepted, latency_us)
        self._look_whether_full()

    def _look_whether_full(self) -> None:
        unconfirmed = len(self._confirmations) if self._confirmations is not None else 0
        waits = self._channel is not None and self._channel.waits
        self.full = self._compressing >= BESIDE_MAX or unconfirmed >= UNCONFIRMED_MAX or waits

    def _open_channel(self) -> Channel | Failure:
        channel = self._channel_of(lambda route: route)
        if not isinstance(channel, Failure):
            self._channel = channel
        return channel

    def _channel_of(self, turn: Callable[[Route], Route]) -> Channel | Failure:
        try:
            route = turn(self.outbound.route_of(self.destination))
            self._attempt_s_max = max(self._attempt_s_max, route.attempt_s_max)
            return self.outbound.sender.open(route)
        except AegisError as error:
            return Failure(FailureScope.DESTINATION, error.message, fix_needed=True)
