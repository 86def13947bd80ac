"""Whether the store takes writes."""

from .database import Unit


def try_write(unit: Unit) -> None:
    """Write something, so that an error of the disk shows, or its end."""
    unit.run("try_write")
