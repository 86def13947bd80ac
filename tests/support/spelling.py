"""The ways in which a field of an event's envelope can be written: nested, with dots, partly nested, with escapes.

It uses no code under test.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

ENVELOPE = ("@timestamp", "event", "organization", "aegis")

Path = tuple[str, ...]
Cut = Callable[[Path], int]
"""Called with a path; bit n says whether a dot joins its parts n and n + 1, so that they become one name."""


def nested(_path: Path) -> int:
    """Join nothing: every field is nested."""
    return 0


def dotted(path: Path) -> int:
    """Join everything: every field is a member of the event itself."""
    return 2 ** len(path) - 1


def fields(event: dict[str, Any]) -> list[Path]:
    """Return the path of every field of the envelope that holds no further ones."""
    return [path for path, _ in _leaves(event) if path[0] in ENVELOPE]


def spell(event: dict[str, Any], cut: Cut) -> dict[str, Any]:
    """Return a nested event with every field of its envelope written once, in the spelling that `cut` chooses."""
    spelled: dict[str, Any] = {}
    for path, value in _leaves(event):
        write(spelled, path, value, cut(path) if path[0] in ENVELOPE else 0)
    return spelled


def write(event: dict[str, Any], path: Path, value: Any, joined: int) -> None:
    """Write one field into an event."""
    names = [path[0]]
    for number, part in enumerate(path[1:]):
        if joined >> number & 1:
            names[-1] += f".{part}"
        else:
            names.append(part)
    place = event
    for name in names[:-1]:
        place = place.setdefault(name, {})
    place[names[-1]] = value


def dump(value: Any, escape: Callable[[str], bool] = lambda _: False) -> bytes:
    """Write JSON; of each key those characters by their number that `escape` chooses."""
    return _text(value, escape).encode()


def _text(value: Any, escape: Callable[[str], bool]) -> str:
    if not isinstance(value, dict):
        return json.dumps(value)
    members = [
        '"'
        + "".join(f"\\u{ord(one):04x}" if escape(one) else one for one in name)
        + '":'
        + _text(inner, escape)
        for name, inner in value.items()
    ]
    return "{" + ",".join(members) + "}"


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from _leaves(one, (*path, name))
    else:
        yield path, value


def repeats_a_key(raw: bytes) -> bool:
    """Tell with the standard library whether a key appears twice in one object, at any depth."""
    found: list[bool] = []
    json.loads(raw, object_pairs_hook=lambda pairs: found.append(len(dict(pairs)) < len(pairs)))
    return any(found)
