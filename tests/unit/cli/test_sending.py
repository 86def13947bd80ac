"""Promises of sending: from a stream of lines to requests, with a function as the service."""

import io
import json

import httpx
import pytest

from aegis_stream.cli.client import Client, Refused, Unreachable
from aegis_stream.cli.sending import (
    BATCH_EVENTS_MAX,
    LINE_BYTES_MAX,
    REJECTIONS_KEPT_MAX,
    Dispatch,
    Line,
    read_batches,
    with_id,
)


class Clock:
    """A clock that advances when somebody sleeps."""

    def __init__(self):
        self.now_s = 100.0
        self.slept_s = []

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.slept_s.append(seconds)
        self.now_s += seconds


def make_dispatch(answer, *, retry_for_s=30.0, notes=None, on_stored=lambda lines: None):
    """Return a dispatch to a service that answers by calling `answer(request)`, and its clock."""
    clock = Clock()
    client = Client("http://service.test", "k", "org_a", transport=httpx.MockTransport(answer))
    ids = iter(range(10_000))
    dispatch = Dispatch(
        client=client,
        retry_for_s=retry_for_s,
        make_id=lambda: f"evt_{next(ids)}",
        now_s=clock,
        sleep=clock.sleep,
        note=(notes if notes is not None else []).append,
        on_stored=on_stored,
    )
    return dispatch, clock


def accept(request):
    """Answer like a service that accepts everything."""
    return httpx.Response(
        202, json={"accepted": len(request.content.splitlines()), "duplicates": 0, "rejected": []}
    )


def make_lines(count):
    """Return lines 1, 2, 3 … with ids."""
    return [Line(number, b'{"event":{"id":"e%d"}}' % number) for number in range(1, count + 1)]


def test_lines_keep_their_numbers():
    """Blank lines are not events, but count as lines."""
    batches = list(read_batches(io.BytesIO(b'{"a":1}\n\n \r\n{"b":2}\r\n{"c":3}')))

    assert batches == [[Line(1, b'{"a":1}'), Line(4, b'{"b":2}'), Line(5, b'{"c":3}')]]


def test_a_byte_order_mark_is_no_part_of_the_first_event():
    """A byte order mark at the beginning of a file is ignored."""
    assert list(read_batches(io.BytesIO(b"\xef\xbb\xbf{}\n"))) == [[Line(1, b"{}")]]


def test_batches_have_a_limit():
    """No batch has more events than BATCH_EVENTS_MAX, and no event is lost between two batches."""
    batches = list(read_batches(io.BytesIO(b"{}\n" * (2 * BATCH_EVENTS_MAX + 1))))

    assert [len(batch) for batch in batches] == [BATCH_EVENTS_MAX, BATCH_EVENTS_MAX, 1]


def test_an_endless_line_is_cut():
    """A line of any length needs bounded memory, and the next line keeps its number."""
    (first, second), *rest = read_batches(io.BytesIO(b"x" * (3 * LINE_BYTES_MAX) + b"\n{}\n"))

    assert len(first.body) == LINE_BYTES_MAX
    assert second == Line(2, b"{}")
    assert not rest


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", b'{"event":{"id":"new"}}'),
        (b'{"n":1.50,"event":{"kind":"event"}}', b'{"n":1.50,"event":{"kind":"event","id":"new"}}'),
        (b'{ "event": {"id": "own"} }', b'{ "event": {"id": "own"} }'),
        (b'{"event":{"id":null}}', b'{"event":{"id":null}}'),
        (b'{"x":{"event":{}}}', b'{"x":{"event":{}},"event":{"id":"new"}}'),
        (b'{ "event.id": "own"}', b'{ "event.id": "own"}'),
        (b'{"event.kind":"event"}', b'{"event.kind":"event","event.id":"new"}'),
        (b'{"event":7}', b'{"event":7}'),
        (b"[1]", b"[1]"),
        (b"no json", b"no json"),
        (b"\xff", b"\xff"),
    ],
)
def test_only_a_missing_id_is_filled_in(body, expected):
    """An event without an id gets one, and its values keep their spelling; other lines stay byte for byte."""
    assert with_id(body, lambda: "new") == expected


