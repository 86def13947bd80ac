"""Promises of `parse_event`: what is accepted, what is rejected and why, what is filled in."""

import importlib.util
import json
import random
import sys
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.compact import parse_compact
from aegis_stream.domain.event import (
    DATASET_CHARACTERS_MAX,
    DEFAULT_LIMITS,
    EVENT_ID_CHARACTERS_MAX,
    EventLimits,
    NewEvent,
    Rejection,
)
from aegis_stream.domain.parsing import is_same_submission, parse_event
from aegis_stream.domain.times import to_text
from support.api import ORG, SECOND, START, make_event, make_preflight, nested, to_json
from support.spelling import repeats_a_key

EVENT_BYTES_MAX, JSON_DEPTH_MAX = DEFAULT_LIMITS.bytes_max, DEFAULT_LIMITS.depth_max
MADE_ID = "pflt_made"
FINDING = "078-05-1120"


def parse(raw: bytes, now: int = START, **options) -> NewEvent | Rejection:
    """Parse one item for the organization of these tests."""
    return parse_event(raw, ORG, now, lambda: MADE_ID, **options)


def taken(raw: bytes, **options) -> NewEvent:
    """Return the event; fail if it is rejected."""
    event = parse(raw, **options)
    assert isinstance(event, NewEvent), event
    return event


def refused(raw: bytes) -> Rejection:
    """Return the rejection; fail if the event is accepted."""
    rejection = parse(raw)
    assert isinstance(rejection, Rejection), rejection
    assert rejection.message
    assert rejection.kind in ("malformed", "too-large", "invalid")
    return rejection


# ── taken as it is ──


@pytest.mark.parametrize(
    "raw",
    [
        make_event(),
        make_preflight(),
        b' { "organization" : {"id":"org_abc"}, "event":{"id":"a"},"@timestamp":"2026-05-15T10:33:21Z" } \n',
        rb'{"@timestamp":"2026-05-15T10:33:21Z","event":{"id":"a\/\u00e9"},"organization":{"id":"org_abc"},"n":1.50e+01}',
        make_event(x={"s": "é\u2028\U0001f600", "n": None, "b": [True, False], "big": 10**40}),
    ],
    ids=["plain", "preflight", "blanks", "spellings", "values"],
)
def test_a_complete_event_is_kept_to_the_byte(raw):
    """An event with @timestamp, event.id and organization.id is stored byte for byte."""
    event = taken(raw)

    assert event.body == raw.decode()
    assert event.raw is None


def test_tells_what_filters_look_at():
    """Id, dataset and decision are read from the event; decision only where the dataset is aegis.preflight."""
    plain = taken(make_event("a", dataset="app.login", aegis={"decision": "BLOCKED"}))
    bare = taken(make_event("b", dataset=None))
    preflight = taken(make_preflight("c", decision="ALLOWED"))

    assert (plain.event_id, plain.dataset, plain.decision) == ("a", "app.login", None)
    assert (bare.dataset, bare.decision) == ("", None)
    assert (preflight.dataset, preflight.decision) == ("aegis.preflight", "ALLOWED")


@pytest.mark.parametrize("lacking", [{"timestamp": None}, {"event_id": None}, {"org_id": None}])
def test_filters_look_at_events_that_were_filled_in_as_well(lacking):
    """An event that something was filled in to has the dataset and the decision that it was submitted with."""
    event = taken(make_event(**{"dataset": "aegis.preflight", "aegis": {"decision": "ALLOWED"}} | lacking))

    assert (event.dataset, event.decision) == ("aegis.preflight", "ALLOWED")


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-05-15T10:33:21Z",
        "2026-05-15T10:33:21.456789+00:00",
        "2026-05-15T10:33:21.123456789Z",
        "2026-05-15 10:33:21+05:30",
    ],
)
def test_takes_times_with_a_zone(timestamp):
    """Any RFC 3339 time is accepted and keeps its spelling."""
    assert timestamp in taken(make_event(timestamp=timestamp)).body


@pytest.mark.parametrize(
    "raw",
    [
        make_event("é", text="Ω"),
        make_preflight(),
        make_preflight().replace(b":", b" : ", 1),
        make_event(None, text="Ω"),
        make_event(org_id=None),
    ],
    ids=["plain", "preflight", "preflight with blanks", "without an id", "without an organization"],
)
def test_the_checksum_and_the_size_are_those_of_what_is_stored(raw):
    """They are of the bytes of the body, filled in or not: by them damage is found, and stored bytes are counted."""
    event = taken(raw)

    assert (event.checksum, event.size) == (zlib.crc32(event.body.encode()), len(event.body.encode()))


@pytest.mark.parametrize("missing", [False, True], ids=["with isal", "without isal"])
def test_checksums_do_not_depend_on_the_library(missing, monkeypatch):
    """A database moves between machines that have a build of isal and those that do not."""
    if missing:
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    spec = importlib.util.find_spec("aegis_stream.domain.event")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert (module.checksum is zlib.crc32) == missing
    assert module.checksum(b"123456789") == 0xCBF43926
    assert all(module.checksum(body) == zlib.crc32(body) for body in (b"", b"\0", bytes(range(256)) * 1000))


