"""Promises of links that open the console once: who makes them, what one opens, when its session ends."""

import asyncio
from urllib.parse import urlsplit

import pytest

from aegis_stream.control import console_links
from support.api import OPERATOR_KEY, make_event, open_world, problem_of
from support.console import Visitor

LINKS = "/console-links"
HOME = "/console/o/org_abc"
PAGE = "/console/link"


async def make(tenant, **body):
    """Make a link with the admin key; return the API's answer."""
    answer = await tenant.admin.post(LINKS, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def token_of(made):
    """Return the token of a link."""
    return urlsplit(made["url"]).fragment


async def follow(world, made):
    """Open a link with a new browser; return the browser and the answer to the button."""
    visitor = Visitor(world)
    await visitor.get(PAGE)
    answer = await visitor.post(PAGE, {"token": token_of(made)})
    if answer.status_code == 303:
        await visitor.get(answer.headers["location"])
    return visitor, answer


async def test_a_link_opens_the_console_once(world):
    """Opening the page does not use a link up; the first button does, and the second is told what to do."""
    tenant = await world.make_organization()
    made = await make(tenant)
    for _ in range(3):
        assert (await Visitor(world).get(PAGE)).status_code == 200
    visitor, first = await follow(world, made)
    _, second = await follow(world, made)

    assert first.headers["location"] == HOME
    assert "Organization org_abc" in visitor.page
    assert second.status_code == 401
    assert "it was used already, has expired, or was deleted" in second.text
    assert "Ask for a new one" in second.text


async def test_of_two_buttons_pressed_at_once_one_opens(world):
    """Two people with one link do not both get a session."""
    made = await make(await world.make_organization())
    answers = await asyncio.gather(*(follow(world, made) for _ in range(4)))

    assert sorted(answer.status_code for _, answer in answers) == [303, 401, 401, 401]


async def test_the_whole_url_may_be_pasted(world):
    """Without JavaScript the link is pasted as it is."""
    made = await make(await world.make_organization())
    answer = await Visitor(world).post(PAGE, {"token": f" {made['url']} "})

    assert answer.headers["location"] == HOME


@pytest.mark.parametrize("text", ["", "https://x.example/console/link", "x" * 3000, "aegis_cl_" + "x" * 43])
async def test_what_is_no_link_opens_nothing(world, text):
    """Nothing, another text or a guess is refused with words, and repeated nowhere."""
    await world.make_organization()
    visitor = Visitor(world)
    answer = await visitor.post(PAGE, {"token": text})

    assert answer.status_code == 401
    assert "ask for a new" in answer.text.lower()
    assert not text or text not in answer.text
    assert not visitor.cookies


async def test_used_expired_deleted_and_unknown_links_look_alike(world):
    """Whoever guesses does not learn which tokens were good once."""
    tenant = await world.make_organization()
    used, expired, deleted = [await make(tenant, expires_seconds=60) for _ in range(3)]
    await follow(world, used)
    await tenant.admin.delete(f"{LINKS}/{deleted['id']}")
    world.clock.advance(60)
    unknown = {"url": "http://aegis.test/console/link#aegis_cl_" + "x" * 43}
    texts = {(await follow(world, one))[1].text for one in (used, expired, deleted, unknown)}

    assert len(texts) == 1


@pytest.mark.parametrize(("scope", "changes"), [("read", 403), ("admin", 303)])
async def test_a_link_allows_what_its_scope_says(world, scope, changes):
    """A read link shows everything and changes nothing; an admin link changes this organization."""
    tenant = await world.make_organization()
    visitor, _ = await follow(world, await make(tenant, scope=scope))
    answer = await visitor.post(HOME + "/sample")

    assert answer.status_code == changes
    assert ("Send one for me" in visitor.page) == (scope == "admin")


async def test_a_session_by_link_stays_in_its_organization(world):
    """Another organization does not exist, and the operator's pages are closed."""
    tenant = await world.make_organization()
    await world.make_organization("org_other")
    visitor, _ = await follow(world, await make(tenant, scope="admin"))

    assert (await visitor.get("/console/o/org_other")).status_code == 404
    assert (await visitor.get("/console/operator")).status_code == 403
    assert (await visitor.post("/console/operator/enter", {"org_id": "org_other"})).status_code == 403
    assert "/console/operator" not in visitor.page


async def test_deleting_a_link_ends_its_session(world):
    """The next request after the deletion asks for a new link."""
    tenant = await world.make_organization()
    made = await make(tenant)
    visitor, _ = await follow(world, made)
    deleted = await tenant.admin.delete(f"{LINKS}/{made['id']}")
    answer = await visitor.get(HOME)

    assert deleted.status_code == 204
    assert answer.headers["location"] == f"{PAGE}?over=true"


async def test_revoking_the_key_that_made_a_link_ends_its_session(world):
    """A link lives no longer than its key: neither the session of a used one, nor one that is open."""
    tenant = await world.make_organization()
    key = (await tenant.admin.post("/api-keys", json={"name": "portal", "scope": "admin"})).json()
    headers = {"authorization": f"Bearer {key['api_key']}"}
    answers = [await tenant.admin.post(LINKS, json={}, headers=headers) for _ in range(2)]
    used, unused = [one.json() for one in answers]
    visitor, _ = await follow(world, used)
    await tenant.admin.delete(f"/api-keys/{key['id']}")

    assert (await visitor.get(HOME)).headers["location"] == f"{PAGE}?over=true"
    assert (await follow(world, unused))[1].status_code == 401


@pytest.mark.parametrize(
    ("idle_s", "open_again"), [(3500, True), (3700, False)], ids=["within an hour", "after an hour"]
)
async def test_a_session_by_link_ends_when_nobody_uses_it(world, idle_s, open_again):
    """It is open for an hour after its last request, as that of a key."""
    visitor, _ = await follow(world, await make(await world.make_organization()))
    world.clock.advance(idle_s)

    assert ((await visitor.get(HOME)).status_code == 200) == open_again


async def test_a_session_by_link_lasts_twelve_hours_at_most(world):
    """However busy, it ends."""
    visitor, _ = await follow(world, await make(await world.make_organization()))
    for _ in range(14):
        world.clock.advance(3000)
        last = await visitor.get(HOME)
    world.clock.advance(3000)

    assert last.status_code == 200
    assert (await visitor.get(HOME)).status_code == 303


async def test_links_are_listed_without_their_tokens(world):
    """The list says who made each, and when it was used; only the answer that made it has the URL."""
    tenant = await world.make_organization()
    used = await make(tenant)
    world.clock.advance(1)
    unused = await make(tenant, return_url="https://app.example.com/a#b")
    await follow(world, used)
    answer = await tenant.admin.get(LINKS)
    pages = await tenant.admin.all_pages(LINKS, 1)
    shown = answer.json()["data"]

    assert [one["id"] for one in shown] == [used["id"], unused["id"]]
    assert [one["used_at"] is None for one in shown] == [False, True]
    assert [one["return_url"] for one in shown] == [None, "https://app.example.com/a#b"]
    assert all(one["made_by"].startswith("key_") for one in shown)
    assert token_of(used) not in answer.text
    assert [len(one) for one in pages] == [1, 1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scope": "ingest"}, "scope"),
        ({"expires_seconds": 59}, "expires_seconds"),
        ({"expires_seconds": 604_801}, "expires_seconds"),
        ({"return_url": "javascript:alert(1)"}, "return_url"),
        ({"return_url": "http://app.example.com/"}, "return_url"),
        ({"return_url": "https://user:pw@app.example.com/"}, "return_url"),
        ({"return_url": "https://app.example.com/a b"}, "return_url"),
        ({"return_url": "https://app.example.com/" + "a" * 1000}, "return_url"),
        ({"return_url": ""}, "return_url"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_named(world, body, field):
    """A link that cannot be made says which field, and stores nothing."""
    tenant = await world.make_organization()
    answer = await tenant.admin.post(LINKS, json=body)

    problem_of(answer, 422, field)
    assert (await tenant.admin.get(LINKS)).json()["data"] == []


@pytest.mark.parametrize("url", ["http://localhost:3000/x", "http://127.0.0.1/", "http://[::1]:8080/", "https://a.example#/b"])  # fmt: skip
async def test_a_page_of_this_machine_may_be_returned_to(world, url):
    """Plain HTTP is allowed on loopback, where it crosses no network; fragments are kept."""
    made = await make(await world.make_organization(), return_url=url)

    assert made["return_url"] == url


@pytest.mark.parametrize("scope", ["read", "ingest"])
async def test_only_an_admin_key_makes_links(world, scope):
    """A link must not allow more than the key that makes it."""
    tenant = await world.make_organization()

    problem_of(await tenant.by_scope(scope).post(LINKS, json={}), 403)
    problem_of(await tenant.by_scope(scope).get(LINKS), 403)


async def test_an_organization_has_a_bounded_number_of_links(world, monkeypatch):
    """Beyond the limit the answer says so; expired links make room by themselves."""
    monkeypatch.setattr(console_links, "OPEN_MAX", 2)
    tenant = await world.make_organization()
    await make(tenant, expires_seconds=60)
    await make(tenant)
    refused = await tenant.admin.post(LINKS, json={})
    world.clock.advance(60)
    again = await tenant.admin.post(LINKS, json={})

    assert problem_of(refused, 409)["type"].endswith("/too-many-console-links")
    assert again.status_code == 201


async def test_sessions_count_too(world, monkeypatch):
    """Links whose sessions may go on are kept, and bounded as well."""
    monkeypatch.setattr(console_links, "KEPT_MAX", 2)
    tenant = await world.make_organization()
    await follow(world, await make(tenant))
    await follow(world, await make(tenant))
    refused = await tenant.admin.post(LINKS, json={})
    world.clock.advance(12 * 3600)
    again = await tenant.admin.post(LINKS, json={})

    assert (refused.status_code, again.status_code) == (409, 201)


async def test_guesses_are_limited(tmp_path):
    """Wrong tokens count like wrong keys from the same address; a good link still opens then."""
    async with open_world(tmp_path, failed_keys_per_minute=3) as world:
        made = await make(await world.make_organization())
        wrong = [await Visitor(world).post(PAGE, {"token": f"aegis_cl_{number}"}) for number in range(4)]
        key = await Visitor(world).post("/console", {"key": "aegis_sk_wrong"})
        _, good = await follow(world, made)

        assert [one.status_code for one in wrong] == [401, 401, 401, 429]
        assert "Try again in" in wrong[3].text
        assert key.status_code == 429
        assert good.status_code == 303


async def test_a_session_is_new_at_every_sign_in(world):
    """A cookie that was there before is not taken over: neither one of nobody, nor one of another session."""
    tenant = await world.make_organization()
    visitor, _ = await follow(world, await make(tenant))
    planted = dict(visitor.cookies)
    victim = Visitor(world, cookies=dict(planted))
    await victim.get(HOME)
    await victim.sign_in(tenant.admin.key)
    other = Visitor(world, cookies={"aegis-session": "AAAA"})
    await other.post(PAGE, {"token": token_of(await make(tenant))})
    sessions = [planted["aegis-session"], victim.cookies["aegis-session"], other.cookies["aegis-session"]]
    thief = Visitor(world, cookies=planted)
    await thief.get(HOME)

    assert len(set(sessions)) == 3
    assert "AAAA" not in sessions
    assert "Send one for me" not in thief.page


async def test_another_site_cannot_press_the_button(world):
    """A form of another site signs nobody in, and leaves the link open."""
    made = await make(await world.make_organization())
    refused = await Visitor(world).post(PAGE, {"token": token_of(made)}, sec_fetch_site="cross-site")

    assert refused.status_code == 403
    assert (await follow(world, made))[1].status_code == 303


async def test_the_audit_trail_tells_of_links(tmp_path):
    """Making, using and deleting a link are recorded, and what its visitor does bears the link's id."""
    async with open_world(tmp_path, audit_actions=True) as world:
        tenant = await world.make_organization()
        made = await make(tenant, scope="admin", return_url="https://app.example.com/secret-path/x")
        visitor, _ = await follow(world, made)
        await visitor.post(HOME + "/keys", {"name": "by link", "scope": "ingest", "expires": ""})
        await tenant.admin.delete(f"{LINKS}/{made['id']}")
        answer = await tenant.admin.get("/events", dataset="aegis.audit_stream.admin")
        recorded = [one["event"] for one in answer.json()["data"]]
        told = {one["event"]["action"]: one for one in recorded}

        assert told["console_link_create"]["aegis"]["audit"]["target"]["id"] == made["id"]
        assert told["console_link_use"]["user"]["id"] == made["id"]
        assert told["console_link_delete"]["aegis"]["audit"]["before"]["scope"] == "admin"
        by_link = [one["event"]["action"] for one in recorded if one["user"]["id"] == made["id"]]
        assert by_link == ["console_link_use", "key_create"]
        assert token_of(made) not in answer.text
        assert "secret-path/x" not in answer.text


async def test_a_link_of_the_operator_opens_the_operators_pages(world):
    """It begins a session like the operator key does, and is listed by no organization."""
    tenant = await world.make_organization()
    made = await console_links.create_for_operator(world.service.control)
    visitor = Visitor(world)
    answer = await visitor.post(PAGE, {"token": made.token})
    again = await Visitor(world).post(PAGE, {"token": made.token})
    page = await visitor.get("/console/operator")

    assert answer.headers["location"] == "/console/operator"
    assert page.status_code == 200
    assert again.status_code == 401
    assert (await tenant.admin.get(LINKS)).json()["data"] == []


async def test_a_link_is_shown_by_the_address_that_the_caller_used(world):
    """The URL leads to the host that the integrator reached, by HTTPS unless that is this machine."""
    tenant = await world.make_organization()
    answer = await tenant.admin.post(LINKS, json={}, headers={"host": "audit.example.com"})
    local = await tenant.admin.post(LINKS, json={}, headers={"host": "127.0.0.1:8700"})

    assert answer.json()["url"].startswith("https://audit.example.com/console/link#aegis_cl_")
    assert local.json()["url"].startswith("http://127.0.0.1:8700/console/link#aegis_cl_")


async def test_the_session_is_no_key_of_the_api(world):
    """The cookie opens the console alone, and events cannot be sent with it."""
    tenant = await world.make_organization()
    visitor, _ = await follow(world, await make(tenant, scope="admin"))
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    url = f"/api/orgs/{tenant.org_id}/events"
    answers = [
        await world.client.get(url, headers={"cookie": cookie}),
        await world.client.post(url, headers={"cookie": cookie}, content=make_event()),
        await world.client.get("/api/orgs", headers={"cookie": cookie, "authorization": OPERATOR_KEY}),
    ]

    assert [one.status_code for one in answers] == [401, 401, 401]


async def test_coming_by_a_link_is_no_first_event(tmp_path):
    """What people do is recorded in the same log, but the first step stays to do until an application sends an event."""
    async with open_world(tmp_path, audit_actions=True) as world:
        tenant = await world.make_organization()
        visitor, _ = await follow(world, await make(tenant, scope="admin"))
        before = visitor.page
        await tenant.ingest.send(make_event())
        after = await visitor.get(HOME)

    assert "Nothing is recorded and nothing is forwarded yet" in before
    assert before.count("to do:") == 3
    assert "Events are recorded" in after.text
    assert after.text.count("done:") == 1


@pytest.mark.parametrize(("scope", "count"), [("read", 0), ("admin", 1)])
async def test_the_first_sentence_offers_only_what_the_visitor_may_do(world, scope, count):
    """The button that would change something is absent for who may only read, on the page and in its live state."""
    tenant = await world.make_organization()
    visitor, _ = await follow(world, await make(tenant, scope=scope))
    live = (await visitor.get(HOME + "/live", accept="application/json")).json()

    assert (
        visitor.page.count('<a class="button" href="/console/o/org_abc/new">Add a destination</a>') == count
    )
    assert (live["sentence"]["remedy"] is not None) == bool(count)
