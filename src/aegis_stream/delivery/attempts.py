"""The attempts of one destination that are under way: encode → compress → send → interpret (steps 5 to 7).

The forwarder chooses what to send and records what it came to; everything between is here. Nothing is awaited between an answer
and the call that records it.
"""

from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from aegis_stream.domain.attempt import (
    Accepted,
    Answer,
    Failure,
    FailureScope,
    Fault,
    FaultKind,
    Request,
    Verdict,
)
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
from aegis_stream.pipeline.pacing import SPARE_MAX
from aegis_stream.ports import Channel, Sender

from .confirmations import CONFIRM_S, UNCONFIRMED_MAX, Confirmations, questions_route
from .ended import Bug, Ended, Judged, Unsent
from .work import Source, Work


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


@dataclass(slots=True, eq=False)
class Attempts:
    """The attempts in flight to one destination.

    Args:
        live: the log after the cursor; the work of every other source goes beside it.
        on_ended: told of each attempt that ends, some within `begin`.

    Attributes:
        format: of attempts that begin now; those in flight are judged by the one that they began with.
        in_flight: attempts without an answer, each with its format, in the order in which they began.
        overdue: attempts that have had no answer for so long that they no longer count against the window, likewise.
        beside: how many attempts without an answer are retries or replays.
        full: nothing may begin, whatever the window says: too much is being compressed, or waits for a token or a confirmation.
        stopped: attempts that end because their connection is closed are not failures.
    """

    outbound: Outbound
    destination: Destination
    live: Source
    on_ended: Callable[[Ended], None]
    format: Format = field(init=False)
    in_flight: dict[Work, Format] = field(default_factory=dict)
    overdue: dict[Work, Format] = field(default_factory=dict)
    beside: int = 0
    full: bool = False
    stopped: bool = False
    _channel: Channel | None = None
    _confirmations: Confirmations | None = None
    _compressing: int = 0
    _compression: Compression = "none"
    _attempt_s_max: float = 0.0

    def __post_init__(self) -> None:
        self._resolve()

    @property
    def idle(self) -> bool:
        """True when nothing is in flight, and nothing waits for its confirmation."""
        return not (self.in_flight or self.overdue or self._confirmations)

    def begin(self, work: Work, now_s: float) -> None:
        """Make one attempt; `on_ended` is told what it came to."""
        format_ = self.format
        work.began_s = now_s
        self.in_flight[work] = format_
        self.beside += work.source is not self.live
        channel = self._channel or self._open_channel()
        if isinstance(channel, Failure):
            self._end(work)
            self.on_ended(Judged(work, channel, 0))
            return
        request = request_of(format_, work.bodies)
        if isinstance(request, Failure):
            self._refuse(work, request)
            return
        if self._compression == "none":
            channel.start(request, self._answered, work)
        elif len(request.body) <= INLINE_BYTES_MAX:
            channel.start(compressed(request, self._compression), self._answered, work)
        else:
            self._compressing += 1
            self._update_full()
            self.outbound.spawn(self._compress_and_start(channel, work, request))
        if channel.waits:
            self._update_full()

    def reconfigure(self, destination: Destination) -> list[Work]:
        """Begin everything from now on as the destination is now; what is in flight ends as it began.

        Returns: work that waited for its confirmation. Nobody knows what becomes of it, so it must be sent again.
        """
        unknown: list[Work] = []
        self.destination = destination
        if self._channel is not None and not self.in_flight and not self.overdue:
            self._channel.close()
        self._channel = None
        if self._confirmations is not None:
            unknown = self._confirmations.give_up()
            self._confirmations = None
        self._resolve()
        return unknown

    def close(self) -> None:
        """Close the connections: what is in flight ends without an answer, and is not recorded."""
        self.stopped = True
        if self._confirmations is not None:
            self._confirmations.give_up()
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def parked(self, work: Work) -> None:
        """Learn that the work of an attempt, whose source was the live one, now belongs to the retries."""
        self.beside += work in self.in_flight or work in self.overdue

    def set_aside(self, before_s: float, answered_at_s: float) -> None:
        """Let attempts be overdue that have had no answer for too long.

        Args:
            before_s: those that began before this time.
            answered_at_s: when the destination last accepted something. Attempts that began later may show that it does not
                answer at all, so only a few of them are set aside.
        """
        for work in list(self.in_flight):
            began_s = work.began_s
            if began_s > before_s or (began_s > answered_at_s and len(self.overdue) >= SPARE_MAX):
                return
            self.overdue[work] = self.in_flight.pop(work)

    def longest_s(self) -> dict[Work, float]:
        """Return what is in flight, with the seconds within which each must have ended."""
        ends_s = dict.fromkeys((*self.in_flight, *self.overdue), self._attempt_s_max)
        ends_s.update(dict.fromkeys(self._confirmations or (), CONFIRM_S))
        return ends_s

    def _resolve(self) -> None:
        spec = self.destination.spec
        self._compression = spec.compression
        self._update_full()
        self.format = format_of(spec)

    def _refuse(self, work: Work, failure: Failure) -> None:
        """End an attempt before anything is sent, because an event of it cannot be sent."""
        self._end(work)
        if len(work.sequences) > 1:
            self.on_ended(Unsent(work.halves()))
        else:
            self.on_ended(Judged(work, failure, 0))

    async def _compress_and_start(self, channel: Channel, work: Work, request: Request) -> None:
        """Go on with an attempt whose body is large; its time begins with sending."""
        try:
            request = await compressed_beside(request, self._compression, self.outbound.threads)
        except Exception as error:  # noqa: BLE001 - a bulkhead: one destination's bug must not end the worker of all
            self._end(work)
            self.on_ended(Bug(error))
            return
        finally:
            self._compressing -= 1
            self._update_full()
        if self.stopped or channel is not self._channel:
            # Stopped or reconfigured meanwhile. Nothing was sent, so nothing has failed: it starts again, if ever.
            self._end(work)
            self.on_ended(Unsent([work]))
        else:
            channel.start(request, self._answered, work)
            self._update_full()
            self.on_ended(Unsent(()))

    def _answered(self, work: Work, answer: Answer) -> None:
        format_ = self._end(work)
        if isinstance(answer, Fault) and self.stopped:
            return  # we closed the connection ourselves
        try:
            if self.full:
                self._update_full()
            if isinstance(answer, Fault) and answer.kind is FaultKind.LIMIT:
                self.on_ended(Unsent([work], answer.message))
                return
            verdicts = verdicts_of(format_, answer, len(work.sequences))
            acks = format_.acks
            if acks is not None and isinstance(verdicts, Accepted) and verdicts.ack_id is not None:
                self._await_confirmation(acks, work, verdicts, answer.latency_us)
            else:
                self.on_ended(Judged(work, verdicts, answer.latency_us, answer))
        except Exception as error:  # noqa: BLE001 - a bulkhead, as above
            self.on_ended(Bug(error))

    def _confirmed(self, work: Work, verdict: Verdict, latency_us: int) -> None:
        self._update_full()
        try:
            self.on_ended(Judged(work, verdict, latency_us))
        except Exception as error:  # noqa: BLE001 - a bulkhead, as above
            self.on_ended(Bug(error))

    def _end(self, work: Work) -> Format:
        """End an attempt; returns its format, which may differ from the one that the destination has now."""
        self.beside -= work.source is not self.live
        format_ = self.in_flight.pop(work, None)
        return format_ if format_ is not None else self.overdue.pop(work)

    def _await_confirmation(self, acks: Acks, work: Work, accepted: Accepted, latency_us: int) -> None:
        """Ask about accepted events until the destination has stored them; only then are they delivered."""
        if self._confirmations is None:

            def open_channel() -> Channel | Failure:
                return self._channel_of(lambda route: questions_route(route, acks))

            self._confirmations = Confirmations(acks, open_channel, self._confirmed)
        self._confirmations.add(work, accepted, latency_us)
        self._update_full()

    def _update_full(self) -> None:
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
