"""Nested objects as flat attributes with dotted names, for destinations with flat records."""

from collections.abc import Iterator
from typing import Any

PATH_CHARS_MAX = 256
"""Longest path whose object is flattened, characters: every leaf repeats the path, so longer ones would make a small event huge.

New Relic relies on its being longer than a name may be there: what is left as an object does not become an attribute.
"""


def flatten(members: dict[str, Any]) -> dict[str, Any]:
    """Return dotted name → scalar or list, or an object that is empty or whose path is longer than PATH_CHARS_MAX.

    If several paths have the same name ({"a.b": 1, "a": {"b": 2}}), "_", "_2", "_3" … is appended to those that are written
    with a dot. So nothing is lost, every name is unique, and event.id is always the id that was checked. Time and output are
    linear in the size of the event.
    """
    flat: dict[str, Any] = {}
    dotted: list[tuple[str, Any]] = []
    for name, value, is_path in _leaves(members, "", is_path=True):
        if is_path:
            flat[name] = value
        else:
            dotted.append((name, value))
    repeats: dict[str, int] = {}  # by name, so that no suffix is tried twice
    for name, value in dotted:
        free = name
        while free in flat:
            repeats[name] = repeats.get(name, 0) + 1
            free = f"{name}_" if repeats[name] == 1 else f"{name}_{repeats[name]}"
        flat[free] = value
    return flat


def _leaves(members: dict[str, Any], prefix: str, *, is_path: bool) -> Iterator[tuple[str, Any, bool]]:
    """Yield (dotted name, value, whether every dot of the name separates an object from its member)."""
    for name, value in members.items():
        still_path = is_path and "." not in name
        if isinstance(value, dict) and value and len(prefix) + len(name) <= PATH_CHARS_MAX:
            yield from _leaves(value, f"{prefix}{name}.", is_path=still_path)
        else:
            yield prefix + name, value, still_path
