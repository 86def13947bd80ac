"""Promises about names with dots: what is checked is what a receiver reads, however a field is spelled."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from aegis_stream.domain.envelope import (
    LEVELS_MAX,
    Ambiguity,
    has_dotted_names,
    has_only_dotted,
    id_of,
    is_dotted,
    nest,
)
from aegis_stream.domain.event import EventLimits, NewEvent, Rejection
from aegis_stream.domain.parsing import is_same_submission, parse_event
from aegis_stream.domain.times import to_text
from support.api import ORG, SECOND, START
from support.api import nested as deep
from support.spelling import dotted, dump, fields, nested, spell, write

MADE_ID = "pflt_made"
PREFLIGHT = {
    "@timestamp": "2026-05-15T10:33:21Z",
    "event": {"id": "evt_1", "dataset": "aegis.preflight", "action": "preflight_check", "kind": "event"},
    "organization": {"id": ORG, "name": "Example"},
    "aegis": {
        "decision": "BLOCKED",
        "summary": "Two card numbers.",
        "finding_counts_by_type": {"CARD": 2, "SSN": 0},
    },
    "log.level": "info",
    "user": {"name": "ada"},
}
LOGIN = {
    "@timestamp": "2026-05-15T10:33:21Z",
    "event": {"id": "evt_2", "dataset": "app.login", "agent": {"name": "x", "build": {"id": "b1"}}},
    "organization": {"id": ORG},
    "aegis": {"anything": {"at": {"all": 1}}, "list": [{"a.b": 1, "a": {"b": 2}}]},
    "event_id": "another",
}
EVENTS = st.sampled_from([PREFLIGHT, LOGIN])


@st.composite
def spellings(draw, event):
    """Draw a spelling of an event, as JSON."""
    cuts = {path: draw(st.integers(0, dotted(path))) for path in fields(event)}
    escaped = draw(st.sets(st.sampled_from("._@aeit")))
    return dump(spell(event, cuts.__getitem__), escaped.__contains__)


def parse(raw: bytes, now: int = START, **options) -> NewEvent | Rejection:
    """Parse one item for the organization of these tests."""
    return parse_event(raw, ORG, now, lambda: MADE_ID, **options)


def changed(event, path, value):
    """Return a copy of a nested event with one field changed, whatever was there before."""
    copy = json.loads(json.dumps(event))
    place = copy
    for part in path[:-1]:
        if not isinstance(place.get(part), dict):
            place[part] = {}
        place = place[part]
    place[path[-1]] = value
    return copy


@settings(max_examples=400)
@given(st.data())
def test_every_spelling_is_the_same_event(data):
    """Id, dataset and decision are the same however the envelope is spelled, and every byte stays as it was sent."""
    event = data.draw(EVENTS)
    raw = data.draw(spellings(event))

    parsed = parse(raw)

    assert isinstance(parsed, NewEvent), parsed
    decision = event["aegis"].get("decision")
    assert (parsed.event_id, parsed.dataset, parsed.decision) == (
        *list(event["event"].values())[:2],
        decision,
    )
    assert (parsed.body.encode(), parsed.raw) == (raw, None)


WRONG = [
    (("@timestamp",), "yesterday"),
    (("event", "id"), ""),
    (("event", "id"), 7),
    (("event", "id", "x"), "a"),
    (("event", "dataset"), None),
    (("event", "dataset"), "aegis.audit_stream.admin"),
    (("event", "dataset"), " AEGIS.Audit_Stream"),
    (("organization", "id"), "org_other"),
    (("aegis", "decision"), "MAYBE"),
    (("aegis", "summary"), "card 4111 1111 1111 1111"),
    (("aegis", "findings"), ["078-05-1120"]),
    (("aegis", "finding_counts_by_type", "SSN"), "078-05-1120"),
    (("aegis", "finding_counts_by_type", "SSN", "078-05-1120"), "x"),
]


@settings(max_examples=400)
@given(st.data())
def test_no_spelling_gets_past_a_check(data):
    """What is rejected when it is nested is rejected in every other spelling, for the same field."""
    path, value = data.draw(st.sampled_from(WRONG))
    event = changed(PREFLIGHT, path, value)
    expected = parse(dump(spell(event, nested)))

    rejection = parse(data.draw(spellings(event)))

    assert isinstance(expected, Rejection)
    assert isinstance(rejection, Rejection), rejection
    assert rejection.field == expected.field
    assert "078-05-1120" not in rejection.message
    assert "4111" not in rejection.message


@settings(max_examples=400)
@given(st.data())
def test_a_field_in_two_spellings_is_rejected(data):
    """A field of the envelope that is written twice, in two spellings, is rejected by its name, whether its values differ or not."""
    event = data.draw(EVENTS)
    path = data.draw(st.sampled_from([one for one in fields(event) if len(one) > 1]))
    first, second = data.draw(
        st.lists(st.integers(0, 2 ** (len(path) - 1) - 1), min_size=2, max_size=2, unique=True)
    )
    twice = spell(event, lambda one: first if one == path else 0)
    write(twice, path, data.draw(st.sampled_from(["x", event["event"]["id"]])), second)

    rejection = parse(dump(twice))

    assert isinstance(rejection, Rejection), twice
    assert rejection.field == ".".join(path)
    assert "once" in rejection.message
    assert rejection.event_id == (None if path == ("event", "id") else event["event"]["id"])


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"event": {"id": "a", "x": 1}, "event.x.y": 2}, "event.x"),
        ({"event.x.y": 2, "event": {"id": "a", "x": 1}}, "event.x"),
        ({"event.x": 1, "event.x.y": 2}, "event.x"),
        ({"aegis": [1], "aegis.x": 1}, "aegis"),
        ({"event": {"x": {}, "id": "a"}, "event.x": 1}, "event.x"),
        ({"event.x": 1, "event": {"x": {"y": 2}, "id": "a"}}, "event.x"),
    ],
    ids=json.dumps,
)
def test_a_value_is_no_object(event, field):
    """A field cannot be a value and an object at once."""
    rejection = parse(dump(event))

    assert isinstance(rejection, Rejection)
    assert rejection.field == field


@pytest.mark.parametrize(
    "event",
    [
        {"event.x": {}, "event": {"id": "a", "x": {"y": 1}}},
        {"event": {}, "event.id": "a"},
        {"event.id": "a", "event": {}},
        {"event": {"id": "a", "..": 1, "": 2}},
        {"log.level": "info", "log": {"level": "warn"}, "user.id": 1, ".": 1, "": 2, "a..b": 3},
        {"events.id": 1, "event_id": 2, "organizations.id": "x", "aegis_": {"event.id": 5}},
        {"user": {"event.id": 7, "event": {"id": 8}}},
        {"aegis": {"list": [{"event.id": 1, "event": {"id": 2}}]}},
    ],
    ids=json.dumps,
)
def test_names_that_mean_one_thing_are_taken(event):
    """Dotted names outside of the envelope, within lists, or beside an empty object are accepted."""
    assert isinstance(parse(dump(event)), NewEvent)


@pytest.mark.parametrize(
    "event",
    [
        {"event.id.": "a"},
        {"event..id": "a"},
        {".event.id": "a"},
        {"event.": {"id": "a"}},
        {"event": {"id.": "a"}},
        {"event": {".dataset": "a"}},
        {"organization": {"id.": ORG}},
        {"@timestamp.": "2026-05-15T10:33:21Z"},
        {"aegis.": {"findings": ["x"]}},
    ],
    ids=json.dumps,
)
def test_names_with_an_empty_part_are_rejected(event):
    """An extra dot in a name of the envelope is rejected: some receivers skip it, others do not."""
    rejection = parse(dump(event))

    assert isinstance(rejection, Rejection)
    assert "empty part" in rejection.message


@pytest.mark.parametrize("spelling", [nested, dotted])
def test_type_names_may_have_dots(spelling):
    """A dot in the name of a finding's type is part of the name, on the fast path and on the other."""
    event = changed(PREFLIGHT, ("aegis", "finding_counts_by_type"), {"US.SSN": 1, "US": 2})

    assert isinstance(parse(dump(event)), NewEvent)
    assert isinstance(parse(dump(spell(event, spelling))), NewEvent)


