"""What happens between the choice of events and the record of their outcome: promises of delivery/attempts.py, answered by hand."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from aegis_stream.delivery.attempts import Attempts, Outbound
from aegis_stream.delivery.confirmations import ASK_PAUSE_S, CONFIRM_S, UNCONFIRMED_MAX
from aegis_stream.delivery.ended import Bug, Ended, Judged, Unsent
from aegis_stream.delivery.work import Source, Work
from aegis_stream.domain.attempt import Accepted, Answer, Failure, FailureScope, Fault, FaultKind, Request
from aegis_stream.domain.destination import Destination, DestinationSpec
from aegis_stream.domain.ids import DestinationId, DestinationNo, OrganizationId, OrganizationNo
from aegis_stream.errors import Invalid
from aegis_stream.formats import Acks
from aegis_stream.pipeline.compress import BESIDE_MAX, INLINE_BYTES_MAX
from aegis_stream.pipeline.pacing import SPARE_MAX
from support.clock import T0
from support.held import HeldThreads
from support.outbound import CLOSED, ROUTE, HeldChannel, HeldSender, answered, in_virtual_time

LIVE, RETRIES = cast(Source, object()), cast(Any, object())
SPEC = DestinationSpec(url="https://sink.example.com/in", format="ndjson")
LIMIT = Fault(FaultKind.LIMIT, "all connections were in use", 0)


def destination_of(spec: DestinationSpec) -> Destination:
    """Build a destination."""
    return Destination(
        DestinationNo(7), DestinationId("dst_1"), OrganizationNo(5), OrganizationId("org_1"), spec, 1, T0, T0
    )


@dataclass
class Bench:
    """Attempts with their receiver.

    Attributes:
        ended: what the attempts came to.
        full: whether nothing more might begin, each time when one ended.
        fails: raised by whoever is told of an end.
    """

    sender: HeldSender
    threads: HeldThreads
    attempts: Attempts = field(init=False)
    ended: list[Ended] = field(default_factory=list)
    full: list[bool] = field(default_factory=list)
    fails: Exception | None = None

    def on_ended(self, ended: Ended) -> None:
        self.ended.append(ended)
        self.full.append(self.attempts.full)
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error

    @property
    def channel(self) -> HeldChannel:
        """The newest channel."""
        return self.sender.channels[-1]

    def begin(self, *works: Work, now_s: float = 50.0) -> None:
        """Begin attempts."""
        for work in works:
            self.attempts.begin(work, now_s)


def make(spec: DestinationSpec = SPEC) -> Bench:
    """Make the attempts of a destination."""
    sender = HeldSender()
    bench, tasks = Bench(sender, HeldThreads()), set()
    outbound = Outbound(
        sender, sender.route_of, lambda work: tasks.add(asyncio.ensure_future(work)), bench.threads
    )
    bench.attempts = Attempts(outbound, destination_of(spec), LIVE, bench.on_ended)
    return bench


def work_of(first: int, *bodies: bytes, source: Any = LIVE) -> Work:
    """Build a request of neighbouring events."""
    bodies = bodies or (b"{}",)
    return Work(source, first, first + len(bodies) - 1, range(first, first + len(bodies)), [*bodies], 1)


async def turns() -> None:
    """Let tasks go on as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


# ── the plain way ──


async def test_an_attempt_is_sent_and_judged():
    """The events go to the route of the destination, and its answer is told with what it means and how long it took."""
    bench, work, answer = make(), work_of(101, b"{1}", b"{2}"), answered(202)

    bench.begin(work, now_s=51.5)
    in_flight, idle = list(bench.attempts.in_flight), bench.attempts.idle
    bench.channel.answer(answer)

    assert (in_flight, idle, work.began_s) == ([work], False, 51.5)
    assert bench.sender.routed == [bench.attempts.destination]
    assert (bench.channel.route, bench.channel.requests[0].body) == (ROUTE, b"{1}\n{2}\n")
    assert bench.ended == [Judged(work, Accepted(202), 1500, answer)]
    assert bench.attempts.idle
    assert not bench.attempts.full


async def test_all_attempts_share_a_channel():
    """A second attempt opens no further channel, and each answer ends its own attempt."""
    bench, one, two = make(), work_of(101), work_of(102)

    bench.begin(one, two)
    bench.channel.answer(answered(202), at=1)

    assert len(bench.sender.channels) == 1
    assert list(bench.attempts.in_flight) == [one]
    assert [cast(Judged, ended).work for ended in bench.ended] == [two]