# ── filled in ──


def test_fills_in_all_that_is_missing():
    """An empty object becomes an event with time, id and organization."""
    event = taken(b"{}")

    assert json.loads(event.body) == {
        "@timestamp": to_text(START),
        "event": {"id": MADE_ID},
        "organization": {"id": ORG},
    }
    assert (event.event_id, event.raw) == (MADE_ID, b"{}")


@pytest.mark.parametrize(
    "changes, missing",
    [
        ({"timestamp": None}, "@timestamp"),
        ({"event_id": None}, "event.id"),
        ({"org_id": None}, "organization.id"),
    ],
)
def test_fills_in_only_what_is_missing(changes, missing):
    """Only missing fields are filled in."""
    complete = json.loads(make_event())

    filled = json.loads(taken(make_event(**changes, x=1)).body)

    expected = {
        "@timestamp": to_text(START) if missing == "@timestamp" else complete["@timestamp"],
        "event": {"id": MADE_ID if missing == "event.id" else "evt_1", "dataset": "app.login"},
        "organization": {"id": ORG},
        "x": 1,
    }
    assert filled == expected


def test_filling_in_keeps_the_spelling_of_values():
    """If something is filled in, every submitted value keeps its bytes: numbers, escapes, inner blanks."""
    raw = rb'{"n":1.50e+01,"s":"\u00e9\/","big":123456789012345678901234567890,"o":{ "b" :1, "a":[ ] },"event":{"x":-0.0}}'

    body = taken(raw).body

    for value in (
        rb"1.50e+01",
        rb'"\u00e9\/"',
        b"123456789012345678901234567890",
        b'{ "b" :1, "a":[ ] }',
        b"-0.0",
    ):
        assert value.decode() in body


def test_filling_in_keeps_the_spelling_of_ids():
    """An id that was submitted keeps its escapes when something else is filled in."""
    raw = rb'{"event":{"id":"\u0061bc"},"organization":{"id":"org_\u0061bc"}}'

    event = taken(raw)

    assert (event.event_id, event.raw) == ("abc", raw)
    assert event.body.endswith(raw.decode()[1:])


def test_ids_are_made_only_when_needed():
    """No id is made for an event that has one."""

    def never():
        raise AssertionError("not needed")

    assert isinstance(parse_event(make_event(org_id=None), ORG, START, never), NewEvent)


def test_empty_parts_are_filled_in():
    """Empty `event` and `organization` objects count as missing ids."""
    event = json.loads(taken(b'{"event":{},"organization":{}}').body)

    assert event["event"] == {"id": MADE_ID}
    assert event["organization"] == {"id": ORG}


def test_filling_in_keeps_the_order_of_what_was_submitted():
    """What is missing is added; every submitted member stays where it is."""
    event = taken(b'{"a":1,"@timestamp":"2026-05-15T10:33:21Z","event":{"dataset":"x"},"b":2}')

    assert event.body == (
        '{"a":1,"@timestamp":"2026-05-15T10:33:21Z","event":{"dataset":"x","id":"pflt_made"},"b":2,'
        '"organization":{"id":"org_abc"}}'
    )


# ── an event from another stream ──


def test_an_event_that_must_have_an_id_is_rejected_without_one():
    """Where no id may be made, an event without one is rejected by that field, with what to do; one with an id is accepted."""
    rejection = parse_event(make_event(None), ORG, START, None)

    assert isinstance(rejection, Rejection)
    assert (rejection.event_id, rejection.field, rejection.kind) == (None, "event.id", "invalid")
    assert "must keep its id" in rejection.message
    assert isinstance(parse_event(make_event(), ORG, START, None), NewEvent)
    assert isinstance(parse_event(make_event(org_id=None), ORG, START, None), NewEvent)


# ── refused: shape ──


@pytest.mark.parametrize("over", [0, 1])
def test_limits_the_size(over):
    """An event of 256 KiB is accepted; one byte more is too large, and the message names the limit."""
    raw = make_event(size_bytes=EVENT_BYTES_MAX + over)

    if over:
        assert (refused(raw).kind, str(EVENT_BYTES_MAX) in refused(raw).message) == ("too-large", True)
    else:
        assert taken(raw)


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("complete", [True, False], ids=["complete", "filled in"])
@pytest.mark.parametrize("kind", ["arrays", "objects", "mixed"])
def test_limits_the_depth(over, complete, kind):
    """An event may have 32 levels of arrays or objects, itself the first."""
    value = nested(JSON_DEPTH_MAX - 1 + over)
    text = to_json(value)
    if kind == "objects":
        text = text.replace(b"[", b'{"k":').replace(b"]", b"}")
    if kind == "mixed":
        text = text.replace(b"[[", b'[{"k":').replace(b"]]", b"}]") if (JSON_DEPTH_MAX + over) % 2 else text
    raw = make_event(event_id="e" if complete else None)[:-1] + b',"x":' + text + b"}"

    if over:
        assert "nested" in refused(raw).message
    else:
        assert taken(raw)


