"""Promises of the console inside another product: frames, cookies, the brand, the way back."""

import pytest

from support.api import open_world
from support.console import Visitor

HOME = "/console/o/org_abc"
PAGE = "/console/link"
SITES = "https://app.example.com,http://localhost:3000"
FRAMED = "frame-ancestors https://app.example.com http://localhost:3000"
NOT_FRAMED = "frame-ancestors 'none'"
HTTPS = {"host": "audit.example.com"}


@pytest.fixture
async def world(tmp_path):
    """A running application that two sites may show in a frame."""
    async with open_world(
        tmp_path,
        console_frame_ancestors=tuple(SITES.split(",")),
        console_brand_name='Acme <"Audit">',
        console_brand_colour="#0b5cad",
    ) as world:
        yield world


async def follow(world, tenant, *, headers=None, visitor=None, **body):
    """Make a link and open it; return the browser and the answer to the button."""
    token = (await tenant.admin.post("/console-links", json=body)).json()["url"].rpartition("#")[2]
    visitor = visitor or Visitor(world)
    answer = await visitor.post(PAGE, {"token": token}, **(headers or {}))
    if answer.status_code == 303:
        await visitor.get(answer.headers["location"], **(headers or {}))
    return visitor, answer


def cookies_set(answer):
    """Return the cookies that an answer sets, by name, with their attributes in lower case."""
    made = {}
    for one in answer.headers.get_list("set-cookie"):
        name, _, rest = one.partition("=")
        parts = [part.strip().lower() for part in rest.split(";")]
        if "max-age=0" not in parts:
            made[name] = set(parts[1:])
    return made


async def test_only_a_session_by_link_may_stand_in_a_frame(world):
    """The page that opens a link and those of its session name the sites; all others stand in no frame."""
    tenant = await world.make_organization()
    by_link, _ = await follow(world, tenant)
    by_key = Visitor(world)
    await by_key.sign_in(tenant.admin.key)
    framed = [
        await by_link.get(HOME),
        await by_link.get(HOME + "/d/dst_none"),
        await Visitor(world).get(PAGE),
    ]
    others = [await by_key.get(HOME), await Visitor(world).get("/console"), await Visitor(world).get("/")]

    assert [FRAMED in one.headers["content-security-policy"] for one in framed] == [True] * 3
    assert [NOT_FRAMED in one.headers["content-security-policy"] for one in others] == [True] * 3


async def test_the_cookie_of_a_framed_session_reaches_a_frame(world):
    """Browsers send it from a frame of another site, to this host by TLS alone, and share it with no other site's frames."""
    _, answer = await follow(world, await world.make_organization(), headers=HTTPS)
    made = cookies_set(answer)

    assert set(made) == {"__Host-aegis-portal"}
    assert {"samesite=none", "secure", "httponly", "partitioned", "path=/"} <= made["__Host-aegis-portal"]


async def test_the_cookie_of_a_key_never_does(world):
    """A session of a key stays strict, whatever the settings say."""
    tenant = await world.make_organization()
    answer = await Visitor(world).post("/console", {"key": tenant.admin.key}, **HTTPS)
    made = cookies_set(answer)

    assert set(made) == {"__Host-aegis-session"}
    assert {"samesite=strict", "secure", "httponly", "path=/"} <= made["__Host-aegis-session"]
    assert "partitioned" not in made["__Host-aegis-session"]


async def test_a_browser_has_one_session_here(world):
    """A link ends the session of a key at the same browser, and a key that of a link."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    await follow(world, tenant, visitor=visitor)
    after_link = set(visitor.cookies)
    await visitor.sign_in(tenant.admin.key)
    after_key = set(visitor.cookies)
    await follow(world, tenant, visitor=visitor)
    answer = await visitor.post("/console/sign-out")

    assert (after_link, after_key) == ({"aegis-portal"}, {"aegis-session"})
    assert not visitor.cookies
    assert answer.headers["location"] == PAGE


async def test_the_session_of_a_key_is_not_taken_from_the_cookie_of_a_frame(world):
    """Under the name that frames may send, nothing but a session by link is accepted."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    moved = Visitor(world, cookies={"aegis-portal": visitor.cookies["aegis-session"]})

    assert (await visitor.get(HOME)).status_code == 200
    assert (await moved.get(HOME)).status_code == 303


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_the_page_around_a_frame_sends_no_forms(world, site):
    """SameSite=None lets the cookie through; the request is refused all the same, with the right token too."""
    tenant = await world.make_organization()
    visitor, _ = await follow(world, tenant, scope="admin")
    answer = await visitor.post(HOME + "/sample", sec_fetch_site=site)

    assert answer.status_code == 403
    assert (await tenant.read.get("/events")).json()["data"] == []


