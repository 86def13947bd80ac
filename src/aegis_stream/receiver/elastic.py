"""Answers as Elasticsearch gives them, at its paths.

The service reads answers at `/_doc`, `/_create` and `/_bulk` as Elasticsearch's, item by item. A receiver for trying things
out must give such answers there, or every delivery would count as failed. Nothing is stored.
"""

import json
import re
from collections.abc import Sequence

from .body import Event
from .intake import Reply, reply_with

_DOCUMENT = re.compile(r"/[^/]+/_(?:doc|create)(?:/[^/]+)?/?")
_BULK = re.compile(r"(?:/[^/]+)?/_bulk/?")
_OTHERS = frozenset({"/cribl/_bulk"})
"""Paths of other products that look like Elasticsearch's."""
_ACTIONS = frozenset({"create", "index"})


def is_document(path: str) -> bool:
    """Tell whether a path takes one document, as `/logs-audit/_doc` does."""
    return _DOCUMENT.fullmatch(path) is not None


def is_bulk(path: str) -> bool:
    """Tell whether a path takes lines of actions and documents."""
    return path not in _OTHERS and _BULK.fullmatch(path) is not None


def documents(lines: Sequence[Event]) -> list[Event]:
    """Return the documents of a bulk request: each follows a line with its action."""
    found: list[Event] = []
    is_action = True
    for line in lines:
        if is_action and len(line) == 1 and _ACTIONS.issuperset(line):
            is_action = False
            continue
        found.append(line)
        is_action = True
    return found


def created() -> Reply:
    """Return the answer to one document."""
    return reply_with(201, {"result": "created"})


def bulk_created(count: int) -> Reply:
    """Return the answer to a bulk request of so many documents."""
    item = {"create": {"status": 201, "result": "created"}}
    return Reply(200, json.dumps({"errors": False, "items": [item] * count}, separators=(",", ":")).encode())