def test_brackets_in_strings_are_no_depth():
    """Brackets in text do not count, whatever is escaped around them."""
    text = "[{" * 100 + '"' + "\\" * 3 + "[" * 100 + '\\"' + "{"

    assert taken(make_event(x=text, y={text: text}))


def test_a_backslash_at_the_end_of_a_string_does_not_hide_its_end():
    """Where an escaped backslash ends a string, what follows is outside of it, and its brackets count or not as they should."""
    assert taken(make_event(x="\\", y="[" * 100, z="\\\\"))
    assert "nested" in refused(make_event(x="\\", y=nested(JSON_DEPTH_MAX), z="\\")).message


def test_what_is_not_closed_is_malformed_and_not_deep():
    """An event that ends too early is told so, as long as it is no deeper than it may be."""
    for missing, kind in ((2, "malformed"), (1, "invalid")):
        raw = b'{"a":[' + b"[]," * 40 + b"[" * (JSON_DEPTH_MAX - missing)

        assert refused(raw).kind == kind


def test_wide_events_are_not_deep():
    """The number of objects in an array does not count as depth."""
    assert taken(make_event(x=[{"a": [number]} for number in range(1000)]))


@pytest.mark.parametrize("depth", [33, 1000, 100_000])
def test_absurd_depth_is_refused_without_recursion(depth):
    """Events of any depth, closed or not, are rejected without a crash."""
    for raw in (b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth):
        assert isinstance(parse(raw), Rejection)


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"",
            b" ",
            b"{",
            b"{]",
            b'{"a"}',
            b'{"a":}',
            b'{"a":1,}',
            b"{'a':1}",
            b"{}{}",
            b"{} x",
            b"nul",
            b"\x00{}",
        ),
        *(
            b'{"a":NaN}',
            b'{"a":Infinity}',
            b'{"a":-Infinity}',
            b'{"a":01}',
            b'{"a":1.}',
            b'{"a":.5}',
            b'{"a":+1}',
        ),
        *(
            b'{"a":"\n"}',
            b'{"a":"\x1e"}',
            b'{"a":"\x00"}',
            rb'{"a":"\q"}',
            rb'{"a":"\ud800"}',
            rb'{"a":"\u12"}',
        ),
        *(b"\xef\xbb\xbf{}", b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\xc0\xaf"}', b'{"\xff":1}'),
        b'{"a":1}/*comment*/',
    ],
    ids=ascii,
)
def test_refuses_what_is_not_json(raw):
    """An event that is not JSON in UTF-8 is malformed, wherever the error is."""
    assert refused(raw).kind == "malformed"


def test_what_is_not_utf_8_is_wrong_as_a_whole():
    """A byte that is no UTF-8 is the mistake of no field, and the message says where it is."""
    rejection = refused(b'{"a":"\xff"}')

    assert (rejection.field, rejection.kind) == ("", "malformed")
    assert "byte 6" in rejection.message


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"x"', b"null", b"true"])
def test_refuses_json_that_is_no_object(raw):
    """An event is an object."""
    assert (refused(raw).kind, refused(raw).field) == ("invalid", "")


# ── refused: fields ──


@pytest.mark.parametrize(
    "raw, field",
    [
        (b'{"event":null}', "event"),
        (b'{"event":[]}', "event"),
        (b'{"event":{"id":null}}', "event.id"),
        (b'{"event":{"id":1}}', "event.id"),
        (b'{"event":{"dataset":null}}', "event.dataset"),
        (b'{"event":{"dataset":7}}', "event.dataset"),
        (b'{"organization":"org_abc"}', "organization"),
        (b'{"organization":{"id":null}}', "organization.id"),
        (b'{"organization":{"id":"org_other"}}', "organization.id"),
        (b'{"organization":{"id":""}}', "organization.id"),
        (b'{"@timestamp":null}', "@timestamp"),
        (b'{"@timestamp":1780000000}', "@timestamp"),
        (b'{"@timestamp":"now"}', "@timestamp"),
        (b'{"@timestamp":"2026-05-15"}', "@timestamp"),
        (b'{"@timestamp":"2026-05-15T10:33:21"}', "@timestamp"),
        (b'{"@timestamp":"2026-02-30T10:33:21Z"}', "@timestamp"),
        (b'{"@timestamp":"2026-05-15T25:33:21Z"}', "@timestamp"),
    ],
    ids=ascii,
)
def test_refuses_wrong_types_by_field(raw, field):
    """A field of the envelope with a wrong type or value is rejected by its name."""
    assert (refused(raw).kind, refused(raw).field) == ("invalid", field)