def test_a_repeated_request_repeats_the_ids():
    """A repeated request has the ids of the first one, so that nothing is stored twice."""
    bodies = []

    def fail_once(request):
        bodies.append(request.content)
        return httpx.Response(503) if len(bodies) == 1 else accept(request)

    dispatch, _ = make_dispatch(fail_once)
    dispatch.send([Line(1, b"{}")])

    assert bodies == [b'{"event":{"id":"evt_0"}}'] * 2
    assert dispatch.summary.accepted == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_it_waits_as_long_as_it_is_asked_to(status):
    """Retry-After sets the pause if it is longer than the default; each retry is reported in one line."""
    answers = iter([httpx.Response(status, headers={"Retry-After": "7"}), httpx.Response(status)])
    notes = []
    dispatch, clock = make_dispatch(lambda request: next(answers, None) or accept(request), notes=notes)

    dispatch.send(make_lines(1))

    assert clock.slept_s == [7.0, 1.0]
    assert len(notes) == 2


def test_a_lost_connection_is_tried_again():
    """A failed connection is retried like a temporary error."""
    answers = iter([True])

    def refuse_once(request):
        if next(answers, False):
            raise httpx.ConnectError("[Errno 111] Connection refused")
        return accept(request)

    dispatch, clock = make_dispatch(refuse_once)
    dispatch.send(make_lines(3))

    assert dispatch.summary.accepted == 3
    assert clock.slept_s == [0.5]


def test_it_gives_up():
    """After retry_for_s the last error is raised, and no pause exceeds the limit."""
    dispatch, clock = make_dispatch(lambda _: httpx.Response(503))

    with pytest.raises(Refused):
        dispatch.send(make_lines(1))

    assert sum(clock.slept_s) <= 30
    assert clock.slept_s == [0.5, 1, 2, 4, 8, 10]


def test_without_time_there_is_one_try():
    """With --retry-for 0 there is one attempt."""
    calls = []

    def lose(request):
        calls.append(request)
        raise httpx.ReadError("gone")

    dispatch, _ = make_dispatch(lose, retry_for_s=0)

    with pytest.raises(Unreachable):
        dispatch.send(make_lines(1))
    assert len(calls) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_ends_it_at_once(status):
    """An error that a retry cannot fix is not retried."""
    dispatch, clock = make_dispatch(lambda _: httpx.Response(status))

    with pytest.raises(Refused):
        dispatch.send(make_lines(2))
    assert clock.slept_s == []


def test_rejected_lines_have_their_numbers():
    """A rejected event is reported with its line number, and only the others count as stored."""
    taken = []
    answer = {"accepted": 1, "duplicates": 0, "rejected": [{"index": 1, "event_id": "e", "error": "bad\x1b"}]}
    dispatch, _ = make_dispatch(lambda _: httpx.Response(202, json=answer), on_stored=taken.extend)

    dispatch.send([Line(5, b'{"event":{"id":"d"}}'), Line(9, b'{"event":{"id":"e"}}')])

    (rejection,) = dispatch.summary.rejected
    assert (rejection.line, rejection.event_id, rejection.error) == (9, "e", "bad ")
    assert [line.number for line in taken] == [5]


def test_every_line_of_a_refused_batch_is_explained():
    """If the answer lists only some problems, smaller batches get all of them listed."""

    def refuse(request):
        count = len(request.content.splitlines())
        errors = [
            {"field": f"[{index}].event.id", "message": f"is bad {index}"} for index in range(min(count, 100))
        ]
        return httpx.Response(422, json={"title": "no", "detail": "none", "errors": errors})

    dispatch, _ = make_dispatch(refuse)
    dispatch.send(make_lines(250))

    assert dispatch.summary.rejected_total == 250
    assert {one.line for one in dispatch.summary.rejected} == set(range(1, 251))
    assert all(one.error.startswith("event.id is bad") for one in dispatch.summary.rejected)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_single_line_may_be_refused_as_a_request(status):
    """A line that is alone in its request is rejected like any other, whatever the status."""
    problem = {"title": "no", "detail": "is not JSON", "errors": [{"field": "", "message": "x"}]}
    dispatch, _ = make_dispatch(lambda _: httpx.Response(status, content=json.dumps(problem)))

    dispatch.send([Line(3, b"nonsense")])

    assert [(one.line, one.error) for one in dispatch.summary.rejected] == [(3, "is not JSON")]


def test_rejections_do_not_pile_up():
    """All rejected lines are counted, and a bounded number of them is kept."""

    def refuse(request):
        items = range(len(request.content.splitlines()))
        rejected = [{"index": index, "event_id": None, "error": "no"} for index in items]
        return httpx.Response(202, json={"accepted": 0, "duplicates": 0, "rejected": rejected})

    dispatch, _ = make_dispatch(refuse)
    for _ in range(3):
        dispatch.send(make_lines(500))

    assert dispatch.summary.rejected_total == dispatch.summary.sent == 1500
    assert len(dispatch.summary.rejected) == REJECTIONS_KEPT_MAX