async def test_a_session_by_link_stays_while_it_is_used(world):
    """Its cookie is written anew, with the same attributes, and its notices reach the frame."""
    tenant = await world.make_organization()
    visitor, _ = await follow(world, tenant, scope="admin", headers=HTTPS)
    world.clock.advance(120)
    answer = await visitor.post(HOME + "/sample", **HTTPS)
    made = cookies_set(answer)
    shown = await visitor.get(HOME, **HTTPS)

    assert set(made) == {"__Host-aegis-portal", "aegis-notice"}
    assert all({"samesite=none", "partitioned"} <= one for one in made.values())
    assert "A sample event was recorded" in shown.text


async def test_an_ended_session_asks_for_a_link_inside_the_frame(world):
    """Neither a frame nor somebody who came by a link is led to the field for a key, which stands in no frame."""
    tenant = await world.make_organization()
    visitor, _ = await follow(world, tenant)
    world.clock.advance(3700)
    answer = await visitor.get(HOME, sec_fetch_dest="iframe")
    page = await visitor.get(answer.headers["location"])

    assert answer.headers["location"] == f"{PAGE}?over=true"
    assert FRAMED in page.headers["content-security-policy"]
    assert "Ask for a new link where you got the last one" in page.text
    assert (await Visitor(world).get(HOME)).headers["location"].startswith("/console?")


async def test_a_form_survives_the_end_of_a_session_by_link(world):
    """What was typed is kept, and sent after a new link was opened and the button pressed."""
    tenant = await world.make_organization()
    made = (await tenant.admin.post("/console-links", json={"scope": "admin"})).json()
    visitor = Visitor(world)
    answer = await visitor.post(PAGE, {"token": made["url"].rpartition("#")[2]})
    await visitor.get(answer.headers["location"])
    await tenant.admin.delete(f"/console-links/{made['id']}")
    refused = await visitor.post(HOME + "/keys", {"name": "typed", "scope": "read", "expires": ""})
    held = refused.text.partition('name="held" value="')[2].partition('"')[0]
    again = (await tenant.admin.post("/console-links", json={"scope": "admin"})).json()
    signed_in = await visitor.post(PAGE, {"token": again["url"].rpartition("#")[2], "held": held})
    sent = await visitor.post(HOME + "/keys", {"held": held})
    names = [one["name"] for one in (await tenant.admin.get("/api-keys")).json()["data"]]

    assert refused.status_code == 401
    assert FRAMED in refused.headers["content-security-policy"]
    assert "What you typed is kept for an hour" in refused.text
    assert "Send it now" in signed_in.text
    assert sent.status_code == 201
    assert "typed" in names


async def test_the_way_back_leads_out_of_the_frame(world):
    """The page that the link names is one click away, in the whole window; without one there is no such control."""
    tenant = await world.make_organization()
    url = "https://app.example.com:8443/a?b=<x>&c"
    visitor, _ = await follow(world, tenant, return_url=url)
    without, _ = await follow(world, tenant)

    assert (
        '<a href="https://app.example.com:8443/a?b=&lt;x&gt;&amp;c" target="_top" rel="noreferrer">Back to app.example.com</a>'
        in visitor.page
    )
    assert "Back to" not in without.page


async def test_the_brand_is_on_every_page(world):
    """Name and colour of the settings stand on top, escaped, and the colour comes from a style sheet of this site."""
    visitor = Visitor(world)
    page = await visitor.get("/console")
    style = await visitor.get("/console/brand.css?0b5cad")

    assert "Acme &lt;&#34;Audit&#34;&gt;</a>" in page.text
    assert "<title>Sign in · Acme &lt;" in page.text
    assert 'href="/console/brand.css?0b5cad"' in page.text
    assert style.text == ".top { border-top: 4px solid #0b5cad; }\n"
    assert style.headers["content-type"].startswith("text/css")


async def test_without_settings_nothing_differs(tmp_path):
    """There is no colour, no frame, and the cookie of a session by link is as strict as the others."""
    async with open_world(tmp_path) as world:
        visitor, answer = await follow(world, await world.make_organization(), headers=HTTPS)
        page = await visitor.get(HOME, sec_fetch_dest="iframe", **HTTPS)
        colour = await visitor.get("/console/brand.css")

    assert set(cookies_set(answer)) == {"__Host-aegis-session"}
    assert NOT_FRAMED in page.headers["content-security-policy"]
    assert "brand.css" not in page.text
    assert (colour.status_code, colour.text) == (200, "")