@pytest.mark.parametrize(
    "text", ["x", "x" * EVENT_ID_CHARACTERS_MAX, "é" * 256, "a b", "../..", "'; --", "😀"], ids=ascii
)
def test_takes_any_printable_id(text):
    """An id is any 1 to 256 printable characters."""
    assert taken(make_event(text)).event_id == text


@pytest.mark.parametrize(
    "text", ["", "x" * 257, "a\nb", "a\x00b", "\x7f", "a\u200bb", "a\u202eb", "\ue000", "a\u00a0b"], ids=ascii
)
def test_refuses_unprintable_ids(text):
    """An id that is empty, too long, or has invisible characters is rejected."""
    assert refused(make_event(text)).field == "event.id"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * DATASET_CHARACTERS_MAX,
        "aegis.audit",
        "aegis.audit_streams",
        "my.aegis.audit_stream.x",
        "日本",
    ],
    ids=ascii,
)
def test_takes_any_dataset(text):
    """Any dataset of printable characters is accepted, with its own fields."""
    assert taken(make_event(dataset=text, aegis={"anything": FINDING})).dataset == text


@pytest.mark.parametrize(
    "text",
    [
        *("aegis.audit_stream.test", "aegis.audit_stream.", "aegis.audit_stream.x.y", "aegis.audit_stream"),
        *(
            "Aegis.Audit_Stream.Admin",
            "AEGIS.AUDIT_STREAM",
            " aegis.audit_stream.admin ",
            "aegis.audit_stream. ",
            ".aegis.audit_stream.admin",
            " ..aegis.audit_stream",
        ),
        *("\uff41egis.audit_stream.admin", "aegis\uff0eaudit\uff3fstream\uff0etest"),
        *("x" * 257, "a\nb"),
    ],
    ids=ascii,
)
def test_refuses_reserved_and_unprintable_datasets(text):
    """Datasets of the service itself are rejected in any spelling, and so are those that are too long or unprintable."""
    rejection = refused(make_event("evt_9", dataset=text))

    assert (rejection.field, rejection.event_id) == ("event.dataset", "evt_9")


def test_the_service_itself_may_use_reserved_datasets():
    """The service's own events may have a reserved dataset."""
    assert taken(make_event(dataset="aegis.audit_stream.test"), reserved=True)


@pytest.mark.parametrize(
    "raw",
    [
        make_event("evt_9", org_id="org_other"),
        make_event("evt_9", timestamp="now"),
        make_preflight("evt_9", decision="MAYBE"),
        make_preflight("evt_9", ssn=FINDING),
        make_event("evt_9", timestamp=7),
    ],
    ids=["organization", "timestamp", "decision", "unknown key", "wrong type"],
)
def test_a_rejection_names_the_event(raw):
    """A rejected event is named by its own id if that can be read."""
    assert refused(raw).event_id == "evt_9"


# ── preflight ──


def test_takes_a_full_preflight_event():
    """All documented fields of a preflight decision are accepted."""
    assert taken(
        make_preflight(
            decision="ALLOWED_WITH_MASKING",
            preflight_id="pflt_1",
            destination="AI_TOOL",
            summary="Detected SSN; masked.",
            policy_version="v1.0",
            policy_id=None,
            source_type="api",
            input_type="text",
            input_size_bytes=200,
            finding_counts_by_type={"SSN": 1, "EMAIL": 0},
            actor_id="alice@example.com",
        )
    )


@pytest.mark.parametrize(
    "aegis, field",
    [
        ({"decision": "blocked"}, "aegis.decision"),
        ({"decision": None}, "aegis.decision"),
        ({"destination": "ELSEWHERE"}, "aegis.destination"),
        ({"destination": None}, "aegis.destination"),
        ({"summary": 5}, "aegis.summary"),
        ({"input_size_bytes": -1}, "aegis.input_size_bytes"),
        ({"input_size_bytes": 1.5}, "aegis.input_size_bytes"),
        ({"input_size_bytes": "200"}, "aegis.input_size_bytes"),
        ({"finding_counts_by_type": {"SSN": FINDING}}, "aegis.finding_counts_by_type[...]"),
        ({"finding_counts_by_type": {"SSN": -1}}, "aegis.finding_counts_by_type[...]"),
        ({"finding_counts_by_type": {"SSN": True}}, "aegis.finding_counts_by_type[...]"),
        ({"finding_counts_by_type": {"SSN": {"values": [FINDING]}}}, "aegis.finding_counts_by_type[...]"),
        ({"finding_counts_by_type": [FINDING]}, "aegis.finding_counts_by_type"),
        ({"findings": [FINDING]}, "aegis"),
        ({"ssn": FINDING}, "aegis"),
    ],
    ids=json.dumps,
)
def test_a_preflight_event_is_checked_strictly(aegis, field):
    """Wrong types and unknown keys of `aegis` are rejected without repeating a finding."""
    rejection = refused(make_preflight(**aegis))

    assert rejection.field == field
    assert FINDING not in rejection.message


