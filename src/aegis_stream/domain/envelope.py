"""Names with dots in an event's envelope: `"event.id": "a"` means what `"event": {"id": "a"}` means.

Elasticsearch, Honeycomb, New Relic, OTLP receivers and others read a dotted name as the nested field. What is checked must be
what they read, so `parse_event` checks the envelope (`@timestamp` and all fields of `event`, `organization` and `aegis`) in its
nested form, which `nest` returns. The stored bytes stay as they were sent. Dotted names elsewhere (`log.level`) are not
checked.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

ROOTS = frozenset({"@timestamp", "event", "organization", "aegis"})
"""The top-level fields of the envelope."""
LEVELS_MAX = 128
"""Most levels that any setting allows."""
_OBJECTS = ("event", "organization", "aegis")
_COUNTS = ("aegis", "finding_counts_by_type")
"""An object whose keys are names of types: a dot in such a name is part of the name."""
_CHECKED = frozenset({("@timestamp",), ("event", "id"), ("event", "dataset"), ("organization", "id")})
"""Paths that are checked one by one; `aegis` is checked as a whole."""

_BRACE = ord("{")
_Path = tuple[str, ...]


class _EventFields(msgspec.Struct, gc=False):
    id: str | UnsetType = UNSET
    dataset: str | UnsetType = UNSET


class _OrganizationFields(msgspec.Struct, gc=False):
    id: str | UnsetType = UNSET


class Envelope(msgspec.Struct, gc=False):
    """The fields of an event that the service reads: which event of which dataset and organization, and when."""

    event: _EventFields | UnsetType = UNSET
    organization: _OrganizationFields | UnsetType = UNSET
    timestamp: str | UnsetType = msgspec.field(name="@timestamp", default=UNSET)


decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


class Ambiguity(NamedTuple):
    """Why two receivers could read the envelope differently.

    Args:
        field: the dotted path, truncated to 100 characters; "" for the event as a whole.
        message: what is wrong and what to do.
    """

    field: str
    message: str


def is_dotted(name: str) -> bool:
    """Tell whether a top-level name is a field of the envelope, written with dots."""
    return "." in name and _root(name) in ROOTS


def has_dotted_names(event: Mapping[str, Any]) -> bool:
    """Tell whether a name in the envelope has a dot, at any depth. Called for every event: plain loops are fastest."""
    for name in event:
        if "." in name and is_dotted(name):
            return True
    for root in _OBJECTS:  # noqa: SIM110 - any() would double what this costs for each event
        if root in event and type(event[root]) is dict and _has_dot(event[root]):
            return True
    return False


def nest(members: Mapping[str, Raw], depth_max: int = LEVELS_MAX) -> dict[str, Any] | Ambiguity:
    """Return the envelope with every dotted name as nested objects; members outside of the envelope are omitted.

    Args:
        members: the event's top-level members.
        depth_max: most levels that the nested form may have.
    Returns: nested dictionaries with the values as Raw, or why there is more than one way to read them.
    """
    tree: dict[str, Any] = {}
    envelope = {name: value for name, value in members.items() if _root(name) in ROOTS}
    try:
        _merge(tree, (), envelope, depth_max)
    except _AmbiguousError as error:
        return error.ambiguity
    return tree


def add_id(members: dict[str, Raw], root: str, value: str) -> None:
    """Add `<root>.id` to an event that lacks it, spelled like the event's other fields of that object.

    Mixed spellings would give a receiver that does not expand dots two objects to look into.

    Raises: msgspec.DecodeError if `root` is not an object.
    """
    inner = _decode_members(members[root]) if root in members else {}
    if "id" not in inner:
        dotted = f"{root}.id"
        if dotted in members:
            return
        if has_only_dotted(members, root):
            members[dotted] = Raw(_encode(value))
            return
        inner["id"] = Raw(_encode(value))
    members[root] = Raw(_encode(inner))


def has_only_dotted(members: Mapping[str, Any], root: str) -> bool:
    """Tell whether an event has fields of an object under dotted names only, as in `"event.action"` without `"event"`."""
    if root not in members:
        for name in members:
            if "." in name and _root(name) == root:
                return True
    return False


def id_of(members: Mapping[str, Raw], root: str) -> str | None:
    """Return `<root>.id` in either spelling; None where it is missing, no text, or there in both."""
    try:
        nested = _decode_members(members[root]).get("id") if root in members else None
        dotted = members.get(f"{root}.id")
        if nested is not None and dotted is not None:
            return None
        found = dotted if nested is None else nested
        return msgspec.json.decode(found, type=str) if found is not None else None
    except msgspec.DecodeError:
        return None


def _root(name: str) -> str:
    return name.strip(".").partition(".")[0]


def _has_dot(members: dict[str, Any]) -> bool:
    for name, value in members.items():  # noqa: SIM110 - as above
        if "." in name or (type(value) is dict and _has_dot(value)):
            return True
    return False


class _AmbiguousError(Exception):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.ambiguity = Ambiguity(field[:100], message)


def _merge(place: dict[str, Any], path: _Path, members: Mapping[str, Raw], depth_max: int) -> None:
    """Put the members of the object at `path` into `place`, their dotted names nested. Raises: _AmbiguousError."""
    for name, value in members.items():
        parts = _parts(path, name)
        whole = (*path, *parts)
        if len(whole) > depth_max:
            message = f"the event is nested deeper than {depth_max} levels, counting names with dots as nested: flatten it"
            raise _AmbiguousError("", message)
        inner = place
        for depth, part in enumerate(parts[:-1], len(path) + 1):
            inner = _object_in(inner, part, whole[:depth])
        is_object = memoryview(value)[0] == _BRACE and (
            len(whole) <= len(_COUNTS) or whole[: len(_COUNTS)] != _COUNTS
        )
        if is_object:
            _merge(_object_in(inner, parts[-1], whole), whole, _decode_members(value), depth_max)
        elif parts[-1] in inner:
            raise _twice(whole)
        else:
            inner[parts[-1]] = value


def _object_in(place: dict[str, Any], name: str, path: _Path) -> dict[str, Any]:
    """Return the object of this name, made where there is none. Raises: _AmbiguousError when there is a value."""
    found = place.setdefault(name, {})
    if not isinstance(found, dict):
        raise _twice(path)
    return found


def _parts(path: _Path, name: str) -> _Path:
    """Split a name at its dots. Raises: _AmbiguousError when some receivers would read it as another path than others."""
    parts = tuple(name.split("."))
    whole = (*path, *parts)
    if "" in parts:
        if len(parts) > 1 and (not path or tuple(filter(None, whole)) in _CHECKED):
            raise _AmbiguousError(
                ".".join(whole),
                "has an empty part beside a dot, which some receivers skip: write the name without it",
            )
        return (name,)
    known = len(_COUNTS)
    if whole[:known] == _COUNTS and len(whole) > known + 1:
        kept = known - len(path)
        return (*parts[:kept], ".".join(parts[kept:]))
    return parts


def _twice(path: _Path) -> _AmbiguousError:
    message = "appears more than once, because a name with dots means the nested field: send it once"
    return _AmbiguousError(".".join(path), message)
