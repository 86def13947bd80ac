"""One event: its journey to every destination, its JSON, its neighbours, and sending it again. And the search box of every page."""

import hashlib
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from aegis_stream.api.service import control_of
from aegis_stream.control import events, overview, resending
from aegis_stream.control import journey as journeys
from aegis_stream.control.destination_types import type_of
from aegis_stream.control.journey import Lane
from aegis_stream.domain.event_filter import EventFilter
from aegis_stream.domain.search_line import LineProblem, SearchLine, parse_line
from aegis_stream.errors import Conflict, Invalid, NotFound

from .commands import quoted, shown_call
from .event_proof import proof_view
from .event_rows import decoded, event_path
from .event_tree import tree_of
from .gate import form_of, origin_of, visit_of
from .journey import journey_view
from .page import base_of, done, page, path_part, raw_id, see_other
from .rights import ORGANIZATION

AnyRequest = Request[Any, Any, Any]
TEXT_CHARACTERS_MAX = 64 * 1024
"""Longest stored text that the page shows; the download has all of it."""
PLACES = {
    "overview": "",
    "deliveries": "/deliveries",
    "events": "/events",
    "keys": "/keys",
    "sources": "/sources",
    "proof": "/proof",
    "audit trail": "/audit",
    "new destination": "/new",
}
"""Pages that the search box finds by their names."""


class Found(NamedTuple):
    """How to find an event in a SIEM."""

    name: str
    where: str
    query: str


@get(ORGANIZATION + "/events/{event_id:path}")
async def show_event(request: AnyRequest, event_id: FromPath[str]) -> Response[str]:  # noqa: ARG001 - from the raw path
    """Show an event and its journey."""
    control, visit = control_of(request), visit_of(request)
    found = await journeys.read(control, visit.caller, raw_id(request, "/events/"))
    base, entry = base_of(visit.org_id), found.entry
    event = decoded(entry.body)
    nodes, is_cut = tree_of(event)
    body = entry.body.encode()
    api = f"/api/orgs/{visit.org_id}/events/{path_part(entry.event_id)}"
    return await page(
        request,
        "event.html",
        title="Event",
        entry=entry,
        lanes=(drawn := journey_view(found, control.clock.now())).lanes,
        ticks=drawn.ticks,
        nodes=nodes,
        is_cut=is_cut,
        text=entry.body[:TEXT_CHARACTERS_MAX],
        is_long=len(entry.body) > TEXT_CHARACTERS_MAX,
        size_bytes=len(body),
        digest=hashlib.sha256(body).hexdigest(),
        download=f"{base}/event-bytes/{path_part(entry.event_id)}",
        previous=event_path(base, found.previous_id) if found.previous_id is not None else "",
        following=event_path(base, found.next_id) if found.next_id is not None else "",
        searches=searches_of(found.lanes, entry.event_id),
        proof=await proof_view(request, entry.sequence, entry.event_id),
        events_path=f"{base}/events",
        shown=shown_call(
            origin_of(request),
            "GET",
            api,
            aegis=f"aegis event list {quoted(SearchLine(EventFilter(fields=(('event.id', entry.event_id),))).text())}",
        ),
        shown_send=shown_call(
            origin_of(request),
            "POST",
            f"{api}/send",
            {"destination_ids": [one.destination.dst_id for one in found.lanes][:1]},
            aegis=f"aegis event resend {quoted(entry.event_id)} --destination DST",
        ),
    )


@get(ORGANIZATION + "/event-bytes/{event_id:path}")
async def download_event(request: AnyRequest, event_id: FromPath[str]) -> Response[bytes]:  # noqa: ARG001 - from the raw path
    """Send the bytes of an event as they are stored."""
    visit = visit_of(request)
    entry = await events.find(control_of(request), visit.caller, raw_id(request, "/event-bytes/"))
    headers = {"content-disposition": 'attachment; filename="event.json"'}
    return Response(entry.body.encode(), media_type="application/json", headers=headers)


@post(ORGANIZATION + "/send", status_code=303)
async def send_again(request: AnyRequest) -> Response[bytes]:
    """Send an event again to the destinations that were chosen, each named with the state that the page showed of it.

    Raises: Invalid when none was chosen. Conflict when one is in another state by now. NotFound. Unavailable.
    """
    control, visit, form = control_of(request), visit_of(request), form_of(request)
    event_id = form.raw("event_id")
    chosen = {
        dst_id: state for dst_id, _, state in (one.partition(" ") for one in form.all("destination_id"))
    }
    if not chosen:
        raise Invalid("no destination was chosen, so nothing was sent: go back and tick at least one")
    found = journey_view(await journeys.read(control, visit.caller, event_id), control.clock.now())
    for lane in found.lanes:
        if lane.dst_id in chosen and lane.state != chosen[lane.dst_id]:
            raise Conflict(
                f"at {lane.name} this event is {lane.state} by now, and the form does not say so; nothing was sent: open the page again"
            )
    sent = await resending.send_again(control, visit.caller, event_id, list(chosen))
    queued = sum(one.queued for one in sent)
    text = f"The event is on its way to {queued} of {len(sent)} destinations."
    if queued < len(sent):
        text += " At the others it waits for its first attempt already."
    return done(request, event_path(base_of(visit.org_id), event_id), text)


@get(ORGANIZATION + "/search")
async def search(request: AnyRequest, q: FromQuery[str] = "") -> Response[bytes]:
    """Lead to what the search box asks for: an event by its id, a destination, a page, or the events that a line describes."""
    control, visit = control_of(request), visit_of(request)
    asked, base = q.strip(), base_of(visit.org_id)
    if not asked:
        return see_other(f"{base}/events")
    try:
        entry = await events.find(control, visit.caller, asked)
    except NotFound:
        pass
    else:
        return see_other(event_path(base, entry.event_id))
    for one in (await overview.read(control, visit.caller)).standings:
        if asked.lower() in (one.dst_id.lower(), one.name.lower()):
            return see_other(f"{base}/d/{path_part(one.dst_id)}")
    if asked.lower() in PLACES:
        return see_other(base + PLACES[asked.lower()])
    return see_other(f"{base}/events?{urlencode({'q': line_of(asked)}, quote_via=quote)}")


def line_of(asked: str) -> str:
    """Return the search line that a text means: the text itself, or where it is none, events in which it occurs."""
    if not isinstance(parse_line(asked), LineProblem):
        return asked
    return SearchLine(EventFilter(words=(asked,))).text()


def searches_of(lanes: list[Lane], event_id: str) -> list[Found]:
    """Return how to find an event in each SIEM whose kind is known, each query once."""
    found: dict[str, Found] = {}
    for lane in lanes:
        if lane.state is None or lane.state.state == "filtered" or lane.destination.damaged:
            continue
        spec = lane.destination.spec
        kind = type_of(spec)
        if kind is not None:
            query = kind.search.query.replace("{event_id}", event_id)
            found.setdefault(query, Found(spec.name or kind.name, f"{kind.name}: {kind.search.where}", query))
    return list(found.values())


HANDLERS = [show_event, download_event, send_again, search]
