"""The kinds of destinations, for forms and programs that make destinations."""

import msgspec
from litestar import get

from aegis_stream.control.destination_types import DestinationType, destination_types

from .docs import errors


class DestinationTypes(msgspec.Struct):
    """All kinds of destinations, the most used first."""

    types: tuple[DestinationType, ...]


@get("/api/destination-types", tags=["Forwarding destinations"], responses=errors(), sync_to_thread=False)
def list_destination_types() -> DestinationTypes:
    """List the kinds of destinations: which fields each needs, where to find them, and the destination that they make.

    `{name}` in a template stands for the value of a field, `{event_id}` in a query for the id of an event. Needs no key.
    """
    return DestinationTypes(destination_types())


HANDLERS = [list_destination_types]
