"""Promises of the console's errors: in words, with the status that the API has for them, and with what to do."""

import html
import re

import pytest

from support.console import Visitor
from support.sql import raw

HOME = "/console/o/org_abc"
EXPLAINED = "docs/reference/errors.md#what-the-api-answers"


async def without_keys(world):
    """Make the store fail at every look at a key."""
    await world.stores.db.write(lambda unit: raw(unit).run("ALTER TABLE api_keys RENAME TO gone"))


async def with_keys(world):
    """End what `without_keys` began."""
    await world.stores.db.write(lambda unit: raw(unit).run("ALTER TABLE gone RENAME TO api_keys"))


async def test_a_sign_in_without_a_store_is_503_in_words(world):
    """When keys cannot be read, the sign-in page says what is wrong and when to try again; it does not blame the key."""
    tenant = await world.make_organization()
    await without_keys(world)
    answer = await Visitor(world).sign_in(tenant.admin.key)

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "Not signed in" in answer.text
    assert "unknown API key" not in answer.text
    assert tenant.admin.key not in answer.text


async def test_a_page_without_a_store_says_that_nothing_was_done(world):
    """A form that arrives while the store is gone is 503: nothing was done, the seconds to wait, and where it is explained."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    await without_keys(world)
    answer = await visitor.post(HOME + "/sample")

    assert answer.status_code == 503
    assert "Nothing was done." in answer.text
    assert 'data-countdown="' in answer.text
    assert EXPLAINED in answer.text


async def test_a_form_can_be_sent_again_when_the_store_is_back(world):
    """A form that met no store is kept on the page of the error, sealed; its button sends all of it once the store is there."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    await visitor.get(f"{HOME}/new?kind=generic-https")
    await without_keys(world)
    typed = {"kind": "generic-https", "name": "Mine", "v-url": "https://siem.example.com/x", "save": "1"}
    failed = await visitor.post(HOME + "/new", typed | {"v-secret": "c4n4ry-of-the-form"})
    await with_keys(world)
    sent = await visitor.post(HOME + "/new", {"held": field_on(failed.text, "held")})
    (made,) = (await tenant.read.get("/forwarding-destinations")).json()["data"]

    assert failed.status_code == 503
    assert "Send it again" in failed.text
    assert "c4n4ry" not in failed.text
    assert sent.status_code == 303
    assert (await world.stored(tenant, made["id"])).spec.auth_header_value == "Bearer c4n4ry-of-the-form"