@pytest.mark.parametrize(
    "raw", [make_event(dataset="aegis.preflight"), make_event(dataset="aegis.preflight", aegis=[])]
)
def test_a_preflight_event_needs_its_aegis_object(raw):
    """An event of dataset aegis.preflight without an `aegis` object is rejected."""
    assert refused(raw).field == "aegis"


@pytest.mark.parametrize(
    "raw",
    [
        make_preflight()[:-1] + b',"aegis":{"decision":"BLOCKED"}}',
        make_preflight().replace(b'"aegis":', b'"aegis":{"decision":"BLOCKED","ssn":"078-05-1120"},"aegis":'),
        make_preflight().replace(b'"aegis":', b'"\\u0061egis":{"ssn":"078-05-1120"},"aegis":'),
        make_preflight().replace(b'"decision":', b'"decision":"078-05-1120","decision":'),
        make_event().replace(b'"organization":', b'"organization":{"id":"org_other"},"organization":'),
        make_event("b").replace(b'"event":', b'"event":{"id":"a","dataset":"aegis.preflight"},"event":'),
        make_event("b").replace(b'"id":"b"', b'"id":"a","id":"b"'),
        make_event().replace(b'"@timestamp":', b'"@timestamp":"never","@timestamp":'),
        b'{"event":{"id":"a"},"event":{"dataset":"x"}}',
        b'{"event":{"id":"a","id":"b"}}',
        b'{"event":{"dataset":"aegis.preflight","dataset" : "x"}}',
        b'{"user":{"roles":[{"name":"a","name":"admin"}]}}',
        b'{"user":{"a\\u0022":"\\u0022\\u0022","a\\"":0}}',
    ],
    ids=[
        "aegis twice",
        "finding first",
        "escaped key",
        "decision",
        "organization",
        "event",
        "event.id",
        "timestamp",
        "event with one id",
        "event.id alone",
        "dataset with space",
        "far below",
        "quotation marks made up for",
    ],
)
def test_refuses_repeated_keys(raw):
    """A key that appears twice is rejected: another parser would read the one that we did not check."""
    assert refused(raw).kind in ("malformed", "invalid")


def test_a_repeated_key_is_named():
    """The path of the repeated key is the field, and the event cannot be read."""
    rejection = refused(b'{"user":{"name":"a","name":"b"}}')

    assert (rejection.event_id, rejection.kind) == (None, "malformed")
    assert "name" in rejection.field
    assert "twice" in rejection.message
    key = "k" * 101
    assert refused(f'{{"{key}":1,"{key}":2}}'.encode()).field == "k" * 100


def test_a_repeated_key_is_found_in_linear_time():
    """A repeated key at the end of 25,000 others is named; a search for each key among all others would take seconds."""
    names = [f"{number:x}" for number in range(25_000)]
    raw = "{" + ",".join(f'"{name}":1' for name in [*names, names[-1]]) + "}"

    began_s = time.thread_time()
    rejection = refused(raw.encode())

    assert rejection.field == names[-1]
    assert time.thread_time() - began_s < 1.0


SPELLINGS = ["a", "b", "\\u0061", "\\u0022", '\\"', "\\\\", '\\" :', "é", "\\u00e9", "\\t", ":", ""]
TEXTS = st.lists(st.sampled_from(SPELLINGS), max_size=3).map(lambda parts: '"' + "".join(parts) + '"')
SPACES = st.sampled_from(["", "", " ", "\n\t"])
LEAVES = TEXTS | st.sampled_from(["0", "-1.50", "1E5", "123456789012345678901234567890", "null", "true"])
"""JSON as it may be spelled, not as a library would spell it."""
SPELLED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(TEXTS, SPACES, inner), max_size=3).map(
            lambda members: (
                "{" + ",".join(f"{key}{space}:{space}{value}" for key, space, value in members) + "}"
            )
        )
    ),
    max_leaves=12,
)


@settings(max_examples=1500)
@given(SPELLED, SPELLED)
def test_refuses_repeated_keys_wherever_and_however_they_are_spelled(first, second):
    """An event is rejected for a repeated key if and only if it has one, at any depth and in any spelling."""
    raw = f'{{"event":{{"id":"e1","x":{first}}},"y": {second}}}'.encode()

    result = parse(raw)

    assert isinstance(result, Rejection) == repeats_a_key(raw)


# ── the same again ──


def test_the_same_bytes_are_the_same_submission():
    """A repeated complete event is the same submission; one that differs by a byte is not."""
    event = taken(make_event(x=1))

    assert is_same_submission(event, event.body)
    assert not is_same_submission(taken(make_event(x=2)), event.body)
    assert not is_same_submission(taken(make_event(x=1).replace(b":1", b": 1")), event.body)


