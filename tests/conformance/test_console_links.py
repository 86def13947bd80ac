"""Console links: used up once, gone with the key that made them, deleted when nothing needs them."""

import asyncio
import hashlib

import pytest

from aegis_stream.domain.console_link import SESSION_S, ConsoleLink
from aegis_stream.domain.ids import SECOND, KeyId, OrganizationId
from aegis_stream.domain.organization import ApiKey, Scope
from aegis_stream.store import console_links, keys, retention
from support.clock import T0
from support.stores import add_organization

MINUTE = 60 * SECOND
SESSION = SESSION_S * SECOND


def digest_of(link_id):
    """Return the digest of the token of a test's link."""
    return hashlib.sha256(link_id.encode()).digest()


@pytest.fixture
def add(store, org):
    """Return a function that stores a link."""

    async def add(link_id, *, made_by="", organization_no=org, expires_at=T0 + MINUTE):
        link = ConsoleLink(
            *(organization_no, link_id, OrganizationId("org_a"), Scope.READ, made_by, "https://app.example/x#y"),
            *(T0, expires_at),
        )  # fmt: skip
        await store.db.write(lambda unit: console_links.add(unit, link, digest_of(link_id)))
        return link

    return add


async def opened(store, link_id, now):
    """Return the open link of a test's token."""
    return await store.db.read(lambda unit: console_links.find_open(unit, digest_of(link_id), now))


async def used(store, link, now):
    """Return the link of a session, while that lasts."""
    return await store.db.read(
        lambda unit: console_links.find_used(unit, link.organization_no, link.link_id, now)
    )


async def use(store, link, now):
    """Use a link up."""
    return await store.db.write(lambda unit: console_links.use(unit, link, now))


async def test_a_link_is_stored_as_it_is(store, add):
    """A link comes back whole by its token, and by nothing else."""
    link = await add("lnk_a")

    assert await opened(store, "lnk_a", T0) == link
    assert await opened(store, "lnk_b", T0) is None


async def test_of_several_uses_one_succeeds(store, backend, add):
    """Processes that use a link up at the same time do not both begin a session."""
    link, other = await add("lnk_a"), backend.open()
    won = await asyncio.gather(*(use(one, link, T0 + 1) for one in (store, other, store, other)))

    assert sorted(won) == [False, False, False, True]
    assert await opened(store, "lnk_a", T0 + 2) is None


async def test_a_link_expires(store, add):
    """From the moment of its expiry nobody finds it."""
    await add("lnk_a")

    assert await opened(store, "lnk_a", T0 + MINUTE - 1) is not None
    assert await opened(store, "lnk_a", T0 + MINUTE) is None


async def test_a_session_begins_with_the_use_and_has_an_end(store, add):
    """A link holds a session from its use on, for twelve hours, however early it would have expired."""
    link = await add("lnk_a")
    before = await used(store, link, T0)
    await use(store, link, T0 + 1)
    found = await used(store, link, T0 + SESSION)

    assert before is None
    assert found is not None
    assert found.used_at == T0 + 1
    assert await used(store, link, T0 + 1 + SESSION) is None


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_link_lives_no_longer_than_the_key_that_made_it(store, org, add, how):
    """With the key go the links that nobody has used, and the sessions of the others."""
    key = ApiKey(
        KeyId("key_a"), org, OrganizationId("org_a"), "", Scope.ADMIN, b"d".ljust(32, b"."), "abcd", T0
    )
    await store.db.write(lambda unit: keys.add(unit, key))
    link, other = await add("lnk_a", made_by="key_a"), await add("lnk_b", made_by="key_a")
    await use(store, link, T0)
    during = await used(store, link, T0 + 5), await opened(store, "lnk_b", T0 + 5)
    if how == "revoked":
        await store.db.write(lambda unit: keys.delete(unit, key))
    else:
        await store.db.write(lambda unit: keys.expire(unit, key, T0 + 6))

    assert [one.link_id for one in during] == [link.link_id, other.link_id]
    assert await used(store, link, T0 + 6) is None
    assert await opened(store, "lnk_b", T0 + 6) is None


async def test_what_has_ended_is_not_listed_and_goes(store, org, add):
    """Expired links and ended sessions are neither listed nor kept; open links and running sessions are."""
    await add("lnk_expired", expires_at=T0 + 1)
    await add("lnk_open", expires_at=T0 + 2 * SESSION)
    await use(store, await add("lnk_ended"), T0 - SESSION)
    await use(store, await add("lnk_running"), T0)
    listed = await store.db.read(lambda unit: console_links.list_of(unit, org, "", 10, T0 + 1))
    removed = await store.db.write(lambda unit: console_links.delete_ended_of(unit, org, T0 + 1))
    counts = await store.db.read(lambda unit: console_links.count(unit, org))

    assert [one.link_id for one in listed] == ["lnk_open", "lnk_running"]
    assert (removed, counts) == (2, (2, 1))


async def test_retention_removes_what_has_ended(store, add):
    """Links of an organization that makes none any more go by time."""
    await add("lnk_a", expires_at=T0 + 1)
    kept = await store.db.write(lambda unit: retention.step(unit, T0 + 1)), store.count("console_links")
    gone = await store.db.write(lambda unit: retention.step(unit, T0 + 2)), store.count("console_links")

    assert (kept, gone) == ((0, 1), (1, 0))


async def test_another_organization_finds_nothing(store, org, add):
    """A link is found below its own organization, and listed there alone."""
    other = await add_organization(store, "org_b")
    await add("lnk_a")

    assert await store.db.read(lambda unit: console_links.find(unit, other, "lnk_a")) is None
    assert await store.db.read(lambda unit: console_links.list_of(unit, other, "", 10, T0)) == []
    assert (await store.db.read(lambda unit: console_links.find(unit, org, "lnk_a"))).link_id == "lnk_a"