async def test_an_error_names_its_code(world):
    """A page that does not exist says so with the code of the API and the place that explains it."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.read.key)
    lost = await visitor.get(HOME + "/d/dst_nothing")
    nowhere = await visitor.get("/console/nowhere")

    for answer, code in ((lost, "not-found"), (nowhere, "no-such-path")):
        assert answer.status_code == 404
        assert f"<code>{code}</code>" in html.unescape(answer.text)
        assert EXPLAINED in answer.text


# ── a session that ends in the middle of a form ──

LATER_S = 3 * 3600


def field_on(page, name):
    """Return the value of a hidden field."""
    return html.unescape(re.search(rf'name="{name}" value="([^"]+)"', page)[1])


async def interrupted(world, tenant, **headers):
    """Open the form for a new destination, let the session end, and send it with a secret; return the visitor."""
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    await visitor.get(f"{HOME}/new?kind=generic-https")
    world.clock.at += LATER_S * 1_000_000
    fields = {"kind": "generic-https", "name": "Mine", "v-url": "https://siem.example.com/x", "save": "1"}
    answer = await visitor.post(HOME + "/new", fields | {"v-secret": "c4n4ry-of-the-form"}, **headers)
    return visitor, answer


async def test_a_form_survives_the_end_of_its_session(world):
    """Whoever is signed out in the middle of a form signs in on the page that follows and sends it; no secret is in any page."""
    tenant = await world.make_organization()
    visitor, asked = await interrupted(world, tenant)
    first = visitor.page
    await visitor.post("/console", {"key": "aegis_sk_wrong", "held": field_on(first, "held")})
    wrong = visitor.page
    again = await visitor.post("/console", {"key": tenant.admin.key, "held": field_on(wrong, "held")})
    nothing = (await tenant.read.get("/forwarding-destinations")).json()["data"]
    sent = await visitor.post(HOME + "/new", {"held": field_on(visitor.page, "held")})
    (made,) = (await tenant.read.get("/forwarding-destinations")).json()["data"]
    stored = (await world.stored(tenant, made["id"])).spec

    assert asked.status_code == 401
    assert "nothing was sent" in first
    assert "Signed in again" in again.text
    assert "nothing of it was sent" in again.text
    assert "c4n4ry" not in first + wrong + again.text
    assert nothing == []
    assert sent.status_code == 303
    assert (stored.name, stored.url) == ("Mine", "https://siem.example.com/x")
    assert stored.auth_header_value == "Bearer c4n4ry-of-the-form"


@pytest.mark.parametrize(
    "headers",
    [{"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site", "origin": "http://127.0.0.1"}],
    ids=["another site", "a sister of ours"],
)
async def test_another_site_has_no_form_kept(world, headers):
    """What another site makes a browser send is not kept: nobody would send it by signing in."""
    tenant = await world.make_organization()
    _, answer = await interrupted(world, tenant, **headers)

    assert answer.status_code == 303
    assert answer.headers["location"] == f"/console?next_path={HOME}/new"


async def test_a_kept_form_is_taken_for_its_path_only(world):
    """A kept form does nothing elsewhere, without the token of the session, or after an hour."""
    tenant = await world.make_organization()
    visitor, _ = await interrupted(world, tenant)
    held = field_on(visitor.page, "held")
    await visitor.post("/console", {"key": tenant.admin.key, "held": held})
    elsewhere = await visitor.post(HOME + "/sample", {"held": held})
    forged = await visitor.post(HOME + "/new", {"held": held, "csrf": "guessed"})
    await visitor.get(HOME)
    world.clock.at += 3000 * 1_000_000
    await visitor.get(HOME)
    world.clock.at += 700 * 1_000_000
    late = await visitor.post(HOME + "/new", {"held": held})

    assert [one.status_code for one in (elsewhere, forged, late)] == [403, 403, 403]
    assert (await tenant.read.get("/forwarding-destinations")).json()["data"] == []


async def test_a_kept_form_of_another_organization_is_not_sent(world):
    """Who signs in with a key of another organization cannot send it: the path is not theirs."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    visitor, _ = await interrupted(world, tenant)
    held = field_on(visitor.page, "held")
    await visitor.post("/console", {"key": other.admin.key, "held": held})
    answer = await visitor.post(HOME + "/new", {"held": held})

    assert answer.status_code == 404
    assert (await tenant.read.get("/forwarding-destinations")).json()["data"] == []


async def test_a_form_that_is_too_large_is_not_kept(world):
    """A huge form leads to the sign-in page like any page, and costs no more."""
    await world.make_organization()
    answer = await Visitor(world).post(HOME + "/new", {"ca_certificate": "x" * 400_000})

    assert answer.status_code == 303


async def test_a_limit_says_how_many_seconds(world):
    """After too many tests the form comes back with what was typed; a button's page counts the seconds."""
    tenant = await world.make_organization()
    dst_id = await world.make_destination(tenant)
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    await visitor.get(f"{HOME}/d/{dst_id}")
    for _ in range(100):
        answer = await visitor.post(f"{HOME}/d/{dst_id}/test")
        if answer.status_code != 200:
            break
    typed = {"kind": "generic-https", "name": "Mine", "v-url": "https://siem.example.com/x", "v-secret": "x"}
    form = await visitor.post(f"{HOME}/new", typed | {"test": "1"})

    assert answer.status_code == 429
    assert f'data-countdown="{answer.headers["retry-after"]}"' in answer.text
    assert form.status_code == 429
    assert re.search(r"Try again in \d+ s\.", form.text)
    assert 'value="Mine"' in form.text
