"""Whatever ingest accepts, every format can encode: no stored event may ever stop a destination."""

import json
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from aegis_stream.domain.event import EventLimits, NewEvent
from aegis_stream.domain.ids import Micros, OrganizationId
from aegis_stream.domain.parsing import parse_event
from aegis_stream.formats import REGISTRY
from support.formats import AWKWARD_NAMES, IDS, UNHURRIED

LIMITS = EventLimits()
NOW = Micros(1_780_000_000_000_000)

DATES = st.one_of(
    st.dates().map(str),
    st.sampled_from(
        ["0001-01-01", "1969-12-31", "2262-04-11", "2262-04-12", "9999-12-31", "2024-02-29", "2016-12-31"]
    ),
)
CLOCKS = st.one_of(
    st.times().map(lambda one: one.isoformat()),
    st.sampled_from(["00:00:00", "23:59:59", "23:59:59.999999", "23:59:59.9999999", "23:59:60", "24:00:00"]),
)
ZONES = st.one_of(
    st.sampled_from(["Z", "z", "+00:00", "-00:00", "-23:59", "+23:59", "+14:00", "-12:00"]),
    st.builds("{}{:02}:{:02}".format, st.sampled_from("+-"), st.integers(0, 23), st.integers(0, 59)),
)
TIMES = st.builds("{}{}{}{}".format, DATES, st.sampled_from("TTTTTTt "), CLOCKS, ZONES)
NUMBERS = st.one_of(
    st.integers(-(10**60), 10**60).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.builds("{}e{}".format, st.integers(-(10**20), 10**20), st.integers(-5000, 5000)),
    st.sampled_from(
        [
            "-0",
            "-0.0",
            "1e400",
            "-1e400",
            "1e-400",
            "9" * 400,
            "0." + "0" * 390 + "1",
            str(2**63),
            str(-(2**64)),
        ]
    ),
)
TEXTS = st.one_of(
    st.text(max_size=12).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.text(max_size=12).map(json.dumps),
    st.sampled_from(
        [r'"\ud800"', r'"\udc00\ud800"', r'"\u0000"', '"\u2028"', '"\U0001f600"', '"\ufeff"', r'"\/"', '""']
    ),
)
SCALARS = st.one_of(st.sampled_from(["null", "true", "false"]), NUMBERS, TEXTS)


def written(members: list[tuple[str, str]]) -> str:
    """Return an object as JSON text; its members' values are text already."""
    return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in members) + "}"


NAMES = AWKWARD_NAMES | st.text(max_size=6)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.dictionaries(NAMES, inner, max_size=3).map(lambda members: written(list(members.items()))),
    ),
    max_leaves=8,
)


@st.composite
def deep(draw: Any) -> str:
    """Draw a value as deep as events may be, and a little deeper."""
    value = draw(SCALARS)
    for _ in range(draw(st.integers(24, LIMITS.depth_max))):
        value = f"[{value}]" if draw(st.booleans()) else written([(draw(NAMES), value)])
    return value


@st.composite
def raw_events(draw: Any) -> bytes:
    """Draw the text of an event, which ingest may accept or reject."""
    labels = draw(
        st.dictionaries(
            st.sampled_from(["action", "kind", "outcome", "type", "category"]), VALUES, max_size=3
        )
    )
    fields = [("id", json.dumps(draw(IDS))), *labels.items()]
    if draw(st.booleans()):
        fields.append(("dataset", json.dumps(draw(IDS))))
    members = {"@timestamp": f'"{draw(TIMES)}"', "event": written(fields)}
    if draw(st.booleans()):
        members |= {"message": draw(VALUES)}
    if draw(st.booleans()):
        members |= {"aegis": draw(VALUES)}
    members |= draw(st.dictionaries(NAMES, VALUES | deep(), max_size=3))
    return written(list(members.items())).encode("utf-8", "surrogatepass")


@settings(UNHURRIED, max_examples=250)
@given(raws=st.lists(raw_events(), min_size=1, max_size=3))
def test_every_format_encodes_what_ingest_accepts(raws):
    """Odd times, numbers, texts and depths that `parse_event` accepts become a request of every format, alone and in a batch."""
    parsed = [parse_event(raw, OrganizationId("org_a"), NOW, lambda: "made", limits=LIMITS) for raw in raws]
    bodies = [one.body.encode() for one in parsed if isinstance(one, NewEvent)]
    event("accepted" if bodies else "rejected")

    for format_ in REGISTRY.values():
        for body in bodies:
            assert format_.encode([body]).body
        if bodies and format_.batches:
            assert format_.encode(bodies).body


@pytest.mark.parametrize("name", sorted(REGISTRY))
@pytest.mark.parametrize(
    "at", ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999-00:01", "0001-01-01T00:00:00+23:59"]
)
def test_every_format_encodes_times_beyond_the_calendar(name, at):
    """A time that lies outside the years 1 to 9999 in UTC is accepted, and no format fails on it."""
    raw = json.dumps({"@timestamp": at, "event": {"id": "e1", "dataset": "a.b"}}).encode()

    accepted = parse_event(raw, OrganizationId("org_a"), NOW, None, limits=LIMITS)

    assert isinstance(accepted, NewEvent)
    assert REGISTRY[name].encode([accepted.body.encode()]).body
