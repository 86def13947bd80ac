"""Which events somebody is looking for: conditions on dataset, decision, text and fields, and the check of one event; pure."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from .preflight import Decision

DECISIONS: tuple[str, ...] = get_args(Decision)
WORDS_MAX = 10
"""Most texts of one filter."""
FIELDS_MAX = 10
"""Most fields of one filter."""
CONDITION_CHARACTERS_MAX = 256
"""Longest text, path or value of a condition."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Conditions that an event must meet, all of them.

    Args:
        dataset: its dataset, "" for an event without one; None for any.
        decision: its decision; None for any.
        words: texts that must occur in its JSON, in any case.
        fields: dotted paths and the value that each must have. In a list one element with the value is enough. A name with
            dots matches like nested fields.
    """

    dataset: str | None = None
    decision: str | None = None
    words: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def reads_bodies(self) -> bool:
        """Whether dataset and decision do not decide alone."""
        return bool(self.words or self.fields)

    @property
    def is_empty(self) -> bool:
        """Whether every event meets it."""
        return self == EventFilter()

    def accepts_label(self, dataset: str, decision: str | None) -> bool:
        """Tell whether an event's dataset and decision meet their conditions."""
        return self.dataset in (None, dataset) and self.decision in (None, decision)

    def body_test(self) -> Callable[[bytes], bool]:
        """Return the check of an event's bytes; bytes that are no JSON meet no condition on fields."""
        words = [_inside(word).lower() for word in self.words]
        fields = [(path, value, _inside(value)) for path, value in self.fields]

        def accepts(body: bytes) -> bool:
            text = _plain(body)
            if words:
                lowered = text.lower()
                if not all(word in lowered for word in words):
                    return False
            # Most events lack the value altogether, which costs a tenth of decoding them.
            if not all(inside in text or _may_be_number(value) for _, value, inside in fields):
                return False
            return not fields or _has_fields(text, self.fields)

        return accepts


def first_text(event: Any, *paths: str) -> str:
    """Return the first value that a decoded event has at one of some dotted paths, as text; "" for none."""
    for path in paths:
        for one in _values_at(event, path):
            if text := value_text(one):
                return text
    return ""


def value_text(value: Any) -> str | None:
    """Return a value of an event as a condition spells it; None for an object or a list, which have no such text."""
    if isinstance(value, str):
        return value
    return None if isinstance(value, dict | list) else _encode(value).decode()


def _plain(body: bytes) -> str:
    """Return an event's JSON without needless escapes, so that a text is found however it was spelled."""
    text = body.decode("utf-8", "replace")
    if "\\" in text:
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            return _encode(_decode(body)).decode()
    return text


def _inside(text: str) -> str:
    """Return a text as it stands between the quotes of JSON."""
    return _encode(text).decode()[1:-1]


def _may_be_number(value: str) -> bool:
    return value[:1] in "-0123456789"


def _has_fields(text: str, fields: tuple[tuple[str, str], ...]) -> bool:
    try:
        event = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return all(any(value_text(one) == value for one in _values_at(event, path)) for path, value in fields)


def _values_at(place: Any, path: str) -> Iterator[Any]:
    """Yield the values at a dotted path: through lists, and with names that have dots themselves."""
    if isinstance(place, list):
        for one in place:
            yield from _values_at(one, path)
    elif not path:
        yield place
    elif isinstance(place, dict):
        if path in place:
            yield from _values_at(place[path], "")
        at = path.find(".")
        while at >= 0:
            if path[:at] in place:
                yield from _values_at(place[path[:at]], path[at + 1 :])
            at = path.find(".", at + 1)
