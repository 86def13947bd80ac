"""How many an organization may have of what has no limit by itself; asked inside the write that would make one more."""

from aegis_stream.domain.destination import Destination
from aegis_stream.errors import Conflict

from .sqlite import Connection
from .statements import load


def refuse_many_replays(db: Connection, destination: Destination, count_max: int) -> None:
    """Refuse another replay where as many are under way as may be. Raises: Conflict."""
    if len(db.rows(load()["open_replays"], (destination.no, count_max))) >= count_max:
        raise Conflict(
            f"{count_max} replays to this destination are under way, which is the limit: wait for one, or cancel one",
            code="too-many-replays",
        )
