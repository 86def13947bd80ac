"""The stream of what a page shows while somebody looks at it; where a proxy holds streams back, the same as one answer with an ETag."""

import hashlib
from collections.abc import AsyncIterator
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
from .live_state import LiveState, change, live_state
from .page import base_of
from .rights import ORGANIZATION
from .zone import zone_in

AnyRequest = Request[Any, Any, Any]
QUIET_MAX = 4
"""After so many reads without a change an empty message tells that the service is there."""
STREAM_US = 300 * SECOND
"""A stream ends after so long, and the page opens another one: with the cookies that the browser has by then."""


@get(ORGANIZATION + "/live", media_type=MEDIA_TYPE)
async def live(request: AnyRequest, about: FromQuery[str] = "") -> Response[Any]:
    """Stream what a page shows: all of it at once, then what changes, at most once a second.

    Args:
        about: id of the destination whose page it is; "" for all other pages.

    Times are written in the zone of the URL, as pages do.
    """
    service, visit, zone = service_of(request), visit_of(request), zone_in(request.url.query)
    if "application/json" in request.headers.get("accept", ""):
        await take_turn(service, request, visit.caller)
        found = await overview.read(service.control, visit.caller)
        return _answer(
            request,
            live_state(
                found,
                base_of(visit.org_id),
                about,
                service.control.clock.now(),
                may_write=visit.may_write,
                zone=zone,
            ),
        )
    overviews = service.live.watch(service.control, visit.caller)
    # What is wrong at the beginning is an error, not a stream.
    first = await anext(overviews, None)
    headers = {"x-accel-buffering": "no"}
    return Stream(_messages(request, about, first, overviews), media_type=MEDIA_TYPE, headers=headers)


async def _messages(
    request: AnyRequest, about: str, first: Overview | None, overviews: AsyncIterator[Overview]
) -> AsyncIterator[bytes]:
    clock, base = control_of(request).clock, base_of(visit_of(request).org_id)
    until, quiet, zone = clock.steady() + STREAM_US, 0, zone_in(request.url.query)
    try:
        if first is None:
            return  # the service stops
        may_write = visit_of(request).may_write
        shown = live_state(first, base, about, clock.now(), may_write=may_write, zone=zone)
        yield _message(change(None, shown))
        async for found in overviews:
            await check_again(request)
            before = shown
            shown = live_state(found, base, about, clock.now(), may_write=may_write, zone=zone)
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
    body = msgspec.json.encode(state)
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    same = request.headers.get("if-none-match") == tag
    return Response(
        b"" if same else body,
        status_code=304 if same else 200,
        media_type="application/json",
        headers={"etag": tag},
    )


HANDLERS = [live]
