"""Promises of admin events: their shape, and that they contain no secret."""

import json
from dataclasses import fields, replace

import pytest

from aegis_stream.domain.audit import (
    _SHOWN,
    ACTIONS,
    ADMIN_DATASET,
    COMMAND_LINE,
    Actor,
    AdminAction,
    admin_event,
    console_link_action,
    console_link_view,
    destination_action,
    destination_change,
    destination_view,
    key_action,
    key_view,
)
from aegis_stream.domain.console_link import ConsoleLink
from aegis_stream.domain.destination import BatchPolicy, Destination, DestinationSpec, Filter
from aegis_stream.domain.event import RESERVED_DATASETS, NewEvent
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.domain.organization import ApiKey, Scope
from aegis_stream.domain.parsing import parse_event

NOW = 1_780_000_000_000_000
ACTOR = Actor("key_1", "ci", "admin", "192.0.2.7")
SPEC = DestinationSpec(
    url="https://siem.example.com/receiver/v1/c4n4ryInTheUrl",
    auth_header_name="Authorization",
    auth_header_value="Bearer c4n4ry-token",
    name="SIEM",
    ca_certificate="-----BEGIN CERTIFICATE-----\nc4n4ry",
    headers=(("X-Access-Key", "c4n4ry-header"),),
    oauth2=OAuth2("https://login.example.com/t/c4n4ry/token", "client-1", "c4n4ry-client-secret", "siem"),
)
HIDDEN = {"url", "auth_header_value", "ca_certificate", "headers", "oauth2"}
TOKENS = {"token_url": "https://login.example.com/t/****oken", "client_id": "client-1", "scope": "siem"}
"""What is shown of its oauth2."""

CATEGORIES = {"authentication", "configuration", "iam"}
TYPES = {"access", "change", "creation", "deletion", "denied", "end", "start"}
"""Those of the Elastic Common Schema's values for event.category and event.type that are used here."""


def make_destination(spec: DestinationSpec = SPEC) -> Destination:
    """Build a destination."""
    return Destination(1, "dst_1", 7, "org_abc", spec, 1, NOW, NOW)


def make_event(admin_action: AdminAction, actor: Actor = ACTOR) -> dict:
    """Write the event of an admin action, and read it."""
    return json.loads(admin_event(admin_action, actor, org_id="org_abc", event_id="adm_1", now=NOW))


def test_an_event_tells_who_did_what_to_what():
    """Every part of the event has its place in the Elastic Common Schema."""
    admin_action = AdminAction("key_create", "api_key", "key_2", "collector", after={"scope": "ingest"})

    assert make_event(admin_action) == {
        "@timestamp": "2026-05-28T20:26:40.000000Z",
        "message": "ci created key collector",
        "event": {
            "id": "adm_1",
            "kind": "event",
            "category": ["iam"],
            "type": ["creation"],
            "action": "key_create",
            "outcome": "success",
            "dataset": "aegis.audit_stream.admin",
        },
        "user": {"id": "key_1", "name": "ci", "roles": ["admin"]},
        "source": {"ip": "192.0.2.7"},
        "aegis": {
            "audit": {
                "target": {"type": "api_key", "id": "key_2", "name": "collector"},
                "after": {"scope": "ingest"},
            }
        },
        "organization": {"id": "org_abc"},
    }


def test_what_has_no_name_is_told_by_its_id():
    """The message names actor and target by their ids where they have no names."""
    event = make_event(AdminAction("key_revoke", "api_key", "key_2"), replace(ACTOR, name=""))

    assert event["message"] == "key_1 revoked key key_2"
    assert event["user"] == {"id": "key_1", "name": "", "roles": ["admin"]}


