"""A sender whose answers a test gives by hand: attempts without a network and without time."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Request, Response
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.domain.trace import Trace
from aegis_stream.errors import AegisError
from support.simulation import VirtualLoop

ROUTE = Route(
    Endpoint("https", "sink.example.com", 443, "/in?channel=c", False),
    (("Content-Encoding", "gzip"), ("Authorization", "Splunk t")),
    None,
    10.0,
)
CLOSED = Fault(FaultKind.CLOSED, "the channel was closed", 0)


@dataclass
class Owner:
    """A forwarder, as its parts see it: they wake it, and tell it of bugs."""

    woken: int = 0
    bugs: list[Exception] = field(default_factory=list)

    def wake(self) -> None:
        self.woken += 1

    def bug(self, error: Exception) -> None:
        self.bugs.append(error)


class HeldChannel:
    """Keeps what is sent until the test answers.

    Attributes:
        requests: everything that was sent.
        unanswered: what has no answer yet: (token, whom to tell).
    """

    def __init__(self, route: Route) -> None:
        self.route = route
        self.waits = False
        self.closed = False
        self.requests: list[Request] = []
        self.unanswered: list[tuple[Any, Callable[[Any, Answer], None]]] = []

    def start(self, request: Request, ended: Callable[[Any, Answer], None], token: object) -> None:
        self.requests.append(request)
        self.unanswered.append((token, ended))

    def answer(self, answer: Answer, at: int = 0) -> None:
        """Answer a request: the one that waits for longest, or the one at another place."""
        token, ended = self.unanswered.pop(at)
        ended(token, answer)

    async def post(self, request: Request) -> Answer:
        raise AssertionError(request)

    def close(self) -> None:
        self.closed = True
        while self.unanswered:
            self.answer(CLOSED)


class HeldSender:
    """Opens channels that the test answers.

    Attributes:
        channels: every channel that was opened.
        routed: destinations whose route was asked for.
        refusal: why none may be opened; None to open them.
    """

    def __init__(self) -> None:
        self.channels: list[HeldChannel] = []
        self.routed: list[Destination] = []
        self.route = ROUTE
        self.refusal: AegisError | None = None

    def route_of(self, destination: Destination) -> Route:
        """Return the route of every destination."""
        self.routed.append(destination)
        if self.refusal is not None:
            raise self.refusal
        return self.route

    def open(self, route: Route, trace: Trace | None = None) -> HeldChannel:
        self.channels.append(HeldChannel(route))
        return self.channels[-1]


def answered(status: int, body: bytes = b"", latency_us: int = 1500) -> Response:
    """Build an answer."""
    return Response(status, body, latency_us)


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Have a test run on a loop whose time passes only when all tasks wait."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*arguments, **named))

    return run