@pytest.mark.parametrize(
    "changes", [{}, {"timestamp": None}, {"org_id": None}, {"timestamp": None, "org_id": None}]
)
def test_a_filled_in_time_does_not_make_it_another_submission(changes):
    """If we filled in the time, the same request a minute later is the same submission, and a different one is not."""
    first = taken(make_event(**changes, x=1))

    again = taken(make_event(**changes, x=1), now=START + 60 * SECOND)
    other = taken(make_event(**changes, x=2), now=START + 60 * SECOND)

    assert is_same_submission(again, first.body)
    assert not is_same_submission(other, first.body)


def test_an_event_with_another_time_of_its_own_is_another_submission():
    """Two submitted times are compared."""
    first = taken(make_event(timestamp="2026-05-15T10:00:00Z", org_id=None))
    second = taken(make_event(timestamp="2026-05-15T11:00:00Z", org_id=None))

    assert not is_same_submission(second, first.body)


@pytest.mark.parametrize("lacking", ["@timestamp", "organization", "both"])
def test_any_stored_body_can_be_compared_with(lacking):
    """Comparing with a stored event that lacks a field which we fill in raises no error."""
    event = taken(make_event(timestamp=None))
    stored = json.loads(event.body)
    for name in ("@timestamp", "organization") if lacking == "both" else (lacking,):
        del stored[name]

    assert not is_same_submission(event, json.dumps(stored))


# ── any event at all ──

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
    lambda name: name not in ("event", "organization", "@timestamp", "aegis")
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)
SPELLINGS = st.fixed_dictionaries(
    {"ensure_ascii": st.booleans(), "indent": st.none() | st.integers(0, 2), "sort_keys": st.booleans()}
)


def strict_json(text: str | bytes):
    """Read JSON without Python's extensions."""

    def refuse(constant):
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


@settings(deadline=None)
@given(
    extra=OBJECTS,
    inner=OBJECTS,
    spelling=SPELLINGS,
    missing=st.sets(st.sampled_from(["time", "id", "organization"])),
)
def test_any_object_is_kept(extra, inner, spelling, missing):
    """Any JSON object is stored to the byte when complete, and with all its values preserved when not."""
    event = {**extra, "event": {**inner, "dataset": "x"}, "organization": dict(inner)}
    event["event"].pop("id", None)
    event["organization"].pop("id", None)
    if "time" not in missing:
        event["@timestamp"] = "2026-05-15T10:33:21Z"
    if "id" not in missing:
        event["event"]["id"] = "evt_1"
    if "organization" not in missing:
        event["organization"]["id"] = ORG
    raw = json.dumps(event, **spelling).encode()

    stored = taken(raw)

    if not missing:
        assert stored.body.encode() == raw
        return
    body = strict_json(stored.body)
    for name, value in event.items():
        if name in ("event", "organization"):
            assert {one: body[name][one] for one in value} == value
            assert set(body[name]) - set(value) <= {"id"}
        else:
            assert body[name] == value
    assert set(body) - set(event) <= {"@timestamp"}
    assert (body["event"]["id"], body["organization"]["id"]) == (stored.event_id, ORG)
    again = taken(stored.body.encode())
    assert (again.body, again.raw) == (stored.body, None)


