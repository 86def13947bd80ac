"""What is done to destinations and keys, as events of the organization's own log: who, what, to what, before and after.

Shaped by the Elastic Common Schema. No secret is in them: a URL is always masked, a credential and a key's text are never
there, and where such a field changed its name stands under `changed`. docs/reference/audit.md describes them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import Any

import msgspec

from .destination import Destination, DestinationSpec, mask_url
from .ids import Micros, OrganizationId
from .oauth2 import OAuth2
from .organization import ApiKey
from .times import to_text

ADMIN_DATASET = "aegis.audit_stream.admin"

ACTIONS: dict[str, tuple[str, str, str]] = {
    "key_create": ("iam", "creation", "made key"),
    "key_revoke": ("iam", "deletion", "revoked key"),
    "key_rotate": ("iam", "change", "rotated key"),
    "sign_in_refuse": ("authentication", "denied", "was refused with key"),
    "destination_create": ("configuration", "creation", "made destination"),
    "destination_change": ("configuration", "change", "changed destination"),
    "destination_pause": ("configuration", "change", "paused destination"),
    "destination_resume": ("configuration", "change", "resumed destination"),
    "destination_test": ("configuration", "access", "sent a test event to destination"),
    "destination_delete": ("configuration", "deletion", "deleted destination"),
    "replay_start": ("configuration", "start", "started a replay to destination"),
    "replay_cancel": ("configuration", "end", "cancelled a replay to destination"),
    "dead_letters_redrive": ("configuration", "start", "redrove dead letters of destination"),
    "dead_letters_purge": ("configuration", "deletion", "purged dead letters of destination"),
    "vault_rotate": ("configuration", "change", "sealed credentials under a new master key in organization"),
}
"""Every action: its ECS category and type, and the words between who did it and what to."""

_SHOWN = (
    *("name", "enabled", "format", "filter", "batch", "retry"),
    *("auth_header_name", "compression"),
)
"""Fields of a destination that are shown as they are; of others only that they changed."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something.

    Args:
        id: the key's id, "operator" or "command_line".
        role: the key's scope, or the id again.
        address: where the call came from, None where that is not known.
    """

    id: str
    name: str
    role: str
    address: str | None = None


COMMAND_LINE = Actor("command_line", "aegis command line", "command_line")


@dataclass(frozen=True, slots=True)
class AdminAction:
    """What was done.

    Args:
        action: one of ACTIONS.
        kind, id, name: what it was done to.
        before, after: how that was and is, secrets left out; None where there is nothing to tell.
        changed: names of the fields that changed, those of secrets included.
        count: how many were concerned: events, dead letters, credentials.
        failure: why it did not succeed; None where it did.
    """

    action: str
    kind: str
    id: str
    name: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    changed: tuple[str, ...] = ()
    count: int | None = None
    failure: str | None = None


def admin_event(
    admin_action: AdminAction, actor: Actor, *, org_id: OrganizationId, event_id: str, now: Micros
) -> str:
    """Write the event that tells of an admin action, as JSON text."""
    category, kind, words = ACTIONS[admin_action.action]
    audit: dict[str, Any] = {
        "target": {"type": admin_action.kind, "id": admin_action.id, "name": admin_action.name}
    }
    details = {
        "before": admin_action.before,
        "after": admin_action.after,
        "changed": admin_action.changed or None,
        "count": admin_action.count,
    }
    audit |= {name: value for name, value in details.items() if value is not None}
    event = {
        "@timestamp": to_text(now),
        "message": f"{actor.name or actor.id} {words} {admin_action.name or admin_action.id}",
        "event": {
            "id": event_id,
            "kind": "event",
            "category": [category],
            "type": [kind],
            "action": admin_action.action,
            "outcome": "success" if admin_action.failure is None else "failure",
            "dataset": ADMIN_DATASET,
            **({"reason": admin_action.failure} if admin_action.failure is not None else {}),
        },
        "user": {"id": actor.id, "name": actor.name, "roles": [actor.role]},
        **({"source": _source(actor.address)} if actor.address is not None else {}),
        "aegis": {"audit": audit},
        "organization": {"id": org_id},
    }
    return msgspec.json.encode(event).decode()


def destination_action(action: str, destination: Destination, **details: Any) -> AdminAction:
    """Return an admin action done to a destination; `details` are further fields of AdminAction."""
    return AdminAction(action, "destination", destination.dst_id, destination.spec.name, **details)


def destination_change(action: str, before: DestinationSpec, after: Destination) -> AdminAction:
    """Return the admin action that made a destination what it is: only what changed is told."""
    changed = tuple(
        one.name for one in fields(before) if getattr(before, one.name) != getattr(after.spec, one.name)
    )
    was, now = destination_view(before), destination_view(after.spec)
    shown = {_VIEWED_AS.get(name, name) for name in changed}
    return destination_action(
        action,
        after,
        before={name: value for name, value in was.items() if name in shown},
        after={name: value for name, value in now.items() if name in shown},
        changed=changed,
    )


_VIEWED_AS = {
    "auth_header_value": "auth_header_set",
    "headers": "header_names",
    "ca_certificate": "ca_certificate_sha256",
}


def destination_view(spec: DestinationSpec) -> dict[str, Any]:
    """Show a destination without what opens it: its URL masked, its credential only as there or not, headers by name."""
    pem = spec.ca_certificate
    return {
        "url": mask_url(spec.url),
        "auth_header_set": spec.auth_header_value is not None,
        "header_names": spec.header_names,
        "oauth2": _oauth2_view(spec.oauth2),
        "ca_certificate_sha256": hashlib.sha256(pem.encode()).hexdigest() if pem is not None else None,
        **{name: getattr(spec, name) for name in _SHOWN},
    }


def _oauth2_view(oauth2: OAuth2 | None) -> dict[str, str] | None:
    if oauth2 is None:
        return None
    return {
        "token_url": mask_url(oauth2.token_url),
        "client_id": oauth2.client_id,
        "scope": oauth2.scope,
    }


def key_action(action: str, key: ApiKey, **details: Any) -> AdminAction:
    """Return an admin action done to a key; `details` are further fields of AdminAction."""
    return AdminAction(action, "api_key", key.key_id, key.name, **details)


def key_view(key: ApiKey) -> dict[str, Any]:
    """Show a key without its text."""
    expires_at = to_text(key.expires_at) if key.expires_at is not None else None
    return {"id": key.key_id, "name": key.name, "scope": key.scope.value, "expires_at": expires_at}


def _source(address: str) -> dict[str, str]:
    try:
        return {"ip": str(ip_address(address))}
    except ValueError:
        return {"address": address[:100]}
