"""Promises of the parts of the demonstration that need no process."""

import io
import json

import pytest

from aegis_stream.cli.demo_copy import ReceivedCopy, alter_one
from aegis_stream.cli.demo_events import demo_events
from aegis_stream.cli.demo_receiver import PAUSE_S, SHOWN_AT_ONCE, Arrivals, fingerprint_of
from aegis_stream.cli.screen import Screen, shorten
from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import Micros, OrganizationId
from aegis_stream.domain.parsing import parse_event


def arrival(number):
    """Return a line of the receiver about one event."""
    event = {"event": {"id": f"e{number}"}, "organization": {"id": "org_a"}}
    return (
        json.dumps(
            {
                "at": "2026-01-01T00:00:00.000",
                "id": f"e{number}",
                "test": False,
                "duplicate": False,
                "event": event,
            }
        )
        + "\n"
    )


def make_arrivals(now):
    """Return arrivals at a clock that shows `now[0]`, and what they write."""
    stream = io.StringIO()
    return Arrivals(Screen(stream), "org_a", lambda: now[0]), stream


def test_all_built_in_events_are_events():
    """The service accepts each built-in event, and no two have the same id."""
    lines = demo_events(Micros(1_800_000_000_000_000)).splitlines()
    parsed = [parse_event(line, OrganizationId("org_a"), Micros(0), lambda: "unused") for line in lines]

    assert all(isinstance(one, NewEvent) for one in parsed)
    assert len({one.event_id for one in parsed}) == len(lines)
    assert sum(one.decision is not None for one in parsed) >= 10


def test_a_burst_is_counted():
    """The first events of a burst are shown one by one; at its end the others are one number."""
    now = [0.0]
    arrivals, stream = make_arrivals(now)

    arrivals.write("".join(arrival(number) for number in range(SHOWN_AT_ONCE + 100)))
    shown = stream.getvalue().splitlines()
    now[0] += PAUSE_S * 2
    arrivals.settle()
    arrivals.settle()

    assert len(shown) == SHOWN_AT_ONCE
    assert stream.getvalue().splitlines()[len(shown) :] == [
        f"   receiver  … {SHOWN_AT_ONCE + 100} events so far"
    ]


def test_after_a_pause_events_are_shown_again():
    """An event that a person records after a large burst is shown."""
    now = [0.0]
    arrivals, stream = make_arrivals(now)
    arrivals.write("".join(arrival(number) for number in range(SHOWN_AT_ONCE + 1)))

    now[0] += PAUSE_S * 2
    arrivals.write(arrival(999))

    assert "e999" in stream.getvalue()


def test_failures_are_shown():
    """A request that the receiver fails on purpose is shown."""
    arrivals, stream = make_arrivals([0.0])

    arrivals.write('{"at": "2026-01-01T00:00:00.000", "failed": "500 on purpose, 1 event(s)"}\n')

    assert "500 on purpose" in stream.getvalue()


def test_a_fingerprint_is_that_of_the_stored_event():
    """An event equals itself with its organization filled in and its members reordered, and no other event."""
    sent = {"event": {"id": "e"}, "n": 1}
    came = {"n": 1, "organization": {"id": "org_a"}, "event": {"id": "e"}}

    assert fingerprint_of(sent, "org_a") == fingerprint_of(came, "org_a")
    assert fingerprint_of(sent, "org_a") != fingerprint_of({**sent, "n": 2}, "org_a")
    assert fingerprint_of(sent, "org_a") != fingerprint_of(sent, "org_b")


def test_a_shortened_secret_cannot_be_used():
    """Only the kind and four characters of a secret are shown."""
    assert shorten("aegis_sk_abc_defghijklmn") == "aegis_sk_…klmn"
    assert shorten("0123456789abcdef") == "…cdef"


def record(body, status=202):
    """Return a line of the receiver's record."""
    return json.dumps({"at": "", "path": "/", "headers": {}, "status": status, "body": body}) + "\n"


def test_the_copy_has_what_was_accepted_byte_for_byte(tmp_path):
    """Accepted bodies stand in the copy as they came, refused and failed ones do not; nobody else may read it."""
    path = tmp_path / "copy"
    path.write_text("old")
    bodies = ['{"a": 1.50, "b":"\u00e4"}', '{"event":{"id":"e"}}']

    with ReceivedCopy(path) as copy:
        copy.write(record(bodies[0]) + record('{"no":1}', 500))
        copy.write(record('{"no":2}', 401) + record(bodies[1], 200))

    assert path.read_text().splitlines() == bodies
    assert path.stat().st_mode & 0o777 == 0o600
    assert copy.is_whole


def test_an_event_of_several_lines_is_one_line_of_the_copy(tmp_path):
    """Its text is in the envelope of Splunk, which the verifier opens again."""
    with ReceivedCopy(tmp_path / "copy") as copy:
        copy.write(record('{\n"a":1}'))

    assert json.loads((tmp_path / "copy").read_text()) == {"_raw": '{\n"a":1}'}


def test_the_copy_is_bounded(tmp_path):
    """The event that would exceed the limit and all after it are not kept, and the copy says that it is not whole."""
    with ReceivedCopy(tmp_path / "copy", bytes_max=20) as copy:
        copy.write(record('{"a":1}') + record('{"a":"12345678901"}') + record('{"a":2}'))

    assert (tmp_path / "copy").read_text() == '{"a":1}\n'
    assert not copy.is_whole


@pytest.mark.parametrize(
    "body",
    [
        '{"event":{"id":"e"},"message":"Ada","organization":{"id":"org_a"}}',
        '{"n":9,"organization.id":"org_a","event.id":"e"}',
        '{"n":1.5e3,"text":"\\u00e4","event":{"id":"e","dataset":"d"}}',
        '{"organization":{"id":"org_a"},"event":{"id":"e"},"text":"größer z"}',
    ],
)
def test_one_byte_is_changed_and_the_event_is_the_same_one(body):
    """A byte of a value is another one, so that the event says something else; id, dataset, organization and names stay."""
    altered = alter_one([body.encode(), b'{"event":{"id":"other"},"n":1}'], {"e"})

    before, after = json.loads(body), json.loads(altered.after)
    assert (altered.event_id, altered.before) == ("e", body.encode())
    assert [at for at in range(len(body.encode())) if altered.before[at] != altered.after[at]] == [altered.at]
    assert after != before
    assert after.keys() == before.keys()
    for name in ("event", "event.id", "organization", "organization.id"):
        assert after.get(name) == before.get(name)


def test_without_a_value_there_is_nothing_to_change():
    """An event that is only its id, or none that was sent, is not altered."""
    lines = [b'{"event":{"id":"e"}}', b'{"event":{"id":"other"},"n":1}', b'{"_raw":"{}"}']

    assert alter_one(lines, {"e"}) is None
