"""Promises of the form for a new destination: every kind's fields, nothing typed is lost, no secret comes back."""

import html
import re

import pytest

from aegis_stream.control.destination_types import FieldKind, destination_types, fill
from aegis_stream.domain.attempt import Response, RetryPolicy
from support.api import make_event
from support.console import Visitor

HOME = "/console/o/org_abc"
NEW = HOME + "/new"
TYPES = {one.id: one for one in destination_types()}
SECRETS = (FieldKind.SECRET, FieldKind.SECRET_URL)
CANARY = "c4n4ry-of-the-form"


@pytest.fixture
async def visitor(world, tenant):
    """Somebody who has signed in with an admin key."""
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    return visitor


def typed(one, **changes):
    """Return the fields of the form of a kind, filled with its examples."""
    values = {f.name: _example(f) for f in one.fields} | changes
    return {"kind": one.id, "name": f"My {one.name}"} | {f"v-{name}": value for name, value in values.items()}


def _example(field):
    if field.kind is FieldKind.SECRET_URL:
        return f"https://collect.example.com/receiver/v1/http/{CANARY}"
    return CANARY if field.kind is FieldKind.SECRET else field.example


def draft_on(page):
    """Return the sealed draft of a page."""
    return html.unescape(re.search(r'name="draft" value="([^"]*)"', page)[1])


@pytest.mark.parametrize("type_id", TYPES)
async def test_every_kind_has_its_fields_and_makes_its_destination(world, tenant, visitor, type_id):
    """The form shows exactly the fields of the kind; what is saved is what the kind's templates make of them."""
    one = TYPES[type_id]
    await visitor.get(f"{NEW}?kind={type_id}")
    names = re.findall(r'name="v-([a-z_]+)"', visitor.page)
    answer = await visitor.post(NEW, typed(one) | {"save": "1"})
    destination_id = answer.headers["location"].partition("/d/")[2].partition("/")[0]
    stored = (await world.stored(tenant, destination_id)).spec
    made = fill(one, {f.name: _example(f) for f in one.fields}, RetryPolicy())

    assert names == [f.name for f in one.fields]
    assert answer.status_code == 303
    assert (stored.url, stored.headers, stored.oauth2, stored.format) == (
        made.url, made.headers, made.oauth2, made.format,
    )  # fmt: skip
    assert (stored.auth_header_name, stored.auth_header_value) == (
        made.auth_header_name,
        made.auth_header_value,
    )
    assert stored.name == f"My {one.name}"


async def test_a_test_saves_nothing_and_keeps_what_was_typed(world, tenant, visitor):
    """After a failed test everything typed is still there, the secret sealed; it can be tested and saved without typing it again."""
    one = TYPES["generic-https"]
    world.sender.answers = [Response(401, b"who are you?", 8100), Response(202, b"", 8100)]
    await visitor.get(f"{NEW}?kind={one.id}")
    await visitor.post(
        NEW, typed(one) | {"test": "1", "datasets": "my.app, other.app", "decisions": "BLOCKED"}
    )
    failed = html.unescape(visitor.page)
    again = typed(one, secret="") | {
        "draft": draft_on(visitor.page),
        "datasets": "my.app",
        "decisions": "BLOCKED",
    }
    await visitor.post(NEW, again | {"test": "1"})
    succeeded = visitor.page
    nothing = (await tenant.read.get("/forwarding-destinations")).json()["data"]
    again["draft"] = draft_on(visitor.page)
    answer = await visitor.post(NEW, again | {"save": "1"})
    destination_id = answer.headers["location"].partition("/d/")[2].partition("/")[0]
    stored = (await world.stored(tenant, destination_id)).spec

    assert "does not accept the credential" in failed
    assert '<a href="#f-v-secret">Bearer token</a>' in failed
    assert "who are you?" in failed
    assert 'value="my.app, other.app"' in failed
    assert 'value="BLOCKED" checked' in failed
    assert 'value="My Another HTTPS endpoint"' in failed
    assert CANARY not in failed
    assert "Answered 202" in succeeded
    assert not nothing
    assert stored.auth_header_value == f"Bearer {CANARY}"
    assert stored.filter.datasets == ("my.app",)
    assert [dict(route.headers)["Authorization"] for route, _ in world.sender.posts] == [
        f"Bearer {CANARY}"
    ] * 2


