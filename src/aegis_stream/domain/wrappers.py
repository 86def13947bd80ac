"""Documents that hold many events, as vendors deliver them: CloudTrail's `Records`, Kubernetes' `items`, Okta's `data.events`.

Ingest takes such a document for one event, because any object may be one. `wrapped` notices it, so that the answer can say so;
`unwrapped` takes it apart where the request asks for it.
"""

import re
from typing import NamedTuple

import msgspec
from msgspec import Raw

PATHS = (
    ("Records",),  # AWS CloudTrail, S3 notifications
    ("records",),  # Azure Monitor, Amazon Data Firehose
    ("items",),  # Kubernetes, Google Workspace
    ("data", "events"),  # Okta
    ("events",),
    ("Events",),
    ("logEvents",),  # CloudWatch Logs
    ("value",),  # Microsoft Graph, Office 365
    ("entries",),  # Google Cloud Logging
    ("data",),
    ("logs",),
    ("results",),
)
"""Where vendors keep a document's events; the first one that fits counts."""
_ENVELOPE = ("@timestamp", "event.dataset", "event.action")
_MARK = re.compile(rb'"(?:%b)"[ \t\r\n]*:[ \t\r\n]*[\[{]' % "|".join({path[0] for path in PATHS}).encode())

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode


class Wrapped(NamedTuple):
    """What a document holds: so many objects at the dotted path `name`."""

    name: str
    objects: int


def wrapped(raw: bytes) -> Wrapped | None:
    """Tell whether a document looks like many events: no envelope but perhaps an id, and an array of objects at a usual place."""
    if _MARK.search(raw) is None:
        return None
    try:
        members = _decode_members(raw)
        event = _decode_members(members["event"]) if "event" in members else {}
        if event.keys() - {"id"} or any(name in members for name in _ENVELOPE):
            return None
        for path in PATHS:
            items = _items_at(members, path)
            if items and all(bytes(memoryview(item)[:1]) == b"{" for item in items):
                return Wrapped(".".join(path), len(items))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None


def unwrapped(document: bytes, path: tuple[str, ...]) -> list[bytes] | None:
    """Return the items of the array at a path, each as it stands in the document; None if there is no array.

    Raises: msgspec.DecodeError, UnicodeDecodeError, RecursionError when the document cannot be read.
    """
    items = _items_at(_decode_members(document), path)
    return None if items is None else [bytes(item) for item in items]


def _items_at(members: dict[str, Raw], path: tuple[str, ...]) -> list[Raw] | None:
    for name in path[:-1]:
        inner = members.get(name)
        if inner is None or memoryview(inner)[0] != ord("{"):
            return None
        members = _decode_members(inner)
    found = members.get(path[-1])
    if found is None or memoryview(found)[0] != ord("["):
        return None
    return _decode_items(found)
