"""JSON as a tree, where the events with the same value are, and JSON with indents; pure."""

import json
from typing import Any, NamedTuple

from aegis_stream.domain.event_filter import CONDITION_CHARACTERS_MAX, EventFilter, value_text
from aegis_stream.domain.search_line import SearchLine

NODES_MAX = 1500
"""Most fields that a tree shows; the stored bytes have them all."""
DEPTH_MAX = 40
PRETTY_CHARACTERS_MAX = 100_000
"""Longest JSON that is shown with indents."""


class Node(NamedTuple):
    """One field.

    Args:
        value: as text; None for an object or a list, which has `nodes`.
        line: the search line of events with the same value, "" for none.
    """

    name: str
    value: str | None
    line: str
    nodes: list["Node"]


def tree_of(event: Any) -> tuple[list[Node], bool]:
    """Return the fields of a decoded event, and whether some were left out."""
    left = [NODES_MAX]
    nodes = _nodes(event, "", 0, left)
    return nodes, left[0] <= 0


def _nodes(value: Any, path: str, depth: int, left: list[int]) -> list[Node]:
    if isinstance(value, dict):
        members = [(str(name), one, f"{path}.{name}" if path else str(name)) for name, one in value.items()]
    elif isinstance(value, list):
        members = [(str(number), one, path) for number, one in enumerate(value)]
    else:
        members = []
    found = []
    for name, one, place in members:
        if left[0] <= 0:
            break
        left[0] -= 1
        text = value_text(one)
        if text is not None:
            found.append(Node(name, text, _line(place, text), []))
        elif depth < DEPTH_MAX:
            found.append(Node(name, None, "", _nodes(one, place, depth + 1, left)))
        else:
            left[0] = 0
    return found


def _line(path: str, value: str) -> str:
    if not path or max(len(path), len(value)) > CONDITION_CHARACTERS_MAX:
        return ""
    return SearchLine(EventFilter(fields=((path, value),))).text()


def pretty(body: str | None) -> str:
    """Return JSON with indents; "" for what is not one JSON document, or too long."""
    if body is None or len(body) > PRETTY_CHARACTERS_MAX:
        return ""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""