def test_details_are_told_where_there_are_any():
    """Before, after, changed fields and the count have their places; an empty one is there, a missing one is not."""
    details = {"before": {"a": 1}, "after": {}, "changed": ["a"], "count": 0}

    action = destination_action("dead_letters_purge", make_destination(), **{**details, "changed": ("a",)})

    target = {"type": "destination", "id": "dst_1", "name": "SIEM"}
    assert make_event(action)["aegis"]["audit"] == {"target": target, **details}
    bare = destination_action("dead_letters_purge", make_destination())
    assert make_event(bare)["aegis"]["audit"] == {"target": target}


def test_a_console_link_is_shown_without_its_token():
    """The event of a link has its id, scope and expiry, and its way back with a mask."""
    back = "https://portal.example.com/back/c4n4ry-and-more"
    link = ConsoleLink(7, "lnk_1", "org_abc", Scope.READ, "key_1", back, NOW, NOW)

    audit = make_event(console_link_action("console_link_create", link, after=console_link_view(link)))[
        "aegis"
    ]

    assert audit == {
        "audit": {
            "target": {"type": "console_link", "id": "lnk_1", "name": ""},
            "after": {
                "id": "lnk_1",
                "scope": "read",
                "expires_at": "2026-05-28T20:26:40.000000Z",
                "return_url": "https://portal.example.com/back/****more",
            },
        }
    }
    assert console_link_view(replace(link, return_url=""))["return_url"] is None


def test_a_failure_has_its_reason():
    """The event of a failed action says so, with the reason."""
    event = make_event(AdminAction("destination_test", "destination", "dst_1", failure="answered 500"))[
        "event"
    ]

    assert (event["outcome"], event["reason"]) == ("failure", "answered 500")


@pytest.mark.parametrize(
    "actor, source",
    [
        (COMMAND_LINE, None),
        (replace(ACTOR, address="2001:db8::1"), {"ip": "2001:db8::1"}),
        (replace(ACTOR, address="unix socket"), {"address": "unix socket"}),
        (replace(ACTOR, address="x" * 1000), {"address": "x" * 100}),
    ],
)
def test_says_where_a_call_came_from(actor, source):
    """The source is an IP address if it is one; a long text is truncated."""
    assert make_event(AdminAction("key_revoke", "api_key", "key_1"), actor).get("source") == source


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_action_is_fit_for_the_log(action):
    """The event of every action is accepted from the service and rejected from clients; its values are those of ECS."""
    category, kind, words = ACTIONS[action]
    body = admin_event(
        AdminAction(action, "destination", "dst_1", '\u2028 "x"'),
        ACTOR,
        org_id="org_abc",
        event_id="adm_1",
        now=NOW,
    )

    inside = parse_event(body.encode(), "org_abc", NOW, lambda: "adm_x", reserved=True)
    outside = parse_event(body.encode(), "org_abc", NOW, lambda: "adm_x")

    assert (category in CATEGORIES, kind in TYPES) == (True, True)
    assert words
    assert isinstance(inside, NewEvent)
    assert (inside.event_id, inside.dataset, inside.body) == ("adm_1", ADMIN_DATASET, body)
    assert outside.field == "event.dataset"
    assert ADMIN_DATASET.startswith(RESERVED_DATASETS)


def test_a_destination_is_shown_without_its_secrets():
    """The URL is masked, the credential is shown only as set or not, the certificate as a fingerprint."""
    view = destination_view(SPEC)

    assert "c4n4ry" not in repr(view)
    assert (view["url"].startswith("https://siem.example.com/receiver/"), view["auth_header_set"]) == (
        True,
        True,
    )
    assert len(view["ca_certificate_sha256"]) == 64
    assert view["header_names"] == ["X-Access-Key"]
    bare = destination_view(replace(SPEC, auth_header_value=None, ca_certificate=None, headers=()))
    assert (bare["auth_header_set"], bare["ca_certificate_sha256"], bare["header_names"]) == (False, None, [])


def test_every_field_of_a_destination_is_shown_or_hidden_on_purpose():
    """Every field of a destination is either shown in these events or only named when it changes; a new one must be assigned."""
    assert set(_SHOWN) | HIDDEN == {one.name for one in fields(DestinationSpec)}
    assert not set(_SHOWN) & HIDDEN