@pytest.mark.parametrize(
    ("event", "tree"),
    [
        (
            {"aegis.finding_counts_by_type.US.SSN": 1, "aegis": {"finding_counts_by_type": {"a.b": 2}}},
            {"aegis": {"finding_counts_by_type": {"US.SSN": 1, "a.b": 2}}},
        ),
        ({"event": {"id": {"": 1}}}, {"event": {"id": {"": 1}}}),
        ({"event.a": {"b.c": 1}, "other.x": 2}, {"event": {"a": {"b": {"c": 1}}}}),
    ],
    ids=["names of types", "an empty name", "a name within"],
)
def test_an_envelope_is_nested(event, tree):
    """Dots make objects, but not in the name of a type; an empty name without a dot is a name."""
    assert plain(nest(members(event))) == tree


def test_dots_count_as_depth():
    """A dotted name counts as deep as the nested field, and a name with a hundred thousand dots is rejected quickly."""
    limits = EventLimits(depth_max=8)
    at_most = {"event.a.b.c.d.e.f.g": 1}
    too_deep = {"event.a.b.c.d.e.f.g.h": 1}
    absurd = {"event" + ".a" * 100_000: {str(number): 1 for number in range(5_000)}}

    assert isinstance(parse(dump(at_most), limits=limits), NewEvent)
    for event in (too_deep, absurd):
        rejection = parse(dump(event), limits=limits)
        assert isinstance(rejection, Rejection)
        assert "deeper than 8 levels" in rejection.message