async def test_what_is_not_of_the_log_counts_beside_it():
    """Retries and replays in flight are counted apart from the log, until they end."""
    bench = make()
    bench.begin(work_of(101), work_of(40, source=RETRIES), work_of(41, source=RETRIES))
    before = bench.attempts.beside
    bench.channel.answer(answered(202))
    bench.channel.answer(answered(202))
    after_two = bench.attempts.beside
    bench.channel.answer(answered(202))

    assert (before, after_two, bench.attempts.beside) == (2, 1, 0)


async def test_a_parked_attempt_counts_beside_the_log():
    """Work that became a retry while it is in flight, or overdue, counts as one; what only waits for a confirmation does not."""
    bench, one, two, three = make(), work_of(101), work_of(102), work_of(103)
    bench.begin(one, two, now_s=1.0)
    bench.attempts.set_aside(2.0, 0.5)
    bench.begin(three, now_s=3.0)
    counted = []
    for work in (one, three, work_of(104)):
        work.source = RETRIES
        bench.attempts.parked(work)
        counted.append(bench.attempts.beside)

    assert list(bench.attempts.overdue) == [one, two]
    assert counted == [1, 2, 2]


async def test_an_answer_is_judged_event_by_event():
    """The format is told how many events the answer is about, and says of each what it means."""
    bench, work = make(), work_of(101, b"{1}", b"{2}")
    judge = lambda _, count: [Accepted(number) for number in range(count)]  # noqa: E731
    bench.attempts.format = replace(bench.attempts.format, interpret=judge)
    bench.begin(work)
    bench.channel.answer(answered(202))

    assert cast(Judged, bench.ended[0]).verdicts == [Accepted(0), Accepted(1)]


# ── what is not sent ──


async def test_a_route_that_is_not_allowed_is_a_failure_to_fix():
    """Nothing is sent, and the person reads what to change; as soon as it is allowed the next attempt goes out."""
    bench, work, later = make(), work_of(40, source=RETRIES), work_of(102)
    bench.sender.refusal = Invalid("use https")
    bench.begin(work)
    bench.sender.refusal = None
    bench.begin(later)

    assert bench.ended == [Judged(work, Failure(FailureScope.DESTINATION, "use https", fix_needed=True), 0)]
    assert list(bench.attempts.in_flight) == [later]
    assert bench.attempts.beside == 0
    assert len(bench.channel.requests) == 1


async def test_a_damaged_event_is_found_and_not_sent():
    """A batch with an event that is damaged is halved, and the event alone is judged; nothing of either is sent."""
    bench, alone, batch = make(), work_of(101, b""), work_of(102, b"{2}", b"")
    bench.begin(alone, batch)
    [judged, unsent] = bench.ended

    assert isinstance(judged, Judged)
    assert isinstance(judged.verdicts, Failure)
    assert (judged.work, judged.verdicts.damaged, judged.latency_us, judged.answer) == (alone, True, 0, None)
    assert isinstance(unsent, Unsent)
    assert ([list(one.sequences) for one in unsent.works], unsent.reason) == ([[102], [103]], None)
    assert bench.attempts.idle
    assert bench.channel.requests == []


async def test_a_limit_of_our_own_is_no_attempt():
    """What waited for a limit of ours was not sent; it is told why."""
    bench, work = make(), work_of(101)
    bench.begin(work)
    bench.channel.answer(LIMIT)

    assert bench.ended == [Unsent([work], "all connections were in use")]


async def test_nothing_begins_while_attempts_wait_for_a_token():
    """While the channel waits nothing may begin; it is free again as soon as an answer comes and it waits no more."""
    bench, one, two = make(), work_of(101), work_of(102)
    bench.begin(one)
    bench.channel.waits = True
    before = bench.attempts.full
    bench.begin(two)
    waits = bench.attempts.full
    bench.channel.answer(answered(202))
    still = bench.attempts.full
    bench.channel.waits = False
    bench.channel.answer(answered(202))

    assert (before, waits, still) == (False, True, True)
    assert bench.full == [True, False], "who is told of an end begins the next attempt at once"


