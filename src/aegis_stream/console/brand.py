"""The line on top of every page in the colour of the settings: a style sheet of its own, because pages have no style inside them."""

from typing import Any

from litestar import Request, Response, get

from aegis_stream.api.service import control_of

AnyRequest = Request[Any, Any, Any]
_KEPT = "public, max-age=300"
"""A restart with another colour changes the address; after one with the same address, browsers ask within five minutes."""


@get("/console/brand.css")
async def show_brand(request: AnyRequest) -> Response[str]:
    """Return the style sheet, an empty one without a colour in the settings."""
    colour = control_of(request).settings.console.brand_colour
    # The kind of the setting lets nothing but a colour through.
    style = f".top {{ border-top: 4px solid {colour}; }}\n" if colour else ""
    return Response(style, media_type="text/css", headers={"cache-control": _KEPT})


HANDLERS = [show_brand]
