"""Promises of the console's frame: who gets in, what every answer carries, what another site cannot make a browser do."""

import html

import pytest

from aegis_stream.console.overview import FIRST_TYPES
from aegis_stream.control import overview
from support.api import OPERATOR_KEY
from support.console import Visitor

HOME = "/console/o/org_abc"


async def test_the_root_leads_to_the_console(world):
    """Whoever opens the service in a browser comes to the sign-in page."""
    visitor = Visitor(world)
    first = await visitor.get("/")
    page = await visitor.get(first.headers["location"])

    assert (first.status_code, first.headers["location"]) == (303, "/console")
    assert page.status_code == 200
    assert "API key or operator key" in page.text


@pytest.mark.parametrize("scope", ["admin", "read"])
async def test_a_key_signs_in_and_out(world, scope):
    """A key that may read opens its organization's overview; after signing out the page is closed."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    answer = await visitor.sign_in(tenant.by_scope(scope).key)
    inside = visitor.page
    await visitor.post("/console/sign-out")
    outside = await visitor.get(HOME)

    assert answer.headers["location"] == HOME
    assert "Organization org_abc" in inside
    assert ("New destination" in inside) == (scope == "admin")
    assert outside.headers["location"] == f"/console?next_path={HOME}"


async def test_a_wrong_key_is_refused_in_the_words_of_the_api(world):
    """A wrong key stays on the sign-in page with the API's words, and is not repeated."""
    await world.make_organization()
    visitor = Visitor(world)
    answer = await visitor.sign_in("aegis_sk_wrong")

    assert answer.status_code == 401
    assert "unknown API key: it may be mistyped, revoked or expired" in answer.text
    assert "aegis_sk_wrong" not in answer.text
    assert not visitor.cookies


async def test_an_ingest_key_cannot_sign_in(world):
    """A key that can only send events is told so."""
    tenant = await world.make_organization()
    answer = await Visitor(world).sign_in(tenant.ingest.key)

    assert answer.status_code == 403
    assert "scope ingest" in answer.text


async def test_a_revoked_key_ends_its_session(world):
    """The next request after a key was revoked leads to the sign-in page."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.read.key)
    keys = (await tenant.admin.get("/api-keys")).json()["data"]
    (key_id,) = [one["id"] for one in keys if one["scope"] == "read"]
    await tenant.admin.delete(f"/api-keys/{key_id}")
    answer = await visitor.get(HOME)

    assert answer.headers["location"].startswith("/console?")


@pytest.mark.parametrize(
    ("idle_s", "open_again"), [(3500, True), (3700, False)], ids=["within an hour", "after an hour"]
)
async def test_a_session_ends_when_nobody_uses_it(world, idle_s, open_again):
    """A session is open for an hour after its last request."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    world.clock.advance(3000)
    await visitor.get(HOME)
    world.clock.advance(idle_s)
    answer = await visitor.get(HOME)

    assert (answer.status_code == 200) == open_again


async def test_another_organization_does_not_exist(world):
    """The pages of another organization are 404, like its objects in the API."""
    tenant = await world.make_organization()
    await world.make_organization("org_other")
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)

    assert (await visitor.get("/console/o/org_other")).status_code == 404


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"csrf": ""}, {}),
        ({"csrf": "x" * 24}, {}),
        ({}, {"sec_fetch_site": "cross-site"}),
        ({}, {"sec_fetch_site": "same-site"}),
    ],
    ids=["no token", "another token", "another site", "another host of the site"],
)
async def test_another_site_cannot_send_our_forms(world, fields, headers):
    """A form without the session's token, or one that another site sent, changes nothing."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    refused = await visitor.post("/console/sign-out", fields, **headers)

    assert refused.status_code == 403
    assert "nothing was done" in refused.text
    assert (await visitor.get(HOME)).status_code == 200


async def test_every_answer_has_the_policy(world):
    """Pages, errors, redirects and files load nothing of others and stand in no frame."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    style = visitor.page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answers = [await visitor.get(path) for path in (HOME, "/", "/console/nope", style, "/console/o/org_x")]

    assert [one.status_code for one in answers] == [200, 303, 404, 200, 404]
    for one in answers:
        policy = one.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert one.headers["x-content-type-options"] == "nosniff"
        assert one.headers["referrer-policy"] == "no-referrer"
    assert "immutable" in answers[3].headers["cache-control"]
    assert {one.headers["cache-control"] for one in answers if one is not answers[3]} == {"no-store"}


async def test_the_operator_signs_in(world):
    """The operator key opens a session that belongs to no organization."""
    visitor = Visitor(world)
    answer = await visitor.post("/console", {"key": OPERATOR_KEY})

    assert answer.headers["location"] == "/console/operator"


async def test_a_name_of_a_destination_is_text(world):
    """What people call a destination never becomes markup."""
    tenant = await world.make_organization()
    await world.make_destination(tenant, name='<script>alert(1)</script>"><img>')
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)

    assert "<script>alert" not in visitor.page
    assert "&lt;script&gt;alert" in visitor.page


async def test_an_empty_organization_has_three_steps(world):
    """Whoever has nothing yet sees what to do, with commands that have address and organization filled in."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    text = html.unescape(visitor.page)

    assert text.count("to do:") == 3
    assert f"http://127.0.0.1/api/orgs/{tenant.org_id}/events" in text
    assert tenant.admin.key not in text
    assert [f'href="{HOME}/new?kind={one}"' in text for one in FIRST_TYPES] == [True] * len(FIRST_TYPES)


async def test_a_sample_event_does_the_first_step(world):
    """The button records an event, says so, and the step is done."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    answer = await visitor.post(HOME + "/sample")
    await visitor.get(answer.headers["location"])
    first = visitor.page
    await visitor.get(HOME)
    events = (await tenant.read.get("/events")).json()["data"]

    assert "A sample event was recorded as sequence 1." in first
    assert "A sample event" not in visitor.page
    assert visitor.page.count("done:") == 1
    assert [one["event"]["aegis"]["decision"] for one in events] == ["ALLOWED_WITH_MASKING"]


async def test_a_key_that_may_read_changes_nothing(world):
    """The controls are absent for a read key, and the calls behind them are 403."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.read.key)
    refused = await visitor.post(HOME + "/sample")

    assert "Send one for me" not in visitor.page.partition("<h1>")[0]
    assert refused.status_code == 403
    assert not (await tenant.read.get("/events")).json()["data"]


@pytest.mark.parametrize("path", ["", "/deliveries", "/keys"])
async def test_a_page_reads_the_overview_once(world, monkeypatch, path):
    """What the frame shows and what the page shows come from one read."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    read, reads = overview.read, []

    async def counted(*given):
        reads.append(given)
        return await read(*given)

    monkeypatch.setattr(overview, "read", counted)
    answer = await visitor.get(HOME + path)

    assert answer.status_code == 200
    assert len(reads) == 1
