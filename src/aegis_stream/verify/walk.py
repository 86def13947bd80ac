"""Walks over JSON text and says where its parts begin and end, so that an event can be cut out of a SIEM's answer unchanged."""

from __future__ import annotations

from json.decoder import scanstring  # type: ignore[attr-defined] # written in C, as the decoder uses it
from typing import Any, Dict, Iterator, NamedTuple

from .content import Unreadable, scan, skip_space


class Span(NamedTuple):
    """Where a value stands in a text: `text[start:end]`."""

    start: int
    end: int


def members(text: str, at: int) -> Dict[str, Span]:
    """Return where the members of the object stand that begins at `at`.

    Raises: Unreadable if it is malformed or has a name twice.
    """
    found: Dict[str, Span] = {}
    at = skip_space(text, at + 1)
    if text[at : at + 1] == "}":
        return found
    while True:
        if text[at : at + 1] != '"':
            raise Unreadable(f"is not JSON: a name is missing at character {at}")
        name, at = _name(text, at + 1)
        at = skip_space(text, at)
        if text[at : at + 1] != ":":
            raise Unreadable(f"is not JSON: a colon is missing at character {at}")
        start = skip_space(text, at + 1)
        if name in found:
            raise Unreadable("has a name twice in one object")
        at = _end(text, start)
        found[name] = Span(start, at)
        at = skip_space(text, at)
        sign = text[at : at + 1]
        if sign == "}":
            return found
        if sign != ",":
            raise Unreadable(f"is not JSON: a comma is missing at character {at}")
        at = skip_space(text, at + 1)


def elements(text: str, at: int) -> Iterator[Span]:
    """Yield where the elements of the array stand that begins at `at`.

    Raises: Unreadable if it is malformed.
    """
    at = skip_space(text, at + 1)
    if text[at : at + 1] == "]":
        return
    while True:
        start, at = at, _end(text, at)
        yield Span(start, at)
        at = skip_space(text, at)
        sign = text[at : at + 1]
        if sign == "]":
            return
        if sign != ",":
            raise Unreadable(f"is not JSON: a comma is missing at character {at}")
        at = skip_space(text, at + 1)


def values(text: str) -> Iterator[Span]:
    """Yield where the values stand that follow each other in a text, with or without space between them.

    Raises: Unreadable if something else follows.
    """
    at = skip_space(text, 0)
    while at < len(text):
        start, at = at, _end(text, at)
        yield Span(start, at)
        at = skip_space(text, at)


def value(text: str, span: Span) -> Any:
    """Return the value of a part."""
    return scan(text, span.start)[0]


def _end(text: str, start: int) -> int:
    try:
        return scan(text, start)[1]
    except StopIteration as error:
        raise Unreadable(f"is not JSON: a value is missing at character {start}") from error


def _name(text: str, at: int) -> Any:
    try:
        return scanstring(text, at, True)
    except ValueError as error:
        raise Unreadable("is not JSON: a name has no end") from error
