"""Promises about which answers to failed attempts are kept: few, without secrets, and never at the cost of a delivery."""

import asyncio
import threading

import pytest

from aegis_stream.delivery.answers import RANGES_CHARACTERS_MAX, AnswerKeeper, ranges_of
from aegis_stream.domain.attempt import Failure, FailureScope, Fault, FaultKind, Response
from aegis_stream.domain.delivery import ShownAnswer
from aegis_stream.domain.destination import Destination, DestinationSpec
from aegis_stream.domain.ids import (
    SECOND,
    DestinationId,
    DestinationNo,
    Micros,
    OrganizationId,
    OrganizationNo,
)

T0 = Micros(1_780_000_000_000_000)
BUSY = Failure(FailureScope.DESTINATION, "answered 503", 503)


def destination(number: int = 1, organization: int = 1) -> Destination:
    """Build a destination of an organization."""
    spec = DestinationSpec(url="https://sink.example.com/in")
    return Destination(
        DestinationNo(number),
        DestinationId(f"dst_{number}"),
        OrganizationNo(organization),
        OrganizationId(f"org_{organization}"),
        spec,
        1,
        T0,
        T0,
    )


class Kept(list):
    """Remembers what is kept."""

    def keep(self, answer):
        """Remember an answer."""
        self.append(answer)


def shown(answer: Response, _spec: DestinationSpec, bearers: list[str]) -> ShownAnswer:
    """Cut nothing out."""
    return ShownAnswer(",".join(bearers), answer.body.decode())


async def attempt(keeper, kept, failure=BUSY, *, number=1, organization=1, seconds=0.0, answer=None) -> None:
    """Let an attempt fail, and wait until its answer was handed on."""
    answer = answer or Response(failure.status_code or 500, b"busy", 9)
    where, now = destination(number, organization), Micros(T0 + int(seconds * SECOND))
    keeper.failed(where, [1, 2, 5], failure, answer, now, kept)
    for task in list(asyncio.all_tasks() - {asyncio.current_task()}):
        await task


def make(redact=shown) -> tuple[AnswerKeeper, Kept]:
    """Make a keeper, and what it hands on to."""
    return AnswerKeeper(redact, lambda _: ["token"], asyncio.create_task), Kept()