async def test_a_taken_event_may_still_be_lost(world, visitor):
    """A test that was taken says what an answer of that product does not tell, and what was sent."""
    one = TYPES["generic-https"]
    await visitor.get(f"{NEW}?kind={one.id}")
    await visitor.post(NEW, typed(one) | {"test": "1"})
    page = html.unescape(visitor.page)

    assert "The test event was taken" in page
    assert one.trap in page
    assert "Authorization: ****" in page
    assert "forwarding_test" in page
    assert CANARY not in page


async def test_a_host_that_leads_nowhere_fails_at_its_name(world, visitor):
    """A name that does not exist and one that is forbidden show the same ladder; nothing typed is lost, nothing is sent."""
    one, pages = TYPES["generic-https"], []
    world.resolver.addresses |= {"a.example.com": [], "b.example.com": ["10.0.0.7"]}
    for host in ("a.example.com", "b.example.com"):
        await visitor.get(f"{NEW}?kind={one.id}")
        answer = await visitor.post(NEW, typed(one, url=f"https://{host}/in") | {"test": "1"})
        pages.append(visitor.page.partition('id="test"')[2].partition("</section>")[0])

        assert answer.status_code == 200
        assert f'value="https://{host}/in"' in visitor.page
        assert "It is kept" in visitor.page
    assert pages[0] == pages[1]
    assert '<li class="failed" data-stage="Name">' in pages[0]
    assert "AEGIS_ALLOWED_NETWORKS" in pages[0]
    assert '<a href="#f-v-url">URL</a>' in pages[0]
    assert world.sender.posts == []


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("url", "http://10.0.0.5/audit", "https"),
        ("url", "https://10.0.0.5/audit", "AEGIS_ALLOWED_NETWORKS"),
        ("url", "https://user:pw@siem.example.com/audit", "url"),
        ("url", "siem.example.com", "https://"),
        ("url", "", "is missing"),
        ("secret", "two\nlines", "visible ASCII"),
    ],
)
async def test_a_wrong_field_has_its_message(visitor, field, value, message):
    """What is wrong is said at the field, and all else is still there, the secret too."""
    one = TYPES["generic-https"]
    await visitor.get(f"{NEW}?kind={one.id}")
    answer = await visitor.post(NEW, typed(one, **{field: value}) | {"test": "1", "datasets": "my.app"})
    text = html.unescape(answer.text)

    assert answer.status_code == 422
    assert message.lower() in text.partition('class="problems"')[2].partition("</div>")[0].lower()
    assert f'href="#f-v-{field}"' in text
    assert 'aria-invalid="true"' in text
    assert 'value="my.app"' in text
    assert ("It is kept" in text) == (field != "secret" or bool(value))
    assert CANARY not in text


async def test_further_headers_are_saved_and_never_shown(world, tenant, visitor):
    """Headers beside the kind's own are checked at their rows, kept while other fields are mended, saved, and not shown again."""
    one = TYPES["generic-https"]
    await visitor.get(f"{NEW}?kind={one.id}")
    wrong = await visitor.post(
        NEW,
        typed(one)
        | {"save": "1", "h_name_0": "X-Tenant", "h_value_0": f"{CANARY}-0", "h_value_1": "nameless"},
    )
    reserved = typed(one) | {"draft": draft_on(visitor.page), "save": "1", "h_name_0": "X-Tenant"}
    refused = await visitor.post(NEW, reserved | {"h_name_1": "Host", "h_value_1": f"{CANARY}-1"})
    pages = visitor.page + wrong.text
    mended = reserved | {"draft": draft_on(visitor.page), "h_name_1": "X-Other"}
    answer = await visitor.post(NEW, mended)
    destination_id = answer.headers["location"].partition("/d/")[2].partition("/")[0]
    stored = (await world.stored(tenant, destination_id)).spec

    assert (wrong.status_code, refused.status_code, answer.status_code) == (422, 422, 303)
    assert 'href="#f-h_name_1"' in wrong.text
    assert 'href="#f-h_value_1"' in refused.text
    assert CANARY not in pages
    assert stored.headers == (("X-Tenant", f"{CANARY}-0"), ("X-Other", f"{CANARY}-1"))


