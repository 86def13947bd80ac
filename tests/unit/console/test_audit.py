"""An event of an action becomes a sentence, whatever it holds."""

import json

import pytest

from aegis_stream.console.actions import NOT_SHOWN, Change, shown_action
from aegis_stream.console.audit import Wanted
from aegis_stream.domain.ids import Micros
from aegis_stream.ports import LogEntry

BASE = "/console/o/org_abc"


def entry(event):
    """Return an event of the log; a text is taken as it is."""
    body = event if isinstance(event, str) else json.dumps(event)
    return LogEntry(7, "adm_1", Micros(1000), "aegis.audit_stream.admin", None, body)


def action(**audit):
    """Return the event of a change of a destination."""
    target = {"type": "destination", "id": "dst_1", "name": "Elastic"}
    return {
        "event": {"action": "destination_change"},
        "user": {"id": "key_1", "name": "ci"},
        "source": {"ip": "192.0.2.7"},
        "aegis": {"audit": {"target": target} | audit},
    }


def test_an_action_has_its_parts():
    """Actor, words, target with its page, address, and how many were concerned."""
    shown = shown_action(entry(action(count=42)), BASE)

    assert (shown.actor, shown.words, shown.target) == ("ci", "changed destination", "Elastic")
    assert (shown.target_href, shown.address, shown.affected) == (f"{BASE}/d/dst_1", "192.0.2.7", "42")


def test_only_what_changed_is_shown():
    """A value that is the same before and after is left out; one that is a secret is named and not shown."""
    shown = shown_action(
        entry(
            action(
                before={"name": "a", "format": "json"},
                after={"name": "b", "format": "json", "filter": {"datasets": ["x"]}},
                changed=["name", "auth_header_value"],
            )
        ),
        BASE,
    )

    assert shown.changes == [
        Change("name", "a", "b"),
        Change("filter", "–", '{"datasets":["x"]}'),
        Change("auth_header_value", NOT_SHOWN, NOT_SHOWN),
    ]


@pytest.mark.parametrize(
    "event",
    [
        "",
        "null",
        "[1]",
        "[" * 2000,
        {"user": [], "event": 5, "aegis": "x", "source": None},
        {"user": {"name": 5, "id": None}, "aegis": {"audit": {"target": [], "before": 1, "after": "x"}}},
        action(changed={"a": 1}, before={"x": None}, after={}),
        action(changed=[None, 5, "x"], count=True),
        action(target={"type": "destination", "id": "../../x", "name": "y" * 10_000}),
    ],
)
def test_whatever_an_event_holds_is_shown(event):
    """No event fails the page, no text is without bound, and no id leads out of the organization's pages."""
    shown = shown_action(entry(event), BASE)

    assert shown.actor
    assert shown.words
    assert len(shown.target) <= 300
    assert "../" not in shown.target_href


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        (Wanted("", "", ""), ()),
        (Wanted("key_1", "", ""), (("user.id", "key_1"),)),
        (Wanted("ci", "", ""), (("user.name", "ci"),)),
        (Wanted("operator", "key_create", ""), (("user.id", "operator"), ("event.action", "key_create"))),
        (Wanted("", "", "dst_1"), (("aegis.audit.target.id", "dst_1"),)),
        (Wanted("", "", "Elastic prod"), (("aegis.audit.target.name", "Elastic prod"),)),
    ],
)
def test_what_is_typed_becomes_a_filter(wanted, fields):
    """Ids are compared with ids, everything else with names."""
    assert wanted.as_filter().fields == fields


def test_a_link_keeps_the_filter():
    """The query of a link has what is wanted, quoted, and what the link changes."""
    assert Wanted("a&b", "", "x").as_query(target="y z", before="5") == "?actor=a%26b&target=y+z&before=5"
    assert Wanted("", "", "").as_query() == ""
