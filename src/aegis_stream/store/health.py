"""Whether the store takes writes."""

from .database import Database, Unit


async def check_writable(db: Database) -> None:
    """Write something, so that an error of the disk shows, or its end. Raises: Unavailable."""
    await db.write(try_write)


def try_write(unit: Unit) -> None:
    """Write a row that says nothing."""
    unit.run("try_write")
