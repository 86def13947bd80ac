"""Promises of what keeps a page up to date, asked for without a stream: who gets it, what it holds."""

from types import SimpleNamespace

import pytest

from aegis_stream.console.gate import _visit, check_again
from aegis_stream.console.session import IDLE_S, Session
from aegis_stream.domain.ids import SECOND
from aegis_stream.errors import Unauthenticated
from support.api import make_event
from support.console import signed_in

LIVE = "/console/o/org_abc/live"
JSON = {"accept": "application/json"}


async def test_the_answer_changes_with_the_state(world, tenant):
    """The same state is 304 by its tag; after an event the answer is another one."""
    visitor = await signed_in(world, tenant.read.key)
    first = await visitor.get(LIVE, **JSON)
    same = await visitor.get(LIVE, **JSON, if_none_match=first.headers["etag"])
    await tenant.ingest.send(make_event("evt_1"))
    after = await visitor.get(LIVE, **JSON, if_none_match=first.headers["etag"])

    assert first.json()["cells"]["total.head"] == {"text": "0"}
    assert (same.status_code, same.content) == (304, b"")
    assert after.json()["cells"]["total.head"] == {"text": "1"}
    assert after.json()["cells"]["step.recorded"]["parts"] == ["✓", "done:"]
    assert first.headers["cache-control"] == "no-store"


async def test_every_cell_of_a_page_is_told(world, tenant):
    """No element is marked with a key that the stream does not know, on the overview and on a destination's page."""
    dst_id = await world.make_destination(tenant)
    await tenant.ingest.send(make_event("evt_1"))
    visitor = await signed_in(world, tenant.read.key)
    for path, about, drawn in (
        ("", "", "day"),
        (f"/d/{dst_id}", dst_id, "24h"),
        (f"/d/{dst_id}?range=30d", dst_id, "30d"),
        (f"/d/{dst_id}/attempts", dst_id, ""),
        ("/events", "", ""),
    ):
        page = (await visitor.get(f"/console/o/org_abc{path}")).text
        told = (await visitor.get(f"{LIVE}?about={about}&drawn={drawn}", **JSON)).json()
        keys = {part.partition('"')[0] for part in page.split('data-live="')[1:]}
        news = {part.partition('"')[0] for part in page.split('data-news="')[1:]}

        assert f'data-stream="{LIVE}?about={about}&amp;drawn={drawn}"' in page
        assert keys <= told["cells"].keys()
        assert news <= told["news"].keys()
        assert keys or news


async def test_who_may_not_look_is_told_by_the_status(world, tenant):
    """Without a session, or after signing out, it is 401; another organization's is 404."""
    await world.make_organization("org_other")
    visitor = await signed_in(world, tenant.read.key)
    other = await visitor.get("/console/o/org_other/live")
    await visitor.get("/console/o/org_abc")
    await visitor.post("/console/sign-out")

    assert other.status_code == 404
    assert (await visitor.get(LIVE)).status_code == 401


async def test_looking_does_not_keep_a_session(world, tenant):
    """A page that is left open does not use its session: only what a person does renews the cookie."""
    visitor = await signed_in(world, tenant.read.key)
    world.clock.advance(120)
    looked = await visitor.get(LIVE, **JSON)
    used = await visitor.get("/console/o/org_abc")

    assert "set-cookie" not in looked.headers
    assert "set-cookie" in used.headers


async def test_an_open_page_outlives_no_session(world, tenant):
    """A stream asks again whether its session holds: not when it was idle for too long, nor after its key was revoked."""
    service = world.service
    keys = (await tenant.admin.get("/api-keys")).json()["data"]
    (key_id,) = [one["id"] for one in keys if one["scope"] == "read"]
    now_s = world.clock.now() // SECOND
    session = Session("key", key_id, tenant.no, tenant.org_id, "token", now_s, now_s)
    connection = SimpleNamespace(
        app=SimpleNamespace(state=SimpleNamespace(service=service)),
        scope={"auth": SimpleNamespace(session=session)},
        client=None,
        path_params={"org_id": tenant.org_id},
    )
    visit = await _visit(connection, service, session, tenant.org_id)
    connection.scope["auth"] = visit
    await check_again(connection)
    world.clock.advance(IDLE_S + 1)
    with pytest.raises(Unauthenticated, match="the session has ended"):
        await check_again(connection)
    world.clock.advance(-IDLE_S)
    await tenant.admin.delete(f"/api-keys/{key_id}")
    with pytest.raises(Unauthenticated, match="revoked"):
        await check_again(connection)