def levels(value) -> int:
    """Return how deep a value is nested."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels, inner), default=0)


@settings(deadline=None)
@given(event=OBJECTS, spelling=SPELLINGS)
def test_the_depth_of_any_object_is_counted(event, spelling):
    """An event of any shape and spelling is accepted exactly if its depth is within the limit."""
    event["event"], event["pad"] = {"id": "a"}, [[]] * 40
    depth = max(4, levels(event))

    raw = json.dumps(event, **spelling).encode()

    assert "deeper" not in getattr(parse(raw, limits=EventLimits(depth_max=depth)), "message", "")
    if levels(event) > 4:
        assert "deeper" in getattr(parse(raw, limits=EventLimits(depth_max=depth - 1)), "message", "")


@settings(deadline=None, max_examples=300)
@given(
    raw=st.sampled_from(
        [make_event(x=[1.5, "é\n", None]), make_preflight(), b'{"a":{"b":[true,-0.0e1]}}', b"[{}]"]
    ),
    at=st.integers(0, 200),
    cut=st.integers(0, 3),
    put=st.binary(max_size=3)
    | st.sampled_from([b'"', b"\\", b"{", b"}", b",", b":", b"0", b"e", b"-", b"\\u", b"\x1e"]),
)
def test_whatever_is_taken_is_json(raw, at, cut, put):
    """A damaged event is rejected or still valid JSON without control characters; no exception escapes."""
    at %= len(raw)
    damaged = raw[:at] + put + raw[at + cut :]

    result = parse(damaged)

    if isinstance(result, NewEvent):
        assert isinstance(strict_json(result.body), dict)
        assert "\x1e" not in result.body


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_answered(raw):
    """parse_event raises nothing for any bytes."""
    assert isinstance(parse(raw), NewEvent | Rejection)


# ── limits that can be set ──


def with_number(text: str) -> bytes:
    """Write an event with a number in it, spelled like this."""
    return make_event(x=0).replace(b'"x":0', f'"x":{text}'.encode())


@pytest.mark.parametrize(("over", "wanted"), [(-1, NewEvent), (0, NewEvent), (1, Rejection)])
@pytest.mark.parametrize("shape", ["{0}", "-{0}", "{0}.5", "1.{0}", "{0}e5", "1e-{0}"])
def test_limits_the_length_of_numbers(over, wanted, shape):
    """The limit on the length of a number is exact, however the number is written."""
    most = DEFAULT_LIMITS.number_digits_max
    digits = "7" * (most + over - len(shape.format("")))
    parsed = parse(with_number(shape.format(digits)))

    assert isinstance(parsed, wanted), parsed
    if isinstance(parsed, Rejection):
        assert "a number" in parsed.message
        assert str(most) in parsed.message


@pytest.mark.parametrize(
    "number", ["9" * 4300, "-" + "9" * 4299, "9" * 4298 + ".5", "1e999", "-1e999", "1e-999"], ids=len
)
def test_the_longest_number_of_any_setting_is_read(number):
    """A number of as many characters as any setting allows, or beyond a double, is stored as it was sent; a key twice is found."""
    raw = with_number(number)

    event = taken(raw, limits=EventLimits(number_digits_max=4300))

    assert event.body.encode() == raw
    twice = parse(raw[:-1] + b',"y":1,"y":2}', limits=EventLimits(number_digits_max=4300))
    assert isinstance(twice, Rejection)
    assert twice.field == "y"


@pytest.mark.parametrize("before", [0, 1, 7, 99, 198, 199, 200, 201, 399, 400, 401, 1000])
def test_a_long_number_is_found_wherever_it_stands(before):
    """A number is too long by one character at any place of an event, its end included."""
    most = DEFAULT_LIMITS.number_digits_max

    for over in (0, 1):
        for behind in (b"", b',"y":"' + b"a" * before + b'"'):
            raw = b'{"p":"' + b"a" * before + b'","x":' + b"7" * (most + over) + behind + b"}"
            assert isinstance(parse(raw), Rejection) is bool(over)


def test_a_long_number_in_what_is_no_json_is_no_number():
    """Digits in a truncated event are not told as a number: it is malformed."""
    assert refused(b'{"a":' + b"7" * 1000).kind == "malformed"


def test_digits_in_strings_are_no_number():
    """The limit on numbers does not apply to a string of digits."""
    assert taken(make_event(x="7" * 1000)).event_id


@pytest.mark.parametrize(("depth", "wanted"), [(7, NewEvent), (8, NewEvent), (9, Rejection)])
def test_a_set_depth_is_kept(depth, wanted):
    """The configured depth is the limit."""
    raw = make_event(x=nested(depth - 1))

    assert isinstance(parse(raw, limits=EventLimits(depth_max=8)), wanted)


@pytest.mark.parametrize(("over", "wanted"), [(-1, NewEvent), (0, NewEvent), (1, Rejection)])
def test_a_set_size_is_kept(over, wanted):
    """The configured size is the limit, also on the fast path."""
    raw = make_preflight("pflt_1", decision="BLOCKED")
    limits = EventLimits(bytes_max=len(raw) - over)

    assert isinstance(parse(raw, limits=limits), wanted)


SUMMARIES = {
    "a card number": "charged to 4111 1111 1111 1111",
    "an IBAN": "from GB82 WEST 1234 5698 7654 32",
    "a social security number": "SSN 078-05-1120 masked",
}


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("kind", SUMMARIES)
def test_a_summary_with_a_value_is_refused(kind, spaced):
    """A summary with a finding is rejected with the kind of the finding and not its value, unless the check is off."""
    raw = make_preflight("pflt_9", summary=SUMMARIES[kind])
    if spaced:
        raw = raw.replace(b'{"', b'{ "', 1)
    rejection = refused(raw)

    assert (rejection.event_id, rejection.field) == ("pflt_9", "aegis.summary")
    assert kind in rejection.message
    assert SUMMARIES[kind][-4:] not in rejection.message
    assert isinstance(parse(raw, limits=EventLimits(privacy_check=False)), NewEvent)


SEARCHED = ["summary", "policy_id", "policy_version", "source_type", "input_type", "actor_id", "preflight_id"]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("spelling", ["compact", "spaced", "dotted"])
@pytest.mark.parametrize("key", [*SEARCHED, "finding_counts_by_type"])
@pytest.mark.parametrize("kind", SUMMARIES)
def test_no_text_may_hold_a_value(kind, key, spelling, times):
    """Every text of a preflight decision, and the name of every finding, is searched like the summary, each time anew."""
    value = SUMMARIES[kind]
    aegis = {key: {value: 1} if key == "finding_counts_by_type" else value}
    raw = make_preflight("pflt_9", **aegis)
    if spelling == "spaced":
        raw = raw.replace(b'{"', b'{ "', 1)
    elif spelling == "dotted":
        event = json.loads(raw)
        event |= {f"aegis.{name}": text for name, text in event.pop("aegis").items()}
        raw = to_json(event)

    for _ in range(times):
        rejection = refused(raw)

    assert (rejection.event_id, rejection.field) == ("pflt_9", f"aegis.{key}")
    assert kind in rejection.message
    assert value[-4:] not in rejection.message
    assert isinstance(parse(raw, limits=EventLimits(privacy_check=False)), NewEvent)


def test_a_text_is_searched_however_long_the_event_is():
    """A value is found in a decision that is too long to be remembered."""
    counts = {f"TYPE_{letter * 50}": 1 for letter in "abcdefghijklmnopqrstuvwxyz" * 4} | {
        "n" * 4000: 1,
        "m" * 4000: 2,
    }

    rejection = refused(
        make_preflight("pflt_9", policy_id=SUMMARIES["an IBAN"], finding_counts_by_type=counts)
    )

    assert rejection.field == "aegis.policy_id"


@pytest.mark.parametrize(
    "value",
    ["01jv2qk3mz4111111111111111", "pflt_41111111111111110000000000", "41111111-1111-1111-8111-111111111111"],
)
def test_identifiers_are_no_values(value):
    """A ULID or UUID, whose digits look like a card number by chance, is accepted in every text that may be an id."""
    for key in ("preflight_id", "policy_id", "actor_id"):
        assert taken(make_preflight(**{key: value}))


@pytest.mark.parametrize("key", ["preflight_id", "policy_id", "actor_id"])
@pytest.mark.parametrize("prefix", ["req_", "user-", "PFLT_", "decision_"])
def test_a_prefix_and_a_long_random_number_is_an_id(prefix, key):
    """No id of a prefix and 17 to 19 random digits is rejected, though one in twenty of these numbers looks like a card number."""
    chance = random.Random(prefix + key)
    for size in (17, 18, 19):
        for _ in range(200):
            value = f"{prefix}{chance.randrange(10 ** (size - 1), 10**size)}"
            raw = make_preflight(**{key: value, "summary": "ok"})
            assert taken(raw)
            assert parse_compact(raw, ORG) is not None


LONG_CARD = "6221260000000000001"
"""Nineteen digits of a network that has such cards, with the right check digit."""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preflight_id", LONG_CARD),
        ("actor_id", LONG_CARD),
        ("actor_id", f"card_{LONG_CARD}"),
        ("actor_id", f"PAN-{LONG_CARD}"),
        ("actor_id", f"x {LONG_CARD}"),
        ("actor_id", f"req_{LONG_CARD[:4]}_{LONG_CARD[4:]}"),
        ("actor_id", f"req_{LONG_CARD} "),
        ("actor_id", f"req_{LONG_CARD}\n"),
        ("actor_id", "req_4111111111111111"),
        ("preflight_id", "req_4111111111111111"),
        ("summary", f"req_{LONG_CARD}"),
        ("policy_version", f"req_{LONG_CARD}"),
        ("source_type", f"req_{LONG_CARD}"),
    ],
)
def test_a_card_number_is_found_beside_ids(key, value):
    """Only a key that holds an id, and only the whole text, may be a prefix and a long number; the error proposes a better id."""
    rejection = refused(make_preflight("pflt_9", **{key: value}))

    assert rejection.field == f"aegis.{key}"
    assert ("UUID or ULID" in rejection.message) is key.endswith("_id")


def test_what_looks_like_a_card_number_in_an_id_hides_nothing_else():
    """After an id that only looks like a card number, the other texts are searched as ever."""
    ids = dict.fromkeys(("preflight_id", "policy_id", "actor_id"), f"req_{LONG_CARD}")

    assert taken(make_preflight(**ids, summary="ok"))
    assert refused(make_preflight(**ids, summary=LONG_CARD)).field == "aegis.summary"
    assert refused(make_preflight(**ids, policy_version=LONG_CARD)).field == "aegis.policy_version"
    assert (
        refused(make_preflight(**ids, finding_counts_by_type={LONG_CARD: 1})).field
        == "aegis.finding_counts_by_type"
    )


@pytest.mark.parametrize(
    ("raw", "field", "advice"),
    [
        (b'{"a":1},', "", "one object per line"),
        (b'{"a":1}{"b":2}', "", "one object per line"),
        (b'{"a":1', "", "ends too early"),
        (b'{"a":"\\ud83d"}', "", "surrogate"),
        (b'{"a":"\\ud83d\\u0041"}', "", "surrogate"),
        (b'{"a":"\\udc00"}', "", "\\ufffd"),
        (b'{"event":"user.login","uid":"u1"}', "event", "a key of its own"),
        (b'{"organization":"acme"}', "organization", "a key of its own"),
        (make_event(org_id="org_other"), "organization.id", "the organization in the URL: omit it"),
    ],
)
def test_a_rejection_names_the_mistake_and_the_way_out(raw, field, advice):
    """What senders often get wrong is named in their words, with what to send instead."""
    rejection = refused(raw)

    assert rejection.field == field
    assert advice in rejection.message
