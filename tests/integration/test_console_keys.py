"""Promises of the page of keys: a key's text is shown once, its last use before it is revoked, and nothing happens by mistake."""

import html
import re

import pytest

from aegis_stream.domain.times import to_text
from support.api import START, Caller, make_event
from support.console import Visitor

HOME = "/console/o/org_abc"
KEYS = HOME + "/keys"
_TEXT = re.compile(r"aegis_sk_[A-Za-z0-9_-]{43}")
_STATE = re.compile(r'name="state" value="([^"]*)"')


@pytest.fixture
async def visitor(world, tenant):
    """Somebody who is signed in with the admin key."""
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    return visitor


async def id_of(tenant, scope):
    """Return the id of a key by its scope."""
    [found] = [one for one in (await tenant.admin.get("/api-keys")).json()["data"] if one["scope"] == scope]
    return found["id"]


def state_in(page):
    """Return what the forms of a page say about the key."""
    return html.unescape(_STATE.search(page)[1])


async def test_keys_are_listed_with_their_last_use(world, tenant, visitor):
    """Every key has its scope, its end, when and from where it was used, and how many events it recorded; no text of a key."""
    await tenant.ingest.send(make_event(), "application/json")
    world.clock.advance(180)
    await visitor.get(KEYS)
    row = visitor.page.partition(f'data-row="{await id_of(tenant, "ingest")}"')[2].partition("</tr>")[0]

    assert tenant.ingest.key[-4:] in row
    assert "3 min ago" in row
    assert "127.0.0.1" in row
    assert '<td data-label="Events in an hour" class="figure">1</td>' in row
    assert _TEXT.search(visitor.page) is None


async def test_a_key_is_made_and_shown_once(world, tenant, visitor):
    """The page after the form has the text of the key, which works, and commands to send an event; no other page has it."""
    await visitor.get(KEYS)
    answer = await visitor.post(KEYS, {"name": "<b>collector</b>", "scope": "ingest", "expires": "30"})
    text = _TEXT.search(answer.text)[0]
    sent = await Caller(world.client, tenant.org_id, text).send(make_event(), "application/json")
    await visitor.get(KEYS)
    [made] = [
        one for one in (await tenant.admin.get("/api-keys")).json()["data"] if "collector" in one["name"]
    ]

    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert "&lt;b&gt;collector" in answer.text
    assert "curl --fail-with-body" in html.unescape(answer.text)
    assert sent.status_code == 202
    assert made["expires_at"] == to_text(START + 30 * 86_400_000_000)
    assert text not in visitor.page


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "x" * 201}, "characters"),
        ({"name": "ok", "scope": "root"}, "must be one of"),
        ({"name": "ok", "expires": "1"}, "must be one of"),
    ],
)
async def test_a_wrong_form_makes_no_key(tenant, visitor, fields, words):
    """What is wrong is said, what was typed stays, and no key is made."""
    await visitor.get(KEYS)
    answer = await visitor.post(KEYS, fields)

    assert answer.status_code == 422
    assert words in answer.text
    assert f'value="{fields["name"]}"' in answer.text
    assert len((await tenant.admin.get("/api-keys")).json()["data"]) == 3


async def test_a_key_is_rotated_with_an_overlap(world, tenant, visitor):
    """The new key works at once, the old one until the overlap is over."""
    key_id = await id_of(tenant, "read")
    await visitor.get(f"{KEYS}/{key_id}")
    answer = await visitor.post(
        f"{KEYS}/{key_id}/rotate", {"state": state_in(visitor.page), "overlap": "3600"}
    )
    new = Caller(world.client, tenant.org_id, _TEXT.search(answer.text)[0])
    during = [(await one.get("")).status_code for one in (tenant.read, new)]
    world.clock.advance(3601)
    afterwards = [(await one.get("")).status_code for one in (tenant.read, new)]

    assert answer.status_code == 201
    assert "The old key ends in an hour." in answer.text
    assert (during, afterwards) == ([200, 200], [401, 200])


