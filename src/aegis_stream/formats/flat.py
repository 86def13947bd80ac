"""Nested objects as flat attributes with dotted names, for destinations with flat records."""

from collections.abc import Iterator
from typing import Any


def flatten(members: dict[str, Any]) -> dict[str, Any]:
    """Return dotted name → scalar, list or empty object.

    If two paths have the same name ({"a.b": 1, "a": {"b": 2}}), "_" is appended to the one that is written with a dot. So
    nothing is lost, every name is unique, and event.id is always the id that was checked.
    """
    flat: dict[str, Any] = {}
    dotted: list[tuple[str, Any]] = []
    for name, value, is_path in _leaves(members, "", is_path=True):
        if is_path:
            flat[name] = value
        else:
            dotted.append((name, value))
    for name, value in dotted:
        free = name
        while free in flat:
            free += "_"
        flat[free] = value
    return flat


def _leaves(members: dict[str, Any], prefix: str, *, is_path: bool) -> Iterator[tuple[str, Any, bool]]:
    """Yield (dotted name, value, whether every dot of the name separates an object from its member)."""
    for name, value in members.items():
        still_path = is_path and "." not in name
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.", is_path=still_path)
        else:
            yield prefix + name, value, still_path
