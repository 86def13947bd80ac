"""Promises of every format about requests: no event is lost, doubled or moved, and limits are kept."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.destination import BatchPolicy
from aegis_stream.domain.event import DEFAULT_LIMITS, NewEvent
from aegis_stream.domain.ids import Micros, OrganizationId
from aegis_stream.domain.parsing import parse_event
from aegis_stream.formats import REGISTRY, narrowed, overdue, oversize, with_query
from support.formats import EVENTS, UNHURRIED, WHOLE, events, make_event, read_events, read_ids, stored

BATCHING = sorted(name for name, one in REGISTRY.items() if one.batches)
SINGLE = sorted(name for name, one in REGISTRY.items() if not one.batches)
RENAMING = {"datadog"}
"""Formats that rename members which would collide; tests/unit/formats/test_datadog.py says how."""


@settings(UNHURRIED, max_examples=25)
@given(event=events())
def test_the_drawn_events_are_fit_for_the_log(event):
    """The events drawn for these tests are accepted by ingest byte for byte."""
    taken = parse_event(stored(event), OrganizationId("org_abc"), Micros(0), lambda: "none")

    assert isinstance(taken, NewEvent), taken
    assert taken.body.encode() == stored(event)


@pytest.mark.parametrize("name", sorted(REGISTRY))
@settings(UNHURRIED, max_examples=25)
@given(batch=EVENTS, indent=st.none() | st.integers(0, 2))
def test_every_event_travels_once_and_in_order(name, batch, indent):
    """The receiver of a request reads exactly the events that were encoded, each once, in their order."""
    batch = batch if REGISTRY[name].batches else batch[:1]

    request = REGISTRY[name].encode([stored(one, indent) for one in batch])

    assert sorted_by_stream(name, read_ids(name, request)) == sorted_by_stream(
        name, [one["event"]["id"] for one in batch]
    )


@pytest.mark.parametrize("name", sorted(set(WHOLE) - RENAMING))
@settings(UNHURRIED, max_examples=25)
@given(batch=EVENTS, indent=st.none() | st.integers(0, 2))
def test_a_whole_event_arrives_as_it_was(name, batch, indent):
    """A format that sends events whole changes no value of them and adds nothing to them but its own members."""
    batch = batch if REGISTRY[name].batches else batch[:1]
    for one in batch:
        one.pop("_time", None)
        one.pop("dt", None)

    found = read_events(name, REGISTRY[name].encode([stored(one, indent) for one in batch]))

    assert sorted_by_stream(name, map(as_text, found)) == sorted_by_stream(name, map(as_text, batch))


@pytest.mark.parametrize(
    "name", ["elastic_bulk", "splunk_hec", "datadog", "cribl", "better_stack", "axiom", "ndjson"]
)
def test_the_bytes_of_an_event_are_embedded(name):
    """Spellings that a JSON library would change arrive as they were stored."""
    spelled = b'"number":1.50e+01,"text":"\\u00e9\\/","big":123456789012345678901234567890,"gap" :  1e999}'
    body = stored(make_event())[:-1] + b"," + spelled

    assert spelled in REGISTRY[name].encode([body]).body


@pytest.mark.parametrize("name", SINGLE)
def test_a_format_that_does_not_batch_takes_one_event(name):
    """A format for single events raises an error for two, instead of losing one."""
    with pytest.raises(ValueError):
        REGISTRY[name].encode([stored(make_event("a")), stored(make_event("b"))])


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_the_largest_event_fits(name):
    """The largest event that ingest accepts is below the format's limits after encoding."""
    body = stored(make_event(message=""))
    body = body.replace(
        b'"message": ""', b'"message": "' + b'\\"' * ((DEFAULT_LIMITS.bytes_max - len(body)) // 2) + b'"'
    )
    assert DEFAULT_LIMITS.bytes_max - 2 <= len(body) <= DEFAULT_LIMITS.bytes_max

    assert oversize(REGISTRY[name], REGISTRY[name].encode([body]), 1) is None


@pytest.mark.parametrize("name", BATCHING)
def test_usual_events_keep_the_limits(name):
    """A batch as large as the narrowed policy allows stays within the format's body limit."""
    format_ = REGISTRY[name]
    policy = narrowed(BatchPolicy(10_000, 10_000_000, 0), format_)
    body = stored(usual_event())
    count = min(policy.max_events, policy.max_bytes // (len(body) + format_.frame_bytes))

    assert oversize(format_, format_.encode([body] * count), count) is None


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_policy_is_only_narrowed(name):
    """A user's batch policy is kept where it is within the format's limits, and never widened."""
    format_ = REGISTRY[name]
    small = BatchPolicy(7, 5_000, 33)

    assert narrowed(small, format_) == BatchPolicy(7 if format_.batches else 1, 5_000, 33)
    wide = narrowed(BatchPolicy(10_000, 10_000_000, 0), format_)
    assert wide.max_events <= (format_.events_max if format_.batches else 1)
    assert wide.max_bytes * format_.growth <= format_.body_bytes_max


def test_an_oversize_request_says_what_to_do_with_it():
    """A batch that is too large is halved; an event that is too large is dead-lettered at once."""
    format_ = REGISTRY["new_relic"]
    request = format_.encode([stored(make_event(message="x" * 200_000))] * 6)

    batch, alone = oversize(format_, request, 6), oversize(format_, request, 1)

    assert batch is not None
    assert alone is not None
    assert (batch.scope, batch.permanent, alone.permanent) == ("event", True, True)
    assert "6 events" in batch.message
    assert str(len(request.body)) in alone.message


@pytest.mark.parametrize(
    "target, expected",
    [
        ("/in", "/in?timestamp-field=@timestamp"),
        ("/in?a=b", "/in?a=b&timestamp-field=@timestamp"),
        ("/in?timestamp-field=other", "/in?timestamp-field=other"),
        ("/in?timestamp-field", "/in?timestamp-field"),
        ("/in?x=timestamp-field=1", "/in?x=timestamp-field=1&timestamp-field=@timestamp"),
        ("/in?", "/in?timestamp-field=@timestamp"),
    ],
)
def test_parameters_are_added_to_the_url(target, expected):
    """A format's parameters are added to the URL unless the user has set them."""
    assert with_query(REGISTRY["axiom"], target) == expected


def test_a_format_without_parameters_leaves_the_url_alone():
    """With format json the request target is the user's."""
    assert with_query(REGISTRY["json"], "/in?a=b") == "/in?a=b"


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_backlog_that_is_too_old_is_remarked_upon(name):
    """If a destination drops old events behind a 2xx or changes their time, there is a warning about an event one microsecond too old, and about no other."""
    format_, event = REGISTRY[name], stored(make_event())
    at = 1_778_841_201_456_789
    last = at + (format_.age_max_s or 10**9) * 1_000_000

    assert overdue(format_, event, Micros(last)) is None
    assert (overdue(format_, event, Micros(last + 1)) is None) == (
        name not in {"datadog", "new_relic", "sentinel"}
    )


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_the_limits_of_a_format_make_sense(name):
    """Limits are positive, an event's is at most the body's, and only formats that were tested with zstd have it."""
    format_ = REGISTRY[name]

    assert format_.name == name
    assert 1 <= format_.events_max <= 10_000
    assert 1_000 <= (format_.event_bytes_max or format_.body_bytes_max) <= format_.body_bytes_max
    assert format_.growth >= 1
    assert format_.answer_bytes_max >= 16 * 1024
    assert ("zstd" in format_.compressions) == (name in {"axiom", "honeycomb"})


def sorted_by_stream(name, values):
    """Return the values; for Loki, whose order is by time, sorted."""
    return sorted(values) if name == "loki" else list(values)


def as_text(event):
    """Return an event as a text that is the same for equal events."""
    return json.dumps(event, sort_keys=True)


def usual_event():
    """Return an event of common size and nesting."""
    return make_event(
        message="A card number was masked.",
        aegis={"decision": "BLOCKED", "finding_counts_by_type": {"CARD": 2, "SSN": 1}, "actor_id": "alice"},
        user={"id": "alice@example.com", "roles": ["admin", "auditor"]},
        source={"ip": "192.0.2.7", "port": 51234},
    )
