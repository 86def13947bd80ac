"""What keys were used for: added up over processes, forgotten in turn, and gone with the key."""

import pytest

from aegis_stream.domain.ids import KeyId, OrganizationId
from aegis_stream.domain.organization import ApiKey, KeyUsage, Scope
from aegis_stream.store import key_uses, keys
from aegis_stream.store.key_uses import PLACES, SPAN_US, KeyUse
from support.clock import T0
from support.stores import add_organization

NOW = T0 - T0 % SPAN_US
"""Five minutes begin here."""


@pytest.fixture
async def two(store, org):
    """Store two keys of an organization; return them in order."""
    made = [make_key(org, "key_a"), make_key(org, "key_b")]
    for one in made:
        await store.db.write(lambda unit, one=one: keys.add(unit, one))
    return made


def make_key(org, key_id):
    """Build a key."""
    digest = key_id.encode().ljust(32, b".")
    return ApiKey(KeyId(key_id), org, OrganizationId("org_a"), "", Scope.INGEST, digest, "abcd", T0)


async def use(store, key, *, at, events=1, address="192.0.2.1", written_at=None):
    """Write that a key was used."""
    one = KeyUse(key.organization_no, key.key_id, at, address, events)
    await store.db.write(lambda unit: key_uses.add(unit, [one], at if written_at is None else written_at))


async def usage(store, held, now):
    """Return what keys were used for, by the id of the key."""
    return await store.db.read(lambda unit: key_uses.of_keys(unit, held, now))


async def test_uses_of_several_processes_add_up(store, two):
    """Events of all processes are added, and the newest call is shown, whoever writes last."""
    one, other = two
    await use(store, one, at=NOW + 50, events=3, address="192.0.2.1")
    await use(store, one, at=NOW + 20, events=4, address="192.0.2.2")
    await use(store, other, at=NOW + 70, events=0, address=None)

    assert await usage(store, two, NOW + 100) == {
        "key_a": KeyUsage(NOW + 50, "192.0.2.1", 7),
        "key_b": KeyUsage(NOW + 70, None, 0),
    }


async def test_only_events_of_the_last_hour_count(store, two):
    """Events are counted for an hour in steps of five minutes; the last use is remembered for longer."""
    one = two[0]
    for turn in range(14):
        await use(store, one, at=NOW + turn * SPAN_US, events=1)

    during = (await usage(store, two, NOW + 13 * SPAN_US))["key_a"]
    later = (await usage(store, two, NOW + 20 * SPAN_US))["key_a"]
    much_later = (await usage(store, two, NOW + 1000 * SPAN_US))["key_a"]

    assert (during.events_last_hour, later.events_last_hour, much_later.events_last_hour) == (12, 5, 0)
    assert much_later.last_used_at == NOW + 13 * SPAN_US


async def test_a_key_has_a_bounded_number_of_rows(store, two):
    """However long a key is used, its rows are written over in turn, and old counts are not added to new ones."""
    for turn in range(3 * PLACES):
        await use(store, two[0], at=NOW + turn * SPAN_US, events=2)

    assert store.count("key_uses") == PLACES
    assert (await usage(store, two, NOW + (3 * PLACES - 1) * SPAN_US))["key_a"].events_last_hour == 24


async def test_a_revoked_key_leaves_nothing(store, two):
    """What a key was used for goes with the key, and a process that writes later brings nothing back."""
    await use(store, two[0], at=NOW)
    await store.db.write(lambda unit: keys.delete(unit, two[0]))
    await use(store, two[0], at=NOW + 1)

    assert store.count("key_uses") == 0


async def test_keys_of_another_organization_are_not_read(store, two):
    """Only the keys that are asked for are found."""
    other_org = await add_organization(store, "org_b")
    stranger = make_key(other_org, "key_aa")
    await store.db.write(lambda unit: keys.add(unit, stranger))
    await use(store, stranger, at=NOW)

    assert await usage(store, two, NOW) == {}