# ── compression ──


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_a_body_is_compressed_as_the_destination_says(compression):
    """The body is sent as it is, or compressed; what the answer means is the same."""
    bench, work = make(replace(SPEC, compression=compression)), work_of(101, b"{1}")
    bench.begin(work)
    [request] = bench.channel.requests
    bench.channel.answer(answered(202))

    assert (gzip.decompress(request.body) if compression == "gzip" else request.body) == b"{1}\n"
    assert isinstance(bench.ended[0], Judged)


async def test_what_is_not_compressed_goes_out_at_once():
    """However large its body, a request without compression is sent where it is begun, and the next one has room."""
    bench = make()
    bench.begin(large(101), large(102), large(103))

    assert len(bench.channel.requests) == 3
    assert not bench.attempts.full


def large(first: int, size: int = INLINE_BYTES_MAX + 1) -> Work:
    """Build a request with a body of so many bytes."""
    return work_of(first, b"x" * (size - 1))


async def test_only_a_large_body_is_compressed_on_a_thread():
    """Up to INLINE_BYTES_MAX a body is compressed at once; beyond it a thread does so, and the request goes out afterwards."""
    bench, small, big = make(replace(SPEC, compression="gzip")), large(101, INLINE_BYTES_MAX), large(102)
    bench.begin(small, big)
    await turns()
    before = (len(bench.channel.requests), len(bench.threads.waiting), bench.attempts.full)
    bench.threads.release()
    await turns()

    assert before == (1, 1, False)
    assert gzip.decompress(bench.channel.requests[1].body) == big.bodies[0] + b"\n"
    assert bench.ended == [Unsent(())], "there is room for another one"
    bench.channel.answer(answered(202), at=1)
    assert cast(Judged, bench.ended[1]).work is big


async def test_few_bodies_are_compressed_at_once():
    """While BESIDE_MAX bodies are on threads nothing begins; when one is done there is room for one, before that is told."""
    bench, seen = make(replace(SPEC, compression="gzip")), []

    async def go_on(begun: int, done: int) -> None:
        bench.begin(*(large(101) for _ in range(begun)))
        await turns()
        bench.threads.release(done)
        await turns()
        seen.append(bench.attempts.full)

    await go_on(BESIDE_MAX, 0)
    await go_on(0, 1)
    await go_on(1, 0)
    await go_on(0, BESIDE_MAX)
    await go_on(BESIDE_MAX - 1, 0)
    await go_on(1, 0)

    assert seen == [True, False, True, False, False, True]
    assert bench.full == [False] * (1 + BESIDE_MAX)


async def test_a_bug_in_a_compression_is_told():
    """An error on the thread ends the attempt as a bug, and makes room for others."""
    bench = make(replace(SPEC, compression="gzip"))
    bench.begin(*(large(100 + number) for number in range(BESIDE_MAX)))
    await turns()
    error = ValueError("no")
    bench.threads.waiting[0][0].set_exception(error)
    await turns()

    assert bench.ended == [Bug(error)]
    assert len(bench.attempts.in_flight) == BESIDE_MAX - 1
    assert not bench.attempts.full
    assert bench.channel.requests == []


@pytest.mark.parametrize("change", ["stop", "reconfigure"])
async def test_what_is_compressed_when_the_destination_changes_is_not_sent(change):
    """Stopped or reconfigured meanwhile, the request is given back: nothing was sent, so nothing has failed."""
    bench, work = make(replace(SPEC, compression="gzip")), large(101)
    bench.begin(work)
    await turns()
    if change == "stop":
        bench.attempts.stopped = True
    else:
        bench.attempts.reconfigure(destination_of(SPEC))
    bench.threads.release()
    await turns()

    assert bench.ended == [Unsent([work])]
    assert bench.channel.requests == []
    assert bench.attempts.idle


# ── changes and the end ──


async def test_a_change_holds_from_the_next_attempt_on():
    """What is in flight ends as it began, on its channel and by its format; what begins later goes by the new ones."""
    bench, before, after = make(), work_of(101, b"{1}"), work_of(102, b"{2}")
    bench.begin(before)
    unknown = bench.attempts.reconfigure(
        destination_of(replace(SPEC, format="json", compression="gzip", name="changed"))
    )
    bench.begin(after)
    old, new = bench.sender.channels
    judged_by = [one.name for one in bench.attempts.in_flight.values()]
    old.answer(answered(202))

    assert (unknown, old.closed) == ([], False)
    assert judged_by == ["ndjson", "json"]
    assert (old.requests[0].body, gzip.decompress(new.requests[0].body)) == (b"{1}\n", b"{2}")
    assert cast(Judged, bench.ended[0]).work is before
    assert bench.attempts.destination.spec.name == "changed"


