"""Promises of the audit trail: every action is a sentence with before and after, found by who, what and to what, and never markup."""

import html

import pytest

from aegis_stream.control import event_search
from support.api import OPERATOR_KEY, open_world
from support.console import Visitor

HOME = "/console/o/org_abc"
AUDIT = HOME + "/audit"


@pytest.fixture
async def world(tmp_path):
    """A running application that records actions."""
    async with open_world(tmp_path, audit_actions=True) as world:
        yield world


@pytest.fixture
async def visitor(world, tenant):
    """Somebody who is signed in with a key that may read."""
    visitor = Visitor(world)
    await visitor.sign_in(tenant.read.key)
    return visitor


def sentences(page):
    """Return the sentences of a page as text, the newest first."""
    parts = page.split('<li data-row="')[1:]
    found = [one.partition("<p>")[2].partition("</p>")[0] for one in parts]
    return [html.unescape(strip_tags(one)) for one in found]


def strip_tags(text):
    """Return what a person reads of a line."""
    out, inside = [], False
    for char in text:
        if char in "<>":
            inside = char == "<"
        elif not inside:
            out.append(char)
    return " ".join("".join(out).split())


async def test_actions_are_sentences_the_newest_first(world, tenant, visitor):
    """Who did what to what, with links to the target, and the values before and after."""
    one = await world.make_destination(tenant, name="Elastic prod")
    await tenant.admin.patch(f"/forwarding-destinations/{one}", json={"name": "Elastic new"})
    await tenant.admin.post("/api-keys", json={"name": "ci", "scope": "ingest"})
    await visitor.get(AUDIT)

    assert sentences(visitor.page) == [
        "first admin key created key ci.",
        "first admin key changed destination Elastic new.",
        "first admin key created destination Elastic prod.",
    ]
    assert f'href="{HOME}/d/{one}"' in visitor.page
    trail = visitor.page.partition('<ol class="action-list">')[2]
    changed = trail.partition("changed destination")[2].partition("</details>")[0]
    assert '<span class="mono">Elastic prod</span>' in changed
    assert '<span class="mono">Elastic new</span>' in changed
    assert "127.0.0.1" in changed


async def test_a_changed_secret_is_named_and_not_shown(world, tenant, visitor):
    """When a credential changed, the page says so, and holds neither the old one nor the new."""
    one = await world.make_destination(tenant, auth_header_value="Bearer old-s3cr3t")
    await tenant.admin.patch(
        f"/forwarding-destinations/{one}", json={"auth_header_value": "Bearer new-s3cr3t"}
    )
    await visitor.get(AUDIT)

    assert "auth_header_value" in visitor.page
    assert "not shown" in visitor.page
    assert "s3cr3t" not in visitor.page


async def test_actions_are_found_by_who_what_and_to_what(world, tenant, visitor):
    """Each filter alone and all together; they stand in the URL, and the form shows them."""
    one = await world.make_destination(tenant, name="Elastic prod")
    await tenant.admin.post(f"/forwarding-destinations/{one}/pause")
    await tenant.admin.post("/api-keys", json={"name": "ci"})
    await world.client.patch(
        "/api/orgs/org_abc/quotas",
        json={"stored_bytes_max": 5000},
        headers={"authorization": f"Bearer {OPERATOR_KEY}"},
    )
    found = {}
    for query in (
        "actor=operator",
        "actor=first+admin+key&action=key_create",
        "action=destination_pause",
        f"target={one}",
        "target=Elastic+prod&action=destination_create",
        "actor=nobody",
        f"actor={'x' * 257}",
    ):
        await visitor.get(f"{AUDIT}?{query}")
        found[query[:40]] = len(sentences(visitor.page))
        last = visitor.page

    assert list(found.values()) == [1, 1, 1, 2, 1, 0, 0]
    assert "at most 256 characters" in last
    await visitor.get(f"{AUDIT}?actor=operator&action=quotas_change")
    assert 'name="actor" value="operator"' in visitor.page
    assert '<option value="quotas_change" selected>' in visitor.page


