"""Two requests compared place by place: a table must explain every difference, and every row of it must apply.

A place is a path such as `headers.content-type` or `body[].create._index`: all elements of an array are one place.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import unquote

from .capture import Sent

Reader = Callable[[bytes], Any]
"""Body of a request → its content as JSON values."""
ANY = ...
"""A value that differs from run to run."""
CARRIAGE = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "user-agent", "accept-encoding"}
)
"""Headers about the connection and the program, which say nothing about the events; our bodies have a Content-Length."""


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
"""Nothing stands there."""


class Row(NamedTuple):
    """A difference that is meant.

    Args:
        theirs: what the vendor's client has at the place; ABSENT, a value, or ANY value.
        ours: what we have there, likewise.
        why: the reason for it.
    """

    place: str
    theirs: Any
    ours: Any
    why: str


def unexplained(theirs: Sent, ours: Sent, read: Reader, rows: Sequence[Row]) -> list[str]:
    """Return the differences that no row explains, and the rows that explain none.

    Method, query and all headers but CARRIAGE must be the same, the path segment by segment as a server decodes it, and every
    value of the body.
    """
    found = list(differences(_parts(theirs, read), _parts(ours, read)))
    explained = {row.place: row for row in rows}
    assert len(explained) == len(rows), "a place has two rows"
    return [
        f"{place}: theirs {_shown(left)}, ours {_shown(right)}"
        for place, left, right in found
        if place not in explained or not _holds(explained[place], left, right)
    ] + [f"no difference at {place}" for place in explained if place not in {one[0] for one in found}]


def differences(theirs: Any, ours: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (place, theirs, ours) wherever two JSON values differ; 1, 1.0 and true are three values."""
    match theirs, ours:
        case dict(), dict():
            for name in [*theirs, *(one for one in ours if one not in theirs)]:
                inner = f"{place}.{name}" if place else name
                yield from differences(theirs.get(name, ABSENT), ours.get(name, ABSENT), inner)
        case list(), list():
            if len(theirs) != len(ours):
                yield f"{place}.length", len(theirs), len(ours)
            for left, right in zip(theirs, ours, strict=False):
                yield from differences(left, right, f"{place}[]")
        case _ if type(theirs) is not type(ours) or theirs != ours:
            yield place, theirs, ours


def lines_of(body: bytes) -> dict[str, Any]:
    """Read lines of JSON; whether the last one ends in a line break is a difference too."""
    return {
        "lines": [json.loads(line) for line in body.removesuffix(b"\n").split(b"\n")],
        "ended": body.endswith(b"\n"),
    }


def times_of(body: bytes, name: str) -> list[float]:
    """Return the times under a name in the elements of an array, seconds since 1970, in any format."""
    return [datetime.fromisoformat(one[name]).timestamp() for one in json.loads(body)]


def _parts(sent: Sent, read: Reader) -> dict[str, Any]:
    headers = {name: value for name, value in sent.headers.items() if name not in CARRIAGE}
    path = [unquote(segment) for segment in sent.path.split("/")]
    return sent._asdict() | {"path": path, "headers": headers, "body": read(sent.body)}


def _holds(row: Row, theirs: Any, ours: Any) -> bool:
    return all(
        (wanted is ANY and value is not ABSENT) or not list(differences(wanted, value))
        for wanted, value in ((row.theirs, theirs), (row.ours, ours))
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
