"""Spellings in which a tool may have written an event anew, and the members that pipelines add."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any, Dict, Iterator, List, Tuple

SPELLINGS: Tuple[Dict[str, Any], ...] = tuple(
    {"ensure_ascii": escaped, "indent": indent, "separators": separators}
    for indent, separators in (
        (None, (",", ":")),
        (None, (", ", ": ")),
        (2, (",", ": ")),
        (4, (",", ": ")),
        ("\t", (",", ": ")),
    )
    for escaped in (False, True)
)
"""How a value is written: compact, with spaces, indented; each with letters as they are and as escapes."""

ADDITIONS = (
    "@version",
    "host",
    "tags",
    "agent",
    "ecs",
    "input",
    "log",
    "data_stream",
    "source_type",
    "path",
    "file",
    "timestamp",
    "type",
    "stream",
    "url",
    "http",
    "user_agent",
    "headers",
    "offset",
    "kubernetes",
    "container",
    "cloud",
    "_time",
    "dt",
)
"""Members that Logstash, Beats, Fluentd and Vector add to an event's own, and that our formats for Cribl and Better Stack add."""
_ALL_SUBSETS_MAX = 5


def spelled(value: Any, spelling: Dict[str, Any]) -> bytes:
    """Return a value in a spelling; b"" if it cannot be written."""
    try:
        return json.dumps(value, **spelling).encode()
    except (UnicodeEncodeError, RecursionError, ValueError):
        return b""


def without_additions(value: Any) -> Iterator[Any]:
    """Yield the value without what a pipeline may have added: few versions, the likeliest first; none that is unchanged.

    A version matters only if its digest is a recorded one, so that it does no harm to try.
    """
    if not isinstance(value, dict):
        return
    present = [name for name in ADDITIONS if name in value]
    sets: List[Tuple[str, ...]] = [tuple(present[: length + 1]) for length in range(len(present))]
    if len(present) <= _ALL_SUBSETS_MAX:
        sets = [one for length in range(1, len(present) + 1) for one in combinations(present, length)]
    plain = _without_original(value)
    if plain is not value:
        sets.insert(0, ())
    for names in sets:
        yield {name: one for name, one in plain.items() if name not in names}
        if plain is not value and names:
            yield {name: one for name, one in value.items() if name not in names}


def _without_original(value: Dict[str, Any]) -> Dict[str, Any]:
    event = value.get("event")
    if not isinstance(event, dict) or "original" not in event:
        return value
    return {**value, "event": {name: one for name, one in event.items() if name != "original"}}
