"""What a worker looks up about destinations, in the database (port Directory)."""

from dataclasses import dataclass

from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import DestinationNo
from aegis_stream.ports import Sealer

from . import destinations
from .database import Database, Unit


@dataclass(frozen=True, slots=True)
class StoredDirectory:
    """Port Directory on the database."""

    db: Database
    sealer: Sealer

    async def destination(self, destination_no: DestinationNo) -> Destination | None:
        """Return a destination, or None when it is deleted. Raises: Unavailable, also when its secrets do not open."""
        return await self.db.read(lambda unit: destinations.find_by_no(unit, self.sealer, destination_no))

    async def changed_since(self, revision: int) -> list[tuple[DestinationNo, int]]:
        """Return destinations changed after a revision, with the revision of the change, in order. Raises: Unavailable."""

        def work(unit: Unit) -> list[tuple[DestinationNo, int]]:
            return destinations.changed_since(unit, revision)

        found = self.db.peek(work)  # asked several times a second, and mostly nothing has changed
        return found if found is not None else await self.db.read(work)