async def test_a_channel_that_nobody_uses_is_closed_by_a_change():
    """An old channel is closed at once when nothing is in flight, and stays while an attempt is overdue."""
    idle, overdue = make(), make()
    for bench in (idle, overdue):
        bench.begin(work_of(101), now_s=1.0)
    idle.channel.answer(answered(202))
    overdue.attempts.set_aside(2.0, 3.0)
    for bench in (idle, overdue):
        bench.attempts.reconfigure(destination_of(SPEC))

    assert (idle.channel.closed, overdue.channel.closed) == (True, False)
    overdue.channel.answer(answered(202))
    assert isinstance(overdue.ended[0], Judged), "its answer still counts"


async def test_a_change_ends_the_wait_for_a_token():
    """The new channel has its own token, so attempts may begin again."""
    bench = make()
    bench.begin(work_of(101))
    bench.channel.waits = True
    bench.begin(work_of(102))
    bench.attempts.reconfigure(destination_of(SPEC))

    assert not bench.attempts.full


async def test_what_ends_because_we_close_is_not_told():
    """After the connections are closed attempts without an answer just end; nothing has failed."""
    bench = make()
    bench.begin(work_of(101))
    bench.attempts.close()
    bench.attempts.close()

    assert bench.channel.closed
    assert bench.ended == []
    assert bench.attempts.idle


async def test_an_answer_that_comes_after_the_stop_counts():
    """Stopped, an attempt that is answered is still recorded; a destination that closes the connection is a failure only before."""
    bench, one, two = make(), work_of(101), work_of(102)
    bench.begin(one, two)
    bench.channel.answer(CLOSED)
    bench.attempts.stopped = True
    bench.channel.answer(answered(202))

    assert [cast(Judged, ended).work for ended in bench.ended] == [one, two]
    assert [isinstance(cast(Judged, ended).verdicts, Failure) for ended in bench.ended] == [True, False]


async def test_an_error_while_an_end_is_recorded_is_told():
    """A bug of whoever records an end is told as one; it does not reach the connection."""
    bench, error = make(), ValueError("no")
    bench.fails = error
    bench.begin(work_of(101))
    bench.channel.answer(answered(202))

    assert bench.ended[1:] == [Bug(error)]


# ── overdue ──


def begun(*times_s: float) -> tuple[Bench, list[Work]]:
    """Begin attempts at these times."""
    bench, works = make(), [work_of(100 + number) for number in range(len(times_s))]
    for work, at_s in zip(works, times_s, strict=True):
        bench.begin(work, now_s=at_s)
    return bench, works


async def test_what_began_long_ago_is_set_aside():
    """Attempts that began before a time, or at it, are overdue; they end as usual."""
    bench, works = begun(1.0, 2.0, 2.5)
    bench.attempts.set_aside(2.0, 9.0)
    bench.channel.answer(answered(202))

    assert (list(bench.attempts.in_flight), list(bench.attempts.overdue)) == (works[2:], works[1:2])
    assert cast(Judged, bench.ended[0]).work is works[0]


@pytest.mark.parametrize(("answered_at_s", "aside"), [(2.0, 30), (1.999, SPARE_MAX), (-1.0, SPARE_MAX)])
async def test_only_a_few_are_set_aside_when_nothing_is_answered(answered_at_s, aside):
    """Attempts that began after the last success may show that nothing is answered at all: few of them are set aside."""
    bench, _ = begun(*[2.0] * 30)
    bench.attempts.set_aside(5.0, answered_at_s)

    assert len(bench.attempts.overdue) == aside


# ── confirmations ──


def acknowledged(bench: Bench, stored: Callable[[], frozenset[int]]) -> None:
    """Have answers give out a number, their status, and ask later what is stored."""

    def interpret(answer: Answer, count: int) -> Accepted:
        return Accepted(200, ack_id=cast(Any, answer).status)

    acks = Acks("/ack", lambda ids: Request(repr(list(ids)).encode()), lambda answer, ids: stored())
    bench.attempts.format = replace(bench.attempts.format, interpret=interpret, acks=acks)