def test_the_deepest_event_can_be_nested():
    """An event as deep as any setting allows is read without an error."""
    event = {"event": {"id": "a", "x.y": deep(LEVELS_MAX - 4)}}

    assert isinstance(parse(dump(event), limits=EventLimits(depth_max=LEVELS_MAX)), NewEvent)


def members(event: dict) -> dict[str, Raw]:
    """Return the top-level members of an event, not decoded."""
    return {name: json_raw(value) for name, value in event.items()}


@pytest.mark.parametrize(
    ("event", "ambiguity"),
    [
        (
            {"event": {"x": 1}, "event.x": 2},
            Ambiguity(
                "event.x",
                "appears more than once, because a name with dots means the nested field: send it once",
            ),
        ),
        (
            {"event..id": "a"},
            Ambiguity(
                "event..id",
                "has an empty part beside a dot, which some receivers skip: write the name without it",
            ),
        ),
        (
            {"event.a.b": {"c": 1}},
            Ambiguity(
                "",
                "the event is nested deeper than 3 levels, counting names with dots as nested: flatten it",
            ),
        ),
    ],
    ids=["twice", "an empty part", "too deep"],
)
def test_an_ambiguity_is_told_by_the_field_and_the_way_out(event, ambiguity):
    """The message says why receivers would read the event differently."""
    assert nest(members(event), 3) == ambiguity


def test_a_long_name_is_told_in_part():
    """A rejection repeats at most 100 characters of a name."""
    name = "x" * 200

    found = nest(members({f"event.{name}": 1, "event": {name: 1}}))

    assert isinstance(found, Ambiguity)
    assert found.field == "event." + "x" * 94


@pytest.mark.parametrize(
    ("event", "found"),
    [
        ({"event": {"id": "a"}}, "a"),
        ({"event.id": "a"}, "a"),
        ({"event": {"kind": "x"}, "event.id": "a"}, "a"),
        ({"event": {"id": "a"}, "event.id": "a"}, None),
        ({"event": {"kind": "x"}}, None),
        ({"event": {"id": 7}}, None),
        ({"event.id": None}, None),
        ({"event": "x", "event.id": "a"}, None),
        ({"organization": {"id": "a"}}, None),
        ({}, None),
    ],
    ids=json.dumps,
)
def test_an_id_is_read_in_either_spelling(event, found):
    """One that is there twice, or is no text, is no id."""
    assert id_of(members(event), "event") == found