async def test_a_key_is_revoked_after_its_word(world, tenant, visitor):
    """The page says who used the key last; without the typed word nothing happens, with it the key opens nothing."""
    await tenant.ingest.send(make_event(), "application/json")
    world.clock.advance(180)
    key_id = await id_of(tenant, "ingest")
    await visitor.get(f"{KEYS}/{key_id}")
    told, state = visitor.page, state_in(visitor.page)
    refused = await visitor.post(f"{KEYS}/{key_id}/revoke", {"state": state, "word": "yes"})
    before = (await tenant.ingest.send(make_event("e2"), "application/json")).status_code
    answer = await visitor.post(f"{KEYS}/{key_id}/revoke", {"state": state, "word": "revoke"})
    await visitor.get(answer.headers["location"])
    world.clock.advance(2)

    assert "It was used 3 min ago by 127.0.0.1, and recorded 1 event in the last hour." in told
    assert (refused.status_code, before) == (422, 202)
    assert "must be the word revoke" in refused.text
    assert (answer.status_code, answer.headers["location"]) == (303, KEYS)
    assert "The key was revoked" in visitor.page
    assert (await tenant.ingest.send(make_event("e3"), "application/json")).status_code == 401


async def test_a_key_that_somebody_changed_meanwhile_stays(tenant, visitor):
    """A form of a key that was rotated or revoked after the page was opened is refused with 409, and changes nothing."""
    key_id = await id_of(tenant, "read")
    await visitor.get(f"{KEYS}/{key_id}")
    form = {"state": state_in(visitor.page), "word": "revoke", "overlap": "0"}
    await tenant.admin.post(f"/api-keys/{key_id}/rotate", json={"overlap_seconds": 600})
    rotated = [await visitor.post(f"{KEYS}/{key_id}/{what}", form) for what in ("revoke", "rotate")]
    still = (await tenant.read.get("")).status_code
    await tenant.admin.delete(f"/api-keys/{key_id}")
    revoked = await visitor.post(f"{KEYS}/{key_id}/revoke", form)

    assert [one.status_code for one in (*rotated, revoked)] == [409, 409, 409]
    assert "was changed after the page was opened" in rotated[0].text
    assert "was revoked after the page was opened" in revoked.text
    assert still == 200


async def test_a_key_that_may_read_sees_no_key(world, tenant):
    """A read session has neither the list nor a control, and the calls behind them are 403."""
    visitor = Visitor(world)
    await visitor.sign_in(tenant.read.key)
    key_id = await id_of(tenant, "ingest")
    await visitor.get(KEYS)
    shown = visitor.page
    answers = [
        await visitor.post(KEYS, {"name": "mine", "scope": "admin"}),
        await visitor.get(f"{KEYS}/{key_id}"),
        await visitor.post(f"{KEYS}/{key_id}/rotate"),
        await visitor.post(f"{KEYS}/{key_id}/revoke", {"word": "revoke"}),
    ]

    assert key_id not in shown
    assert 'action="' + KEYS not in shown
    assert [one.status_code for one in answers] == [403] * 4


async def test_a_key_of_another_organization_is_not_there(world, visitor):
    """The page of another organization's key is 404, and its forms do nothing."""
    other = await world.make_organization("org_other")
    key_id = await id_of(other, "read")

    assert (await visitor.get(f"{KEYS}/{key_id}")).status_code == 404
    assert (await visitor.post(f"{KEYS}/{key_id}/revoke", {"word": "revoke"})).status_code == 409
    assert (await other.read.get("")).status_code == 200


async def test_the_last_use_of_a_session_counts(world, tenant, visitor):
    """A key that is used in the console is shown as used then."""
    world.clock.advance(120)
    await visitor.get(KEYS)
    row = visitor.page.partition(f'data-row="{await id_of(tenant, "admin")}"')[2].partition("</tr>")[0]

    assert "just now" in row
    assert "yours" in row
