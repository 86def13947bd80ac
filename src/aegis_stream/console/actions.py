"""One action of the audit trail as a sentence, with the values before and after. Names are what people chose: they may be anything."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from aegis_stream.domain.audit import ACTIONS
from aegis_stream.domain.ids import Micros
from aegis_stream.ports import LogEntry

from .page import path_part

CHANGES_MAX = 40
"""Most changed fields of one action that are shown."""
VALUE_CHARACTERS_MAX = 300
NOT_SHOWN = "not shown"
"""In place of a value that is a secret."""


class Change(NamedTuple):
    """One field before and after."""

    field: str
    before: str
    after: str


class ShownAction(NamedTuple):
    """One action as it is shown.

    Args:
        actor_id, target_id: by which the list can be filtered; "" for none.
        words: what was done, between actor and target.
        target_href: its page, "" for none.
        reason: why it failed, "" when it did not.
        address: where the call came from, "" when unknown.
    """

    event_id: str
    at: Micros
    actor: str
    actor_id: str
    words: str
    target: str
    target_id: str
    target_href: str
    action: str
    address: str
    reason: str
    affected: str
    changes: list[Change]


def shown_action(entry: LogEntry, base: str) -> ShownAction:
    """Read an action from its event. Total: whatever the event holds, there is something to show.

    Args:
        base: path of the organization's pages.
    """
    event = _decoded(entry.body)
    audit = _part(event, "aegis", "audit")
    user, target, happened = _part(event, "user"), _part(audit, "target"), _part(event, "event")
    action, target_id = _text(happened.get("action")), _text(target.get("id"))
    known = ACTIONS.get(action)
    return ShownAction(
        event_id=entry.event_id,
        at=entry.received_at,
        actor=_text(user.get("name")) or _text(user.get("id")) or "somebody",
        actor_id=_text(user.get("id")),
        words=known[2] if known is not None else action or "did something to",
        target=_text(target.get("name")) or target_id,
        target_id=target_id,
        target_href=_page_of(_text(target.get("type")), target_id, base),
        action=action,
        address=_text(_part(event, "source").get("ip") or _part(event, "source").get("address")),
        reason=_text(happened.get("reason")),
        affected=_text(audit.get("count")),
        changes=_changes(audit),
    )


def _changes(audit: Mapping[str, Any]) -> list[Change]:
    before, after = _part(audit, "before"), _part(audit, "after")
    changes = [
        Change(name, _value(before, name), _value(after, name))
        for name in [*before, *(name for name in after if name not in before)]
        if name not in before or name not in after or before[name] != after[name]
    ]
    changed = audit.get("changed")
    shown = {one.field for one in changes}
    hidden = [one for one in changed if isinstance(one, str)] if isinstance(changed, list) else []
    changes += [Change(name, NOT_SHOWN, NOT_SHOWN) for name in hidden if name not in shown]
    return changes[:CHANGES_MAX]


def _value(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "–"
    value = values[name]
    text = value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
    return text[:VALUE_CHARACTERS_MAX]


def _page_of(kind: str, target_id: str, base: str) -> str:
    if not target_id:  # such as a destination that was tested before it was saved
        return ""
    if kind == "destination":
        return f"{base}/d/{path_part(target_id)}"
    return f"{base}/keys/{path_part(target_id)}" if kind == "api_key" else ""


def _decoded(body: str) -> Mapping[str, Any]:
    try:
        event = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _part(place: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return a nested object; an empty one for anything else."""
    for name in names:
        found = place.get(name)
        place = found if isinstance(found, dict) else {}
    return place


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value[:VALUE_CHARACTERS_MAX]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
