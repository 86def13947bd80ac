"""Promises of `flatten`: nothing is lost, and hostile names cost time and output that are linear in the event."""

import json
import time

import pytest

from aegis_stream.formats import REGISTRY
from aegis_stream.formats.flat import PATH_CHARS_MAX, flatten
from support.formats import make_event, stored

FLAT = ("honeycomb", "new_relic", "otlp_logs")
DEPTH = 12


def one_name(parts: int):
    """Return an object with 2^(parts - 1) leaves that all have the flat name a.a.a…, each with its own value."""
    values = iter(range(2**parts))

    def build(left):
        return (
            {".".join("a" * joined): build(left - joined) for joined in range(1, left + 1)}
            if left
            else next(values)
        )

    return build(parts)


def test_equal_names_get_numbers():
    """Of several values with the same flat name the nested one keeps it, and the others get a suffix."""
    event = {"a.b.c": 1, "a": {"b.c": 2, "b": {"c": 3}}, "a.b": {"c": 4}, "a.b.c_": 5}

    flat = flatten(event, 1000)

    assert flat["a.b.c"] == 3
    assert sorted(flat) == ["a.b.c", "a.b.c_", "a.b.c_2", "a.b.c_3", "a.b.c__"]
    assert sorted(flat.values()) == [1, 2, 3, 4, 5]


def test_a_name_that_two_thousand_values_have_is_made_unique_in_linear_time():
    """All 2,048 values stay, in far less than a second, and the names grow by the digits of a number at most."""
    began_s = time.thread_time()
    flat = flatten(one_name(DEPTH), 100_000)

    assert time.thread_time() - began_s < 0.5
    assert sorted(flat.values()) == list(range(2 ** (DEPTH - 1)))
    assert max(map(len, flat)) <= len(".".join("a" * DEPTH)) + len("_2048")


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize(
    "members",
    [one_name(DEPTH), {"k" * 20_000: {f"{number:x}": number for number in range(4_000)}}],
    ids=["one name", "long path"],
)
def test_a_hostile_event_does_not_grow(name, members):
    """A request has at most ten times the bytes of its event, whatever the names are."""
    body = stored(make_event("evt_1", **members))

    assert len(REGISTRY[name].encode([body]).body) < 10 * len(body)


@pytest.mark.parametrize("name", FLAT)
def test_an_object_below_a_long_path_is_sent_as_a_whole(name):
    """What is too deep below long names to be flattened is not lost."""
    members = {"k" * (PATH_CHARS_MAX + 1): {"inner": "canary"}, "short": {"inner": "other"}}

    sent = json.dumps(json.loads(REGISTRY[name].encode([stored(make_event("evt_1", **members))]).body))

    assert "canary" in sent
    assert "short.inner" in sent
