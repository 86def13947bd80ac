"""Promises of the page of console links: who made which, and a way to end each."""

import pytest

from support.api import open_world
from support.console import Visitor, signed_in

HOME = "/console/o/org_abc"


@pytest.fixture
async def world(tmp_path):
    """A running application that records who did what."""
    async with open_world(tmp_path, audit_actions=True) as world:
        yield world


async def make(tenant, **body):
    """Make a link with the admin key."""
    return (await tenant.admin.post("/console-links", json=body)).json()


async def follow(world, made):
    """Open a link with a new browser."""
    guest = Visitor(world)
    await guest.get("/console/link")
    answer = await guest.post("/console/link", {"token": made["url"]})
    await guest.get(answer.headers["location"])
    return guest


async def test_a_used_link_is_listed_and_revoked(world):
    """Its row says who made it, what it allows and when it was used; revoking it asks first, ends its session, and is in the audit trail."""
    tenant = await world.make_organization()
    made = await make(tenant, scope="read", return_url="https://app.example.com/settings")
    guest = await follow(world, made)
    keys = (await tenant.admin.get("/api-keys")).json()["data"]
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(f"{HOME}/keys")
    assert f'href="{HOME}/links"' in visitor.page
    await visitor.get(f"{HOME}/links")
    row = visitor.page.partition(f'data-row="{made["id"]}"')[2].partition("</tr>")[0]
    await visitor.get(f"{HOME}/links/{made['id']}")
    asked = visitor.page
    still = await guest.get(HOME)
    answer = await visitor.post(f"{HOME}/links/{made['id']}/revoke", {"state": "used"})
    await visitor.get(answer.headers["location"])

    assert "</span> used</span>" in row
    assert any(f"/keys/{one['id']}" in row for one in keys if one["scope"] == "admin")

    assert "https://app.example.com/settings" in row
    assert "Its session ends at its next request" in asked
    assert f"aegis console revoke {made['id']} --org org_abc" in asked
    assert made["url"].partition("#")[2] not in row + asked
    assert still.status_code == 200
    assert "The link is revoked: the session that began with it ends at its next request." in visitor.page
    assert made["id"] not in visitor.page
    assert (await guest.get(HOME)).status_code == 303
    await visitor.get(f"{HOME}/audit?target={made['id']}")
    assert visitor.page.count(made["id"]) > 1


@pytest.mark.parametrize("fields", [{}, {"state": "open"}, {"state": "none"}])
async def test_a_form_of_an_old_page_revokes_nothing(world, fields):
    """A link that was used after the page was shown, or a form that does not tell its state, is refused."""
    tenant = await world.make_organization()
    made = await make(tenant)
    await follow(world, made)
    visitor = await signed_in(world, tenant.admin.key)
    answer = await visitor.post(f"{HOME}/links/{made['id']}/revoke", fields)

    assert answer.status_code == 409
    assert "this link is used by now" in answer.text
    assert [one["id"] for one in (await tenant.admin.get("/console-links")).json()["data"]] == [made["id"]]


async def test_pages_of_many_links(world, monkeypatch):
    """A list that is longer than a page goes on, and leads back to its beginning."""
    monkeypatch.setattr("aegis_stream.console.link_list.SHOWN_MAX", 2)
    tenant = await world.make_organization()
    made = [(await make(tenant))["id"] for _ in range(3)]
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(f"{HOME}/links")
    first = visitor.page
    await visitor.get(f"{HOME}/links?after={made[1]}")

    assert f'href="{HOME}/links?after={made[1]}"' in first
    assert [one for one in made if f'data-row="{one}"' in first] == made[:2]
    assert [one for one in made if f'data-row="{one}"' in visitor.page] == made[2:]


async def test_readers_see_no_links(world):
    """A key of scope read gets no page of links, as by the API, and no link to it."""
    tenant = await world.make_organization()
    visitor = await signed_in(world, tenant.read.key)
    await visitor.get(f"{HOME}/keys")

    assert f'href="{HOME}/links"' not in visitor.page
    assert (await visitor.get(f"{HOME}/links")).status_code == 403