async def test_the_first_of_many_alike_is_kept():
    """An outage with a hundred thousand failures keeps one answer an hour."""
    keeper, kept = make()
    for number in range(1000):
        await attempt(keeper, kept, seconds=number * 7.1)

    assert [(one.at - T0) // SECOND for one in kept] == [0, 3606]
    assert kept[0][1:] == (1, 5, "1-2,5", 503, "answered 503", "token", "busy")


async def test_a_receiver_that_always_says_something_else_is_kept_now_and_then():
    """Of one destination at most four answers are kept at once and one in half a minute, whatever its failures say."""
    keeper, kept = make()
    for number in range(600):
        failure = Failure(FailureScope.EVENT, f"answered 400: event {number}", 400)
        await attempt(keeper, kept, failure, seconds=number / 10)

    assert len(kept) == 4 + 1


@pytest.mark.parametrize(("seconds", "more"), [(0, 0), (9.9, 0), (10.1, 1), (79.9, 7), (10_000, 8)])
async def test_many_destinations_of_an_organization_that_fail_at_once_cost_little(seconds, more):
    """A worker keeps eight answers of an organization at once and one in ten seconds, however many destinations fail."""
    keeper, kept = make()
    for number in range(100):
        await attempt(keeper, kept, number=number)
    at_once = len(kept)
    for number in range(100, 200):
        await attempt(keeper, kept, number=number, seconds=seconds)

    assert (at_once, len(kept)) == (8, 8 + more)


async def test_an_organization_whose_receivers_all_fail_leaves_the_answers_of_others_alone():
    """After a thousand failures of one organization, what the receivers of three others answered is kept at once, in full number."""
    keeper, kept = make()
    for number in range(1000):
        await attempt(keeper, kept, number=number, organization=1)
    for organization in (2, 3, 4):
        for number in range(9):
            await attempt(keeper, kept, number=1000 * organization + number, organization=organization)

    assert len(kept) == 4 * 8


async def test_many_organizations_that_fail_at_once_cost_little():
    """A worker keeps 32 answers at once, one in 2.5 seconds after that, however many organizations fail."""
    keeper, kept = make()
    for number in range(1000):
        await attempt(keeper, kept, number=number, organization=number)
    at_once = len(kept)
    for number in range(1000, 2000):
        await attempt(keeper, kept, number=number, organization=number, seconds=(number - 999) / 100)

    assert (at_once, len(kept)) == (32, 32 + 4)


async def test_an_organization_that_is_over_its_bound_takes_no_place_of_all():
    """Failures whose answers are not kept are not counted: the places of all are for answers that are kept."""
    keeper, kept = make()
    for number in range(100):
        await attempt(keeper, kept, number=number, organization=1)
    for number in range(100, 200):
        await attempt(keeper, kept, number=number, organization=number)

    assert len(kept) == 32


@pytest.mark.parametrize("organization", [1, 2])
async def test_failures_without_an_answer_take_no_place_of_an_answer(organization):
    """A hundred receivers that cannot be reached keep nobody from seeing what others answer, in no organization."""
    keeper, kept = make()
    failure = Failure(FailureScope.DESTINATION, "no answer within 10 s")
    for number in range(100):
        await attempt(keeper, kept, failure, number=number, answer=Fault(FaultKind.TIMEOUT, "x", 9))
    for number in range(100, 120):
        await attempt(keeper, kept, number=number, organization=organization)

    assert [one.status_code for one in kept] == [None] * 100 + [503] * 8


async def test_failures_without_an_answer_are_kept_when_no_place_of_an_answer_is_left():
    """They cost nothing to keep, so an organization over its bound sees them still."""
    keeper, kept = make()
    for number in range(100):
        await attempt(keeper, kept, number=number)
    failure = Failure(FailureScope.DESTINATION, "no answer within 10 s")
    await attempt(keeper, kept, failure, number=100, answer=Fault(FaultKind.TIMEOUT, "x", 9))

    assert [one.status_code for one in kept] == [503] * 8 + [None]


async def test_without_an_answer_the_events_of_the_request_are_kept():
    """Where nothing was answered there is nothing to cut out, and the events of the request are kept at once."""
    keeper, kept = make()
    failure = Failure(FailureScope.DESTINATION, "no answer within 10 s")

    keeper.failed(destination(), [7], failure, Fault(FaultKind.TIMEOUT, "x", 9), T0, kept)

    assert [(one.sequences, one.headers, one.excerpt, one.status_code) for one in kept] == [
        ("7", "", "", None)
    ]


async def test_the_tokens_that_are_cut_out_are_those_of_the_destination():
    """An answer may repeat the token of its request, which each destination has of its own."""
    kept = Kept()
    keeper = AnswerKeeper(shown, lambda one: [f"token of {one.dst_id}"], asyncio.create_task)
    for number in (1, 2):
        await attempt(keeper, kept, number=number)

    assert [one.headers for one in kept] == ["token of dst_1", "token of dst_2"]


async def test_answers_are_read_one_after_the_other_on_a_thread_of_their_own():
    """However many come at once, they take no thread from anything else, and no more than one of the processor."""
    names, goes_on = [], threading.Event()

    def held(answer, *rest):
        names.append(threading.current_thread().name)
        assert goes_on.wait(10)
        return shown(answer, *rest)

    keeper, kept = make(held)
    for number in (1, 2):
        keeper.failed(destination(number), [1], BUSY, Response(503, b"busy", 9), T0, kept)
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    assert len(kept) == 2
    assert names == ["aegis-answers_0"] * 2


async def test_an_answer_that_cannot_be_shown_is_not_kept():
    """When cutting out secrets fails, nothing of the answer is kept, and nobody else notices."""

    def broken(*_):
        raise ValueError("a bug")

    keeper, kept = make(broken)
    await attempt(keeper, kept)

    assert kept == []


async def test_whoever_stops_waits_for_no_answer():
    """When a worker ends or loses its leases, answers that wait for the thread are dropped at once, and later ones as well."""
    begun, go, tasks = threading.Event(), threading.Event(), []

    def slow(*_) -> ShownAnswer:
        begun.set()
        go.wait(10)
        return ShownAnswer("", "busy")

    keeper = AnswerKeeper(slow, lambda _: [], lambda work: tasks.append(asyncio.create_task(work)))
    kept = Kept()
    for number in range(3):
        keeper.failed(destination(number), [1], BUSY, Response(503, b"busy", 9), T0, kept)
    await asyncio.to_thread(begun.wait, 10)
    keeper.close()
    keeper.failed(destination(3), [1], BUSY, Response(503, b"busy", 9), T0, kept)
    await asyncio.wait(tasks[1:], timeout=10)
    early = [task.done() for task in tasks]
    go.set()
    await asyncio.wait(tasks)

    assert early == [False, True, True, True]
    assert len(kept) == 1


@pytest.mark.parametrize(
    ("sequences", "text"),
    [([7], "7"), ([1, 2, 3], "1-3"), ([1, 3, 4, 9], "1,3-4,9"), (list(range(1, 2000, 2)), "")],
    ids=["one", "a range", "several", "too many"],
)
def test_the_events_of_a_request_are_ranges(sequences, text):
    """The events of a request are written as ranges, unless that is too long."""
    assert ranges_of(sequences) == text
    assert len(text) <= RANGES_CHARACTERS_MAX


def test_the_longest_list_of_events_is_kept_whole():
    """A list of RANGES_CHARACTERS_MAX characters is kept, and one of a character more is not."""
    apart = range(1000, 1798, 2)

    assert len(ranges_of([*apart, 10_000])) == RANGES_CHARACTERS_MAX
    assert ranges_of([*apart, 100_000]) == ""
