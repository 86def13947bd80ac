"""Promises of the tiles of a sealed log: their paths, their bytes, and that they never change."""

import pytest

from aegis_stream.domain.merkle import HASH_BYTES, TileAt, leaf_hash
from aegis_stream.store import tree
from support.api import Caller, open_world
from support.log import entries
from support.seal_now import seal_now
from support.sql import raw

TILE = "/proof/tile/"


@pytest.fixture
async def world(tmp_path):
    """A running application."""
    async with open_world(tmp_path) as world:
        yield world


@pytest.fixture
async def tenant(world):
    """An organization with 300 sealed events."""
    made = await world.make_organization()
    await world.send_events(made, 300)
    await seal_now(world, made)
    return made


async def leaves_of(world, tenant) -> bytes:
    """Return the joined leaves of the log."""
    found = await entries(world.stores.log, tenant.no, 0, 1000, 1000)
    return b"".join([leaf_hash(one.body.encode()) for one in found])


async def test_a_tile_has_the_leaves_of_its_events(world, tenant):
    """Full and partial tiles of the leaves join to the leaves of the log, and may be kept for ever."""
    full, rest = await tenant.read.get(TILE + "0/000"), await tenant.read.get(TILE + "0/001.p/44")
    above = await tenant.read.get(TILE + "1/000.p/1")

    assert [one.status_code for one in (full, rest, above)] == [200] * 3
    assert full.content + rest.content == await leaves_of(world, tenant)
    assert len(above.content) == HASH_BYTES
    for answer in (full, rest, above):
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"


async def test_a_part_stays_when_the_tile_is_continued(world, tenant):
    """Every part is the beginning of the whole, also after more was sealed."""
    before = (await tenant.read.get(TILE + "0/001.p/44")).content
    await world.send_events(tenant, 300, prefix="more")
    await seal_now(world, tenant)
    whole = (await tenant.read.get(TILE + "0/001")).content
    again = (await tenant.read.get(TILE + "0/001.p/44")).content
    one = (await tenant.read.get(TILE + "0/001.p/1")).content

    assert before == again == whole[: 44 * HASH_BYTES]
    assert one == whole[:HASH_BYTES]
    assert len(whole) == 256 * HASH_BYTES


async def test_numbers_beyond_three_digits(world, tenant):
    """Tile 1,234,067 of a level is found by its groups of three digits."""
    place = TileAt(1, 1_234_067)
    await world.stores.db.write(
        lambda unit: unit.run("store_tile", (tenant.no, 0, *place, b"h" * HASH_BYTES, 0))
    )
    answer = await tenant.read.get(TILE + "1/x001/x234/067.p/1")

    assert answer.content == b"h" * HASH_BYTES


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("0/001", "44 hashes, and not 256, in the log of 300 events: ask for its first 44 with .p/44"),
        ("0/001.p/45", "ask for its first 44 with .p/44"),
        ("0/002.p/1", "wait until more is sealed"),
        ("4/000", "wait until more is sealed"),
        ("0/x999/x999/x999/999", "wait until more is sealed"),
    ],
)
async def test_a_tile_that_is_not_there(tenant, path, told):
    """The answer is 404, and says how many hashes there are."""
    answer = await tenant.read.get(TILE + path)

    assert answer.status_code == 404
    assert told in answer.json()["detail"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("5/000", "level"),
        ("00/000", "level"),
        ("-1/000", "level"),
        ("data/000", "level"),
        ("0/0", "number"),
        ("0/0000", "number"),
        ("0/x000/000", "number"),
        ("0/001/000", "number"),
        ("0/x001", "number"),
        ("0/x001/x001/x001/x001/001", "number"),
        ("0/000.p/0", "number"),
        ("0/000.p/256", "number"),
        ("0/000.p/01", "number"),
        ("0/000.p", "number"),
        ("0/000%0A", "number"),
        ("0/٠٠٠", "number"),
    ],
)
async def test_a_path_that_names_no_tile(tenant, path, field):
    """The answer is 404, names the part of the path, and says how it is written."""
    answer = await tenant.read.get(TILE + path)

    assert answer.status_code == 404, answer.text
    assert f"its {field} must be" in answer.json()["detail"]


async def test_a_tile_that_was_removed(world, tenant):
    """The answer says which are kept, and why the others are not."""
    gone = "DELETE FROM tree_tiles WHERE level = 0 AND tile = 0"
    await world.stores.db.write(lambda unit: raw(unit).run(gone))
    answer = await tenant.read.get(TILE + "0/000")

    assert answer.status_code == 404
    assert "those below 1 were removed" in answer.json()["detail"]
    assert (await tenant.read.get(TILE + "0/001.p/44")).status_code == 200


async def test_before_the_first_seal(world):
    """The answer says that nothing is sealed."""
    made = await world.make_organization("org_new")
    answer = await made.read.get(TILE + "0/000.p/1")

    assert answer.status_code == 404
    assert "is sealed" in answer.json()["detail"]


async def test_a_log_that_began_again_has_other_tiles(world, tenant):
    """After a restart the tiles are those of the new log."""
    found = await world.stores.db.read(lambda unit: tree.newest_tree(unit, tenant.no))
    begun = found._replace(base=300, origin=f"{found.origin}@301", tree=tree.Tree(0, b""), note="")
    await world.stores.db.write(lambda unit: tree.store_seal(unit, tenant.no, None, begun, {}))
    await world.send_events(tenant, 3, prefix="more")
    await seal_now(world, tenant)
    answer = await tenant.read.get(TILE + "0/000.p/3")

    assert answer.content == (await leaves_of(world, tenant))[300 * HASH_BYTES :]


async def test_another_organization_reads_nothing(world, tenant):
    """A key of another organization, and a key that may only send, are refused."""
    other = await world.make_organization("org_other")
    foreign = Caller(world.client, tenant.org_id, other.read.key)

    assert (await foreign.get(TILE + "0/000")).status_code == 404
    assert (await tenant.ingest.get(TILE + "0/000")).status_code == 403