@in_virtual_time
async def test_what_was_accepted_waits_for_its_confirmation():
    """An answer with a number is no end: the destination is asked, and then the attempt ends with the latency of its answer."""
    bench, one = make(), work_of(101)
    acknowledged(bench, lambda: frozenset({205}))
    bench.begin(one)
    bench.channel.answer(answered(205))
    waits = (list(bench.ended), bench.attempts.idle, bench.attempts.longest_s())
    await asyncio.sleep(ASK_PAUSE_S + 0.1)
    questions = bench.channel
    questions.answer(answered(200, latency_us=7))

    assert waits == ([], False, {one: CONFIRM_S})
    assert (questions.route.endpoint.target, questions.route.headers) == (
        "/ack?channel=c",
        ROUTE.headers[1:],
    )
    assert [request.body for request in questions.requests] == [b"[205]"]
    assert bench.ended == [Judged(one, Accepted(200, ack_id=205), 1500)]
    assert bench.attempts.idle


async def test_an_answer_without_a_number_is_the_end():
    """A destination that confirms may also reject, or accept without a number: then there is nothing to wait for."""
    bench = make()
    acknowledged(bench, frozenset)
    accepts = replace(bench.attempts.format, interpret=lambda *_: Accepted(200))
    rejects = replace(bench.attempts.format, interpret=lambda *_: Failure(FailureScope.EVENT, "no"))
    for bench.attempts.format in (accepts, rejects):
        bench.begin(work_of(101))
        bench.channel.answer(answered(200))

    assert [cast(Judged, ended).verdicts for ended in bench.ended] == [
        Accepted(200),
        Failure(FailureScope.EVENT, "no"),
    ]
    assert bench.attempts.idle


@in_virtual_time
async def test_an_error_while_a_confirmation_is_recorded_is_told():
    """A bug of whoever records a confirmed end is told as one."""
    bench, error = make(), ValueError("no")
    acknowledged(bench, lambda: frozenset({205}))
    bench.begin(work_of(101))
    bench.channel.answer(answered(205))
    bench.fails = error
    await asyncio.sleep(ASK_PAUSE_S + 0.1)
    bench.channel.answer(answered(200))

    assert bench.ended[1:] == [Bug(error)]


@in_virtual_time
async def test_what_waits_for_confirmation_is_bounded():
    """At UNCONFIRMED_MAX nothing begins; a confirmation makes room before it is told."""
    bench = make()
    acknowledged(bench, lambda: frozenset({100}))
    full = []
    for number in range(UNCONFIRMED_MAX):
        bench.begin(work_of(101 + number))
        bench.channel.answer(answered(100 + number))
        full.append(bench.attempts.full)
    await asyncio.sleep(ASK_PAUSE_S + 0.1)
    bench.channel.answer(answered(200))

    assert full == [False] * (UNCONFIRMED_MAX - 1) + [True]
    assert bench.full == [False]


@in_virtual_time
async def test_a_change_gives_back_what_waits_for_confirmation():
    """Nobody knows what became of it, so it is handed out again; nobody is asked about it, and there is room again."""
    bench, one = make(), work_of(101)
    acknowledged(bench, frozenset)
    bench.begin(one)
    bench.channel.answer(answered(205))
    unknown = bench.attempts.reconfigure(destination_of(SPEC))
    idle = bench.attempts.idle
    again = bench.attempts.reconfigure(destination_of(SPEC))
    await asyncio.sleep(2 * ASK_PAUSE_S)

    assert (unknown, idle, again) == ([one], True, [])
    assert len(bench.sender.channels) == 1
    assert bench.ended == []


@in_virtual_time
async def test_after_the_end_nobody_is_asked():
    """Closed, what waits for its confirmation is given up, and no question goes out."""
    bench = make()
    acknowledged(bench, frozenset)
    bench.begin(work_of(101))
    bench.channel.answer(answered(205))
    bench.attempts.close()
    await asyncio.sleep(2 * ASK_PAUSE_S)

    assert len(bench.sender.channels) == 1
    assert bench.ended == []


async def test_how_long_attempts_may_last():
    """What is in flight or overdue ends within the longest time of any route that was used so far."""
    bench, works = begun(1.0, 2.0)
    bench.attempts.set_aside(1.5, 9.0)
    at_first = bench.attempts.longest_s()
    bench.sender.route = replace(ROUTE, timeout_s=3.0)
    bench.attempts.reconfigure(destination_of(SPEC))
    bench.begin(work_of(103))

    assert at_first == dict.fromkeys(works, 10.0)
    assert set(bench.attempts.longest_s().values()) == {10.0}
