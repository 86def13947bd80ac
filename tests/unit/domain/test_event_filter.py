"""Promises of `domain.event_filter`: an event is found by what it says, however its JSON is spelled."""

import json

import pytest

from aegis_stream.domain.event_filter import EventFilter

EVENT = {
    "event": {"id": "e1", "dataset": "app"},
    "user": {"id": "alice", "roles": ["admin", "audit"]},
    "log.level": "warn",
    "message": 'Two "card" numbers in Zürich',
    "size": 5,
    "ratio": 0.25,
    "blocked": True,
    "reason": None,
    "items": [{"sku": "a-1"}, {"sku": "b-2"}],
}
SPELLINGS = {
    "compact": json.dumps(EVENT, separators=(",", ":"), ensure_ascii=False).encode(),
    "with escapes": json.dumps(EVENT).encode(),
    "indented": json.dumps(EVENT, indent=2).encode(),
}


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("card", True),
        ("CARD", True),
        ('"card" numbers', True),
        ("zürich", True),
        ("ZÜRICH", True),
        ("log.level", True),
        ("sku", True),
        ("bob", False),
        ("\\u00fc", False),
    ],
)
def test_a_text_is_found_in_names_and_values(body, word, found):
    """Text is found in any case and behind any escapes, and nothing is found that the event does not say."""
    assert EventFilter(words=(word,)).body_test()(body) == found


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("user.id", "alice", True),
        ("user.id", "Alice", False),
        ("user.id", "ali", False),
        ("user", "alice", False),
        ("user.roles", "audit", True),
        ("log.level", "warn", True),
        ("size", "5", True),
        ("size", "5.0", False),
        ("ratio", "0.25", True),
        ("blocked", "true", True),
        ("reason", "null", True),
        ("items.sku", "b-2", True),
        ("items.0.sku", "a-1", False),
        ("message", 'Two "card" numbers in Zürich', True),
        ("nothing.there", "x", False),
        ("", "x", False),
    ],
)
def test_a_field_has_its_value(body, path, value, found):
    """A dotted path leads through objects, lists and names with dots; the whole value must be the same."""
    assert EventFilter(fields=((path, value),)).body_test()(body) == found


def test_all_conditions_must_hold():
    """An event that meets all conditions but one is not found."""
    body = SPELLINGS["compact"]
    right = EventFilter(words=("card", "numbers"), fields=(("user.id", "alice"), ("size", "5")))

    assert right.body_test()(body)
    assert not EventFilter(words=("card", "none")).body_test()(body)
    assert not EventFilter(words=("card",), fields=(("user.id", "alice"), ("size", "6"))).body_test()(body)


def test_labels_decide_without_the_body():
    """Dataset and decision are compared whole; an event without a dataset has the dataset ""."""
    wanted = EventFilter(dataset="app", decision="BLOCKED")

    assert wanted.accepts_label("app", "BLOCKED")
    assert not wanted.accepts_label("app.x", "BLOCKED")
    assert not wanted.accepts_label("app", None)
    assert EventFilter(dataset="").accepts_label("", None)
    assert not wanted.reads_bodies
    assert EventFilter().is_empty


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a":"\\', b"[" * 5000])
def test_a_damaged_event_is_not_found_by_its_fields(body):
    """What is no JSON has no field, and is not an error."""
    assert not EventFilter(words=("absent",)).body_test()(body)
    assert not EventFilter(fields=(("a", "1"),)).body_test()(body)