async def test_a_draft_belongs_to_its_session(world, tenant, visitor):
    """A draft that somebody else sealed keeps nothing: its secret goes nowhere."""
    one = TYPES["generic-https"]
    await visitor.get(f"{NEW}?kind={one.id}")
    await visitor.post(NEW, typed(one, url="siem.example.com") | {"test": "1"})
    stolen = draft_on(visitor.page)
    other = Visitor(world)
    await other.sign_in((await world.make_organization("org_other")).admin.key)
    await other.get(f"/console/o/org_other/new?kind={one.id}")
    answer = await other.post(
        "/console/o/org_other/new", typed(one, secret="") | {"draft": stolen, "test": "1"}
    )

    assert answer.status_code == 422
    assert not world.sender.posts


async def test_a_filter_says_how_much_would_go(tenant, visitor):
    """The form counts which of the newest events the filter lets pass, and names their datasets."""
    one = TYPES["generic-https"]
    for number in range(3):
        await tenant.ingest.send(make_event(f"evt_{number}", dataset="my.app" if number else "other.app"))
    await visitor.get(f"{NEW}?kind={one.id}")
    await visitor.post(NEW, typed(one, url="siem.example.com") | {"test": "1", "datasets": "my.app"})

    assert (
        "2 of the newest 4 events would go." in html.unescape(visitor.page)
        or "2 of the newest 3 events" in visitor.page
    )
    assert '<option value="my.app">' in visitor.page


async def test_earlier_events_are_sent_by_a_replay(world, tenant, visitor):
    """Whoever asks for everything since a time gets a replay of it."""
    one = TYPES["generic-https"]
    await tenant.ingest.send(make_event("evt_1"))
    await visitor.get(f"{NEW}?kind={one.id}")
    answer = await visitor.post(
        NEW, typed(one) | {"save": "1", "start": "since", "since": "2026-05-01T00:00"}
    )
    destination_id = answer.headers["location"].partition("/d/")[2].partition("/")[0]
    running = (await tenant.read.get(f"/forwarding-destinations/{destination_id}/replays")).json()["data"]

    assert len(running) == 1


async def test_the_first_event_leads_to_its_query(world, tenant, visitor):
    """A sample event is sent from the page; when it is delivered the page shows the query that finds it there."""
    one = TYPES["elasticsearch"]
    await visitor.get(f"{NEW}?kind={one.id}")
    answer = await visitor.post(NEW, typed(one) | {"save": "1"})
    first = answer.headers["location"]
    destination_id = first.partition("/d/")[2].partition("/")[0]
    await visitor.get(first)
    answer = await visitor.post(HOME + "/sample", {"back": first, "with_id": "1"})
    looks_again = [(await visitor.get(first)).headers.get("refresh")]
    looks_again.append((await visitor.get(answer.headers["location"])).headers.get("refresh"))
    waiting = visitor.page
    event_id = answer.headers["location"].partition("event_id=")[2]
    head = (await tenant.read.get("")).json()["head_sequence"]
    await world.settle(tenant, destination_id, cursor=head, delivered=1)
    looks_again.append((await visitor.get(answer.headers["location"])).headers.get("refresh"))

    assert "pending" in waiting
    assert looks_again == [None, "2", None], "only while the event is on its way"
    assert f'event.id : "{event_id}"' in html.unescape(visitor.page)


async def test_a_kind_is_found_by_its_name(visitor):
    """The search of the kinds works without a script; what nobody knows has a way out."""
    await visitor.get(NEW + "?find=loki")
    found = visitor.page
    await visitor.get(NEW + "?find=nothing-like-that")

    assert "kind=grafana-loki" in found
    assert "kind=splunk" not in found
    assert "kind=generic-https" in visitor.page
