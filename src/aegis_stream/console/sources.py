"""Where events come from: how to send them, which keys do, and the last requests of a key, for events that do not arrive."""

from typing import Any, NamedTuple

from litestar import Request, Response, get
from litestar.params import FromQuery

from aegis_stream.api.recent import WATCH_US, SeenRequest
from aegis_stream.api.service import Service, service_of
from aegis_stream.control import keys
from aegis_stream.control.caller import ALLOWED
from aegis_stream.control.deps import ControlDeps
from aegis_stream.control.keys import ListedKey
from aegis_stream.domain.ids import SECOND
from aegis_stream.domain.organization import Scope

from .commands import quoted, shown_call
from .gate import Visit, origin_of, visit_of
from .page import page, path_part
from .rights import ORGANIZATION
from .snippets import further_snippets, snippets

AnyRequest = Request[Any, Any, Any]
SHOWN_MAX = 200
"""Keys on the page."""


class Source(NamedTuple):
    """A key that may send events.

    Args:
        is_silent: it was used, and has recorded nothing in the last hour.
    """

    listed: ListedKey
    is_silent: bool


class Looked(NamedTuple):
    """The last requests of one key.

    Args:
        is_partly: requests at other machines are not among them.
    """

    listed: ListedKey
    requests: list[SeenRequest]
    is_partly: bool


@get(ORGANIZATION + "/sources")
async def show_sources(request: AnyRequest, key: FromQuery[str] = "") -> Response[str]:
    """Show how to send events, which keys do, and the last requests of one key."""
    visit, service = visit_of(request), service_of(request)
    looked = await look(service, visit, key) if key and may_see_keys(visit) else None
    origin = origin_of(request)
    requests_path = f"/api/orgs/{visit.org_id}/api-keys/{path_part(key or 'key_…')}/requests"
    return await page(
        request,
        "sources.html",
        title="Sources",
        sources=await sending_keys(service.control, visit),
        may_see_keys=may_see_keys(visit),
        looked=looked,
        noted_s=WATCH_US // SECOND,
        snippets=(*snippets(origin, visit.org_id), *further_snippets(origin, visit.org_id)),
        call=shown_call(
            origin,
            "GET",
            requests_path,
            aegis=f"aegis key requests {quoted(key or 'KEY_ID')} --org {quoted(visit.org_id)}",
        ),
    )


async def look(service: Service, visit: Visit, key_id: str) -> Looked:
    """Return the last requests of a key, and let them be noted for a while. Raises: NotFound, Unavailable."""
    control = service.control
    listed = await keys.find(control, visit.org_id, key_id, unwritten=control.access.uses)
    counts = service.counts
    counts.recent.watch(key_id, control.clock.steady())
    is_partly = counts.standing.api_processes > counts.processes
    return Looked(listed, counts.recent.of(key_id), is_partly)


async def sending_keys(control: ControlDeps, visit: Visit) -> list[Source]:
    """Return the keys that may send, those that sent last first; none for who may not see keys. Raises: NotFound, Unavailable."""
    if not may_see_keys(visit):
        return []
    listed = await keys.list_of(control, visit.org_id, "", SHOWN_MAX, unwritten=control.access.uses)
    sending = [one for one in listed if Scope.INGEST in ALLOWED[one.key.scope]]
    sending.sort(key=lambda one: (-(one.usage.last_used_at or 0), one.key.key_id))
    return [
        Source(one, one.usage.last_used_at is not None and not one.usage.events_last_hour) for one in sending
    ]


def may_see_keys(visit: Visit) -> bool:
    """Tell whether somebody may read the list of keys: the API lets only admin keys and the operator."""
    return visit.may_write or visit.is_operator


HANDLERS = [show_sources]
