"""How many an organization may have of what has no limit by itself; asked inside the write that would make one more."""

from aegis_stream.domain.destination import Destination
from aegis_stream.errors import Conflict

from .database import Unit


def refuse_many_replays(unit: Unit, destination: Destination, count_max: int) -> None:
    """Refuse another replay where as many are under way as may be. Raises: Conflict."""
    if len(unit.rows("open_replays", (destination.no, count_max))) >= count_max:
        raise Conflict(
            f"{count_max} replays to this destination are under way, which is the limit: wait for one, or cancel one",
            code="too-many-replays",
        )
