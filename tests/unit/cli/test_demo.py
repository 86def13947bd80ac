"""Promises of the parts of the demonstration that need no process."""

import io
import json

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
