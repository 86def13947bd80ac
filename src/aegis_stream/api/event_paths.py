"""The ids of events in paths: clients choose them, and one may have slashes, which the framework takes for the ends of parts."""

from typing import Any
from urllib.parse import quote, unquote

from litestar import Litestar, Request

SEND = "/send"
_ORGANIZATIONS, _EVENTS, _PROOF = "/api/orgs/", "/events/", "/proof"


class Routes(Litestar):
    """The routes of the API, for which the id of an event is one part of the path."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a call."""
        if "method" in scope:
            scope["path"] = whole_ids(scope["method"], scope["path"])
        await super().__call__(scope, receive, send)


def whole_ids(method: str, path: str) -> str:
    """Return a path in which the id of an event has no slash, but %2F.

    What follows …/events/ is the id; but in a GET without the /send at its end.
    """
    organization, found, rest = path.partition(_EVENTS)
    org_id = organization.removesuffix(_PROOF)[len(_ORGANIZATIONS) :]
    if not found or not organization.startswith(_ORGANIZATIONS) or "/" in org_id:
        return path
    action = SEND if method != "GET" and rest.endswith(SEND) else ""
    event_id = rest.removesuffix(action) if action else rest
    return organization + found + quote(event_id, safe="") + action if "/" in event_id else path


def event_id_of(request: Request[Any, Any, Any]) -> str:
    """Return the id of the event in a path, as the client wrote it."""
    rest = request.scope["raw_path"].decode("ascii", "replace").partition(_EVENTS)[2]
    return unquote(rest.removesuffix(SEND) if request.method != "GET" else rest)
