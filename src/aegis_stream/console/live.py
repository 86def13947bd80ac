"""The stream of what a page shows while somebody looks at it; where a proxy holds streams back, the same as one answer with an ETag."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.params import FromQuery
from litestar.response import Stream

from aegis_stream.api.scopes import take_turn
from aegis_stream.api.service import control_of, service_of
from aegis_stream.api.stream import MEDIA_TYPE
from aegis_stream.control import overview
from aegis_stream.control.overview import Overview
from aegis_stream.domain.ids import SECOND
from aegis_stream.errors import AegisError

from .gate import check_again, visit_of
from .live_cells import Cell
from .live_state import LiveState, change, live_state
from .page import base_of
from .redraw import Redraw, Wanted, wanted_of
from .rights import ORGANIZATION
from .zone import Zone, zone_in

AnyRequest = Request[Any, Any, Any]
QUIET_MAX = 4
"""After so many reads without a change an empty message tells that the service is there."""
STREAM_US = 300 * SECOND
"""A stream ends after so long, and the page opens another one: with the cookies that the browser has by then."""


@get(ORGANIZATION + "/live", media_type=MEDIA_TYPE)
async def live(request: AnyRequest, about: FromQuery[str] = "", drawn: FromQuery[str] = "") -> Response[Any]:
    """Stream what a page shows: all of it at once, then what changes, at most once a second.

    Args:
        about: id of the destination whose page it is; "" for all other pages.
        drawn: which drawings the page has, as `redraw.wanted_of` reads it; "" for none.

    Times are written in the zone of the URL, as pages do.
    """
    service, visit = service_of(request), visit_of(request)
    zone = zone_in(request.url.query)
    page = _Page(request, about, wanted_of(about, drawn, zone), zone)
    if "application/json" in request.headers.get("accept", ""):
        await take_turn(service, request, visit.caller)
        found = await overview.read(service.control, visit.caller)
        return _answer(request, await page.state(found, anew=False))
    overviews = service.live.watch(service.control, visit.caller)
    # What is wrong at the beginning is an error, not a stream.
    first = await anext(overviews, None)
    headers = {"x-accel-buffering": "no"}
    return Stream(_messages(page, first, overviews), media_type=MEDIA_TYPE, headers=headers)


@dataclass(frozen=True, slots=True)
class _Page:
    """The page that somebody looks at: `about` as for `live`; what it draws, and in which zone it writes times."""

    request: AnyRequest
    about: str
    wanted: Wanted | None
    zone: Zone

    async def state(self, found: Overview, *, anew: bool) -> LiveState:
        """Return what it shows. `anew`: drawings as well are no older than this call. Raises: NotFound, Unavailable."""
        control, visit = control_of(self.request), visit_of(self.request)
        drawn: Mapping[str, Cell] = {}
        if self.wanted is not None and (
            not self.about or any(self.about == one.dst_id for one in found.standings)
        ):
            redraw: Redraw = self.request.app.state.redraw
            drawn = await redraw.cells(control, visit.caller, found, self.wanted, anew=anew)
        state = live_state(
            found,
            base_of(visit.org_id),
            self.about,
            control.clock.now(),
            may_write=visit.may_write,
            zone=self.zone,
        )
        return msgspec.structs.replace(state, drawn=drawn)


async def _messages(
    page: _Page, first: Overview | None, overviews: AsyncIterator[Overview]
) -> AsyncIterator[bytes]:
    clock = control_of(page.request).clock
    until, quiet = clock.steady() + STREAM_US, 0
    try:
        if first is None:
            return  # the service stops
        shown = await page.state(first, anew=True)
        yield _message(change(None, shown))
        async for found in overviews:
            await check_again(page.request)
            before, shown = shown, await page.state(found, anew=False)
            changed = change(before, shown)
            quiet = 0 if changed else quiet + 1
            if changed:
                yield _message(changed)
            elif quiet >= QUIET_MAX:
                quiet = 0
                yield b":\n\n"
            if clock.steady() > until:
                return
    except AegisError:
        return  # the page asks again, and is told then what is wrong
    finally:
        await overviews.aclose()  # type: ignore[attr-defined] # an asynchronous generator


def _message(changed: dict[str, object]) -> bytes:
    return b"data: " + msgspec.json.encode(changed) + b"\n\n"


def _answer(request: AnyRequest, state: LiveState) -> Response[bytes]:
    body = msgspec.json.encode(change(None, state))
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    same = request.headers.get("if-none-match") == tag
    return Response(
        b"" if same else body,
        status_code=304 if same else 200,
        media_type="application/json",
        headers={"etag": tag},
    )


HANDLERS = [live]
