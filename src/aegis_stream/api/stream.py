"""How an organization stands, as a stream of server-sent events, for whoever would otherwise ask again and again."""

from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec
from litestar import Request, get
from litestar.response import Stream

from aegis_stream.control import keys
from aegis_stream.control.caller import Caller
from aegis_stream.control.live import Live
from aegis_stream.control.overview import Overview
from aegis_stream.domain.ids import KeyId
from aegis_stream.domain.standing import Standing, State
from aegis_stream.errors import AegisError

from .docs import errors
from .schemas.base import time_text
from .scopes import caller_of
from .service import Service, service_of

AnyRequest = Request[Any, Any, Any]
RETRY_MS = 2000
"""After so long a client connects again when its stream has ended, milliseconds."""
QUIET_MAX = 15
"""After so many reads without a change the same is told again, so that both sides know that the other is there."""
MEDIA_TYPE = "text/event-stream"


class StandingBody(msgspec.Struct):
    """How one destination stands."""

    id: str
    name: str
    state: str
    status: Literal["active", "failing", "paused"]
    cause: str
    status_code: int | None
    delivered: int
    waiting: int
    waiting_since: str | None
    retrying: int
    dead_letters: int
    last_success_at: str | None
    last_error_at: str | None


class OverviewBody(msgspec.Struct):
    """How an organization stands: one message of the stream."""

    org_id: str
    head_sequence: int
    last_received_at: str | None
    destinations: list[StandingBody]


@get("/api/orgs/{org_id:str}/stream", tags=["Organizations"], responses=errors(403), media_type=MEDIA_TYPE)
async def stream(request: AnyRequest) -> Stream:
    """Stream how the organization stands: one message at once, one after each change, at most one a second.

    Each message is `event: state` with a JSON object that says all. The same message comes again after 15 quiet seconds. The
    stream ends when the key is revoked and when the service stops; a client connects again.
    """
    service, caller = service_of(request), caller_of(request)
    first, rest = await begun(service.live, service, caller)
    return Stream(_messages(first, rest), media_type=MEDIA_TYPE, headers={"x-accel-buffering": "no"})


async def begun(
    live: Live, service: Service, caller: Caller
) -> tuple[Overview | None, AsyncIterator[Overview]]:
    """Return the first overview and those that follow; what is wrong at the beginning is an error, not a stream.

    Raises: Limited, NotFound, Unavailable.
    """
    following = while_valid(live.watch(service.control, caller), service, caller)
    return await anext(following, None), following


async def while_valid(
    overviews: AsyncIterator[Overview], service: Service, caller: Caller
) -> AsyncIterator[Overview]:
    """Yield overviews that differ, and the same one again after a while, as long as the key of the caller is valid.

    Raises: Unauthenticated when it is not any more. What `overviews` raises.
    """
    principal = caller.principal
    told, quiet = None, 0
    try:
        async for one in overviews:
            if principal is not None and principal.key_id != OPERATOR:
                await keys.principal_of(
                    service.control, principal.organization_no, principal.org_id, KeyId(principal.key_id)
                )
            quiet += 1
            if one is not told or quiet >= QUIET_MAX:
                told, quiet = one, 0
                yield one
    finally:
        await overviews.aclose()  # type: ignore[attr-defined] # an asynchronous generator


OPERATOR = "operator"
"""Id of the key by which the operator visits an organization: it is no key of the organization."""


def message_of(value: Any, *, first: bool = False) -> bytes:
    """Return one message of a stream; the first one says when to connect again."""
    retry = b"retry: %d\n" % RETRY_MS if first else b""
    return retry + b"event: state\ndata: " + msgspec.json.encode(value) + b"\n\n"


def overview_body(found: Overview) -> OverviewBody:
    """Show an overview."""
    return OverviewBody(
        found.organization.org_id,
        found.organization.head,
        time_text(found.last_received_at),
        [_standing(one) for one in found.standings],
    )


def _standing(one: Standing) -> StandingBody:
    status: Literal["active", "failing", "paused"] = (
        "paused" if one.state is State.PAUSED else "failing" if one.state.is_wrong else "active"
    )
    return StandingBody(
        id=one.dst_id,
        name=one.name,
        state=one.state.value,
        status=status,
        cause=one.cause,
        status_code=one.status_code,
        delivered=one.delivered,
        waiting=one.waiting,
        waiting_since=time_text(one.waiting_since),
        retrying=one.retrying,
        dead_letters=one.dead_letters,
        last_success_at=time_text(one.last_success_at),
        last_error_at=time_text(one.last_error_at),
    )


async def _messages(first: Overview | None, rest: AsyncIterator[Overview]) -> AsyncIterator[bytes]:
    try:
        if first is not None:
            yield message_of(overview_body(first), first=True)
        async for one in rest:
            yield message_of(overview_body(one))
    except AegisError:
        return  # the client connects again, and is told then what is wrong
    finally:
        await rest.aclose()  # type: ignore[attr-defined] # an asynchronous generator


HANDLERS = [stream]
