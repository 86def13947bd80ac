"""Sealed records in the database, column by column."""

from aegis_stream.wiring.administration import make_rotation
from support.api import World
from support.sql import raw


async def assert_keeps_a_key_in_use(world: World, column: str) -> None:
    """Leave one column of the only destination under the old master key, so that the key is in use until the next step."""
    rotation, secrets = make_rotation(world.settings, world.stores), world.stores.secrets
    [(under_old,)] = world.stores.db.read_now(lambda db: raw(db).rows(f"SELECT {column} FROM destinations"))
    old = secrets.sealer.newest
    new = bytes.fromhex((await rotation.rotate(lambda done, total: None)).key_id)
    world.stores.db.write_now(lambda db: raw(db).run(f"UPDATE destinations SET {column} = ?", (under_old,)))

    assert await secrets.keys_in_use() == {old, new}
    assert await secrets.count_to_rewrap(new) == 1
    assert (await secrets.rewrap_step(new, 0)).rewrapped == 1
    assert await secrets.keys_in_use() == {new}
