"""The attempts at all destinations of the organization: failures, unless the URL asks for others."""

from typing import Any

from litestar import Request, Response, get

from aegis_stream.api.service import control_of
from aegis_stream.control import overview

from .attempt_filters import asked_of
from .attempts import context_of, list_call, listed_of
from .gate import visit_of
from .page import page
from .rights import ORGANIZATION

AnyRequest = Request[Any, Any, Any]


@get(ORGANIZATION + "/deliveries")
async def show_deliveries(request: AnyRequest) -> Response[str]:
    """Show the attempts at all destinations."""
    deps = control_of(request)
    asked = asked_of(dict(request.query_params), "failed", deps.clock.now())
    found = await overview.read(deps, visit_of(request).caller)
    return await page(
        request,
        "deliveries.html",
        title="Deliveries",
        status=422 if asked.problems else 200,
        known=found,
        names={one.dst_id: one.name for one in found.standings},
        listed=await listed_of(request, None, asked),
        shown=list_call(request, "/deliveries", asked),
        **context_of(asked),
    )


HANDLERS = [show_deliveries]