@pytest.mark.parametrize(
    "changes, before, after",
    [
        ({"name": "new"}, {"name": "SIEM"}, {"name": "new"}),
        ({"enabled": False}, {"enabled": True}, {"enabled": False}),
        ({"auth_header_value": "Bearer c4n4ry-other"}, {"auth_header_set": True}, {"auth_header_set": True}),
        ({"auth_header_value": None}, {"auth_header_set": True}, {"auth_header_set": False}),
        (
            {"headers": (("X-Access-Key", "c4n4ry-other"),)},
            {"header_names": ["X-Access-Key"]},
            {"header_names": ["X-Access-Key"]},
        ),
        (
            {"headers": (("X-Scope-OrgID", "c4n4ry-t1"), ("X-B", "c4n4ry-b"))},
            {"header_names": ["X-Access-Key"]},
            {"header_names": ["X-Scope-OrgID", "X-B"]},
        ),
        (
            {"oauth2": replace(SPEC.oauth2, client_secret="c4n4ry-other")},
            {"oauth2": TOKENS},
            {"oauth2": TOKENS},
        ),
        ({"oauth2": None}, {"oauth2": TOKENS}, {"oauth2": None}),
        ({}, {}, {}),
    ],
    ids=str,
)
def test_a_change_tells_what_changed_and_nothing_else(changes, before, after):
    """The event of a change has the changed fields with their old and new values; of secrets only the names."""
    admin_action = destination_change("destination_change", SPEC, make_destination(replace(SPEC, **changes)))

    assert (admin_action.changed, admin_action.before, admin_action.after) == (tuple(changes), before, after)
    assert "c4n4ry" not in json.dumps(make_event(admin_action))


def test_a_changed_url_is_told_although_its_mask_is_the_same():
    """A URL that changed only in its masked part is named as changed."""
    other = replace(SPEC, url=SPEC.url.replace("InThe", "OfThe"))

    admin_action = destination_change("destination_change", SPEC, make_destination(other))

    assert admin_action.changed == ("url",)
    assert admin_action.before == admin_action.after != {}


@pytest.mark.parametrize("name", sorted({one.name for one in fields(DestinationSpec)}))
def test_no_change_of_any_field_shows_a_secret(name):
    """Whatever field changes, neither the old nor the new secret is in the event."""
    other = {
        "enabled": False,
        "filter": Filter(("a",)),
        "batch": BatchPolicy(1),
        "retry": replace(SPEC.retry, max_attempts=9),
        "headers": (("X-Access-Key", "c4n4ry-other"),),
        "oauth2": replace(SPEC.oauth2, client_id="client-2", client_secret="c4n4ry-other"),
    }
    changed = replace(SPEC, **{name: other.get(name, f"{getattr(SPEC, name)}x")})

    event = make_event(destination_change("destination_change", SPEC, make_destination(changed)))

    assert event["aegis"]["audit"]["changed"] == [name]
    assert "c4n4ry" not in json.dumps(event)


def test_a_key_is_shown_without_its_text():
    """The event of a key has its name, scope and expiry, and no part of its text."""
    key = ApiKey("key_1", 7, "org_abc", "ci", Scope.READ, b"c4n4ry" * 5 + b"xx", "x7Qa", NOW, NOW)

    event = make_event(key_action("key_create", key, after=key_view(key)))

    assert event["aegis"]["audit"]["after"] == {
        "id": "key_1",
        "name": "ci",
        "scope": "read",
        "expires_at": "2026-05-28T20:26:40.000000Z",
    }
    assert event["aegis"]["audit"]["target"] == {"type": "api_key", "id": "key_1", "name": "ci"}
    assert "x7Qa" not in json.dumps(event)
    assert key_view(replace(key, expires_at=None))["expires_at"] is None
