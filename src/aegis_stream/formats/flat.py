"""Nested objects as flat attributes with dotted names, for destinations with flat records."""

from collections.abc import Iterator
from typing import Any

PATH_CHARS_MAX = 256
"""Longest path whose object is flattened, characters: every leaf repeats the path, so longer ones would make a small event huge."""
PATHS_PER_BYTE = 4
"""Characters of repeated paths for each byte of the event, beyond which objects are left as they are. Ordinary events have one or two."""


def flatten(members: dict[str, Any], size: int) -> dict[str, Any]:
    """Return dotted name → scalar or list, or an object that is empty, or that would make the event too long.

    Such an object has a path longer than PATH_CHARS_MAX, or comes after PATHS_PER_BYTE characters of paths were repeated.

    If several paths have the same name ({"a.b": 1, "a": {"b": 2}}), "_", "_2", "_3" … is appended to those that are written
    with a dot. So nothing is lost, every name is unique, and event.id is always the id that was checked. Time and output are
    linear in the size of the event.

    Args:
        size: bytes of the event.
    """
    flat: dict[str, Any] = {}
    dotted: list[tuple[str, Any]] = []
    for name, value, is_path in _leaves(members, "", [PATHS_PER_BYTE * size], is_path=True):
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


def _leaves(
    members: dict[str, Any], prefix: str, left: list[int], *, is_path: bool
) -> Iterator[tuple[str, Any, bool]]:
    """Yield (dotted name, value, whether every dot of the name separates an object from its member).

    Args:
        left: one number, the characters of paths that may still be repeated; counted down.
    """
    for name, value in members.items():
        still_path = is_path and "." not in name
        if isinstance(value, dict) and value and _may_repeat(len(prefix) + len(name), len(value), left):
            yield from _leaves(value, f"{prefix}{name}.", left, is_path=still_path)
        else:
            yield prefix + name, value, still_path


def _may_repeat(path: int, times: int, left: list[int]) -> bool:
    """Tell whether a path of so many characters may be repeated so many times, and count it."""
    if path > PATH_CHARS_MAX or path * times > left[0]:
        return False
    left[0] -= path * times
    return True