def test_names_of_the_envelope_are_known_by_their_first_part():
    """Dots at the ends do not hide a field of the envelope; a name that only begins alike is another one."""
    assert [
        name
        for name in ("event.id", "..event.id", "aegis.", "events.id", "event", "x.event.id")
        if is_dotted(name)
    ] == [
        "event.id",
        "..event.id",
        "aegis.",
    ]
    assert not is_dotted("Xevent.id")
    assert has_only_dotted({"x": 1, "x.y": 1, "event.action": 1}, "event")
    assert not has_only_dotted({"event.action": 1, "event": {}}, "event")
    assert not has_only_dotted({"events.action": 1, "organization.id": 1}, "event")


# ── filled in ──


@settings(max_examples=300)
@given(st.data())
def test_filling_in_never_makes_a_second_spelling(data):
    """What is filled in is spelled like the fields beside it, so that the stored event still has each field once."""
    event = data.draw(EVENTS)
    missing = data.draw(st.sets(st.sampled_from([("event", "id"), ("organization", "id"), ("@timestamp",)])))
    whole = spell(event, nested)
    for path in missing:
        del (whole if len(path) == 1 else whole[path[0]])[path[-1]]
    raw = data.draw(spellings(whole))

    stored = parse(raw)

    assert isinstance(stored, NewEvent), stored
    again = parse(stored.body.encode())
    assert isinstance(again, NewEvent), again
    assert (again.body, again.raw) == (stored.body, None)
    assert (
        again.event_id == stored.event_id == (MADE_ID if ("event", "id") in missing else event["event"]["id"])
    )
    later = parse(raw, now=START + SECOND)
    assert is_same_submission(later, stored.body)


@pytest.mark.parametrize(
    ("event", "filled"),
    [
        ({"event.action": "x"}, {"event.action": "x", "event.id": MADE_ID, "organization": {"id": ORG}}),
        (
            {"event": {"kind": "event"}, "event.action": "x", "organization.name": "y"},
            {
                "event": {"kind": "event", "id": MADE_ID},
                "event.action": "x",
                "organization.name": "y",
                "organization.id": ORG,
            },
        ),
        ({"event.id": "a", "event": {}}, {"event.id": "a", "event": {}, "organization": {"id": ORG}}),
    ],
    ids=["dotted", "half", "empty object"],
)
def test_fills_in_beside_what_is_there(event, filled):
    """A missing id goes into the object where there is one, and beside dotted names where there is none."""
    parsed = parse(dump(event))

    assert isinstance(parsed, NewEvent)
    assert json.loads(parsed.body) == {"@timestamp": to_text(START)} | filled


# ── the look for dots ──


@settings(max_examples=300)
@given(st.data())
def test_dots_are_found_where_they_are(data):
    """`has_dotted_names` is true exactly if nesting changes the envelope."""
    event = data.draw(EVENTS)
    raw = data.draw(spellings(event))
    spelled = json.loads(raw)

    tree = nest({name: json_raw(value) for name, value in spelled.items()})

    envelope = {
        name: value
        for name, value in spelled.items()
        if name in ("@timestamp", "event", "organization", "aegis")
    }
    assert json.loads(json.dumps(plain(tree))) == {name: event[name] for name in tree}
    assert has_dotted_names(spelled) == (envelope != {name: event[name] for name in tree})


def json_raw(value):
    """Return a value as raw JSON."""
    return Raw(json.dumps(value).encode())


def plain(tree):
    """Return what `nest` returns as ordinary values."""
    return (
        {name: plain(one) for name, one in tree.items()}
        if isinstance(tree, dict)
        else json.loads(bytes(tree))
    )
