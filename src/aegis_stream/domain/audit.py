"""Administrative actions as events of the organization's own log: who did what, to what, before and after.

In the shape of the Elastic Common Schema. They contain no secret: a URL is always masked, a credential and the text of a key
are omitted, and when such a field changed, its name is in `changed`. docs/reference/audit.md describes them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import Any

import msgspec

from .console_link import ConsoleLink
from .destination import Destination, DestinationSpec, mask_url
from .ids import Micros, OrganizationId
from .oauth2 import OAuth2
from .organization import ApiKey
from .times import to_text

ADMIN_DATASET = "aegis.audit_stream.admin"

ACTIONS: dict[str, tuple[str, str, str]] = {
    "key_create": ("iam", "creation", "created key"),
    "key_revoke": ("iam", "deletion", "revoked key"),
    "key_rotate": ("iam", "change", "rotated key"),
    "sign_in_refuse": ("authentication", "denied", "was rejected with key"),
    "console_link_create": ("iam", "creation", "created console link"),
    "console_link_delete": ("iam", "deletion", "deleted console link"),
    "console_link_use": ("authentication", "start", "signed in with console link"),
    "destination_create": ("configuration", "creation", "created destination"),
    "destination_change": ("configuration", "change", "changed destination"),
    "destination_pause": ("configuration", "change", "paused destination"),
    "destination_resume": ("configuration", "change", "resumed destination"),
    "destination_test": ("configuration", "access", "sent a test event to destination"),
    "destination_delete": ("configuration", "deletion", "deleted destination"),
    "replay_start": ("configuration", "start", "started a replay to destination"),
    "replay_cancel": ("configuration", "end", "cancelled a replay to destination"),
    "dead_letters_redrive": ("configuration", "start", "redrove dead letters of destination"),
    "dead_letters_purge": ("configuration", "deletion", "purged dead letters of destination"),
    "dead_letters_job_cancel": ("configuration", "end", "cancelled a job on dead letters of destination"),
    "dead_letters_job_end": ("configuration", "end", "finished a job on dead letters of destination"),
    "event_send": ("configuration", "start", "resent event"),
    "operator_enter": ("authentication", "start", "entered, to read, organization"),
    "operator_write": ("authentication", "start", "asked to make changes in organization"),
    "quotas_change": ("configuration", "change", "changed quotas of organization"),
    "proof_change": ("configuration", "change", "chose how the log is sealed of"),
    "proof_restart": ("configuration", "start", "began another sealed log of"),
    "proof_key_create": ("configuration", "creation", "made the key that signs checkpoints of"),
    "proof_key_rotate": ("configuration", "change", "rotated the key that signs checkpoints of"),
    "vault_rotate": ("configuration", "change", "sealed credentials with a new master key in organization"),
}
"""Every action: its ECS category and type, and its words in the message between actor and target."""

_SHOWN = (
    *("name", "enabled", "format", "filter", "batch", "retry"),
    *("auth_header_name", "compression"),
)
"""Fields of a destination that are shown; of the others only that they changed."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who performs an action.

    Args:
        id: the key's id, the id of the console link, "operator" or "command_line".
        role: the scope of the key or link; for others the id.
        address: where the call came from; None when unknown.
    """

    id: str
    name: str
    role: str
    address: str | None = None


COMMAND_LINE = Actor("command_line", "aegis command line", "command_line")


@dataclass(frozen=True, slots=True)
class AdminAction:
    """An administrative action.

    Args:
        action: one of ACTIONS.
        kind, id, name: the target.
        before, after: the target before and after, without secrets; None where there is nothing to show.
        changed: names of the fields that changed, including those of secrets.
        count: number of events, dead letters or credentials concerned; None where there is none.
        failure: why it failed; None when it succeeded.
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
    """Return the event of an administrative action, as JSON text."""
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
    """Return an action on a destination; `details` are further fields of AdminAction."""
    return AdminAction(action, "destination", destination.dst_id, destination.spec.name, **details)


def destination_change(action: str, before: DestinationSpec, after: Destination) -> AdminAction:
    """Return the action that changed a destination, with the fields that changed."""
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
    """Show a destination without secrets: its URL masked, whether there is a credential, headers by name."""
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
    """Return an action on a key; `details` are further fields of AdminAction."""
    return AdminAction(action, "api_key", key.key_id, key.name, **details)


def key_view(key: ApiKey) -> dict[str, Any]:
    """Show a key, without its text."""
    expires_at = to_text(key.expires_at) if key.expires_at is not None else None
    return {"id": key.key_id, "name": key.name, "scope": key.scope.value, "expires_at": expires_at}


def console_link_action(action: str, link: ConsoleLink, **details: Any) -> AdminAction:
    """Return an action on a console link; `details` are further fields of AdminAction."""
    return AdminAction(action, "console_link", link.link_id, **details)


def console_link_view(link: ConsoleLink) -> dict[str, Any]:
    """Show a console link, without its token."""
    return {
        "id": link.link_id,
        "scope": link.scope.value,
        "expires_at": to_text(link.expires_at),
        "return_url": mask_url(link.return_url) if link.return_url else None,
    }


def _source(address: str) -> dict[str, str]:
    try:
        return {"ip": str(ip_address(address))}
    except ValueError:
        return {"address": address[:100]}