async def test_older_actions_follow_on_the_next_page(tenant, visitor):
    """A page has fifty actions; the link to older ones keeps the filter and shows each of the others once."""
    for number in range(60):
        await tenant.admin.post("/api-keys", json={"name": f"k{number}"})
    await visitor.get(f"{AUDIT}?action=key_create")
    first = sentences(visitor.page)
    following = html.unescape(visitor.page.partition('rel="next" href="')[2].partition('"')[0])
    await visitor.get(following)

    assert (len(first), len(sentences(visitor.page))) == (50, 10)
    assert len({*first, *sentences(visitor.page)}) == 60
    assert "action=key_create" in following


async def test_actions_are_found_past_any_number_of_events(tenant, visitor):
    """However many other events came since, the list shows the newest action at once, and so does one with a filter."""
    await tenant.admin.post("/api-keys", json={"name": "ci"})
    for start in range(0, 21_000, 3000):
        body = b"\n".join(
            b'{"event":{"id":"e%d","dataset":"app"}}' % one for one in range(start, start + 3000)
        )
        await tenant.ingest.send(body, "application/x-ndjson")
    await visitor.get(AUDIT)
    all_of_them = visitor.page
    await visitor.get(f"{AUDIT}?target=ci")

    assert sentences(all_of_them) == sentences(visitor.page) == ["first admin key created key ci."]
    assert "Looked through" not in all_of_them


async def test_a_search_says_how_far_it_came(tenant, visitor, monkeypatch):
    """Where many actions do not meet a filter the search stops, says back to when it looked, and goes on from there."""
    monkeypatch.setattr(event_search, "SCAN_MAX", 20)
    await tenant.admin.post("/api-keys", json={"name": "ci"})
    for number in range(20):
        await tenant.admin.post("/api-keys", json={"name": f"k{number}"})
    await visitor.get(f"{AUDIT}?target=ci")
    first = visitor.page
    await visitor.get(html.unescape(first.partition('rel="next" href="')[2].partition('"')[0]))

    assert sentences(first) == []
    assert "Looked through 20 events" in first
    assert sentences(visitor.page) == ["first admin key created key ci."]


async def test_a_hostile_name_is_text(tenant, visitor):
    """What people call a key is shown as text in the sentence, in its values and in links."""
    hostile = '<script>alert(1)</script>"><img onerror=x>'
    await tenant.admin.post("/api-keys", json={"name": hostile})
    await visitor.get(AUDIT)

    assert "<script>alert" not in visitor.page
    assert "<img onerror" not in visitor.page
    assert visitor.page.count("&lt;script&gt;alert(1)") >= 2


async def test_another_organization_has_another_trail(world, tenant, visitor):
    """Actions of one organization are in no other trail."""
    other = await world.make_organization("org_other")
    await other.admin.post("/api-keys", json={"name": "theirs"})
    await visitor.get(AUDIT)

    assert "theirs" not in visitor.page
    assert (await visitor.get("/console/o/org_other/audit")).status_code == 404


async def test_a_trail_that_is_off_says_so(tmp_path):
    """Where actions are not recorded, the page says which setting that is."""
    async with open_world(tmp_path, audit_actions=False) as world:
        tenant = await world.make_organization()
        visitor = Visitor(world)
        await visitor.sign_in(tenant.read.key)
        await visitor.get(AUDIT)

    assert "AEGIS_AUDIT_ACTIONS=false" in visitor.page


async def test_the_overview_shows_the_newest_actions_and_who_sends(world, tenant):
    """The five newest actions are sentences there, and the keys that may send say whether they do; a read key sees no keys."""
    for number in range(6):
        await tenant.admin.post("/api-keys", json={"name": f"k{number}", "scope": "ingest"})
    await tenant.ingest.send(b'{"event":{"id":"e1"}}', "application/json")
    admin, reader = Visitor(world), Visitor(world)
    await admin.sign_in(tenant.admin.key)
    await admin.get(HOME)
    await reader.sign_in(tenant.read.key)
    await reader.get(HOME)
    changes = admin.page.partition("Recent changes</h2>")[2]
    sources = admin.page.partition("Sources</h2>")[2].partition("</table>")[0]

    assert changes.count("created key") == 5
    assert "k0" not in changes
    assert "sends" in sources
    assert "never used" in sources
    assert "Sources</h2>" not in reader.page
    assert "Recent changes</h2>" in reader.page
