"""Organizations in every store: which one is found, what it stores, and its quotas, beside others."""

import pytest

from aegis_stream.domain.ids import OrganizationId
from aegis_stream.domain.organization import OwnQuotas, Quotas
from aegis_stream.errors import Conflict, NotFound
from aegis_stream.store import organizations
from aegis_stream.store.inspection import Inspection, StorageUse
from support.clock import T0
from support.sql import raw
from support.stores import add_organization, append_to, event

NAMES = ("org_c", "org_a", "org_b")


@pytest.fixture
async def numbers(store) -> list[int]:
    """Three organizations, of which each stores ten bytes more than the one before, and none is in the order of its id."""
    made = [await add_organization(store, name) for name in NAMES]
    for place, no in enumerate(made):
        await append_to(store.log, no, [event("e1", "x" * (70 + 10 * place))], T0)
    return made


async def test_an_organization_is_found_among_others(store, numbers):
    """An id and a number find their own organization; an id that nobody has finds none, and one in use is refused."""

    def look(unit) -> None:
        for place, (name, no) in enumerate(zip(NAMES, numbers, strict=True)):
            found = organizations.find(unit, name)
            assert (found.no, found.org_id, found.stored_bytes) == (no, name, 70 + 10 * place)
            assert organizations.id_of(unit, no) == name
        with pytest.raises(NotFound):
            organizations.find(unit, "org_d")

    await store.db.read(look)
    assert await add_organization(store, "org_d") not in numbers
    with pytest.raises(Conflict):
        await store.db.write(lambda unit: organizations.add(unit, OrganizationId("org_a"), "Twice", T0))


async def test_each_log_begins_where_its_own_oldest_event_is(store, numbers):
    """What retention has removed from one log moves the beginning of no other one."""
    middle = numbers[1]
    await store.db.write(
        lambda unit: raw(unit).run("UPDATE organizations SET oldest = 2 WHERE org_no = ?", (middle,))
    )

    def look(unit) -> list[int]:
        return [organizations.oldest_sequence(unit, no) for no in numbers]

    assert await store.db.read(look) == [1, 2, 1]


async def test_quotas_are_set_for_one_organization(store, numbers):
    """The quotas of the others stay as they are."""
    await store.db.write(lambda unit: organizations.set_quotas(unit, numbers[1], OwnQuotas(7, 9)))

    def look(unit) -> list[OwnQuotas]:
        return [organizations.find(unit, name).quotas for name in NAMES]

    assert await store.db.read(look) == [OwnQuotas(), OwnQuotas(7, 9), OwnQuotas()]


async def test_those_with_a_quota_are_listed_with_what_they_store(store, numbers):
    """Their own quota or the default is told, in the order in which they were made; 0 is no quota, by default and for one alone."""
    default = Quotas(1000)
    await store.db.write(lambda unit: organizations.set_quotas(unit, numbers[0], OwnQuotas(90)))
    await store.db.write(lambda unit: organizations.set_quotas(unit, numbers[1], OwnQuotas(0)))
    inspection = Inspection(store.db)

    assert inspection.storage_use(default) == [StorageUse("org_c", 70, 90), StorageUse("org_b", 90, 1000)]
    assert inspection.storage_use(Quotas(0)) == [StorageUse("org_c", 70, 90)]
