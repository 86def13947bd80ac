"""The receiver as an ASGI application, alone or in front of another one.

application = AsgiReceiver(Verifier(bearer="…"), on_event)                                  all paths
application = AsgiReceiver(Verifier(bearer="…"), on_event, path="/audit", otherwise=app)
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .body import Event
from .inbox import BusyError, Inbox, is_test
from .intake import BUSY, FAILED, Intake, OnEvent, Reply, accepted, refused
from .verify import Verifier

log = logging.getLogger("aegis_stream.receiver")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class AsgiReceiver:
    """Accepts audit events by POST: answers 202 on success, 401 to unknown senders, 500 when `on_event` raises.

    Args:
        verifier: decides which requests are accepted.
        on_event: called as `on_event(event, is_test)` for every new event, and awaited if it is a coroutine
            function. A plain function must not block: it runs on the event loop.
        inbox: remembers the events that were handled; a new one by default.
        path: the path of the receiver; None for all paths.
        otherwise: the application for everything else: other paths, websockets, lifespan.
    """

    def __init__(
        self,
        verifier: Verifier,
        on_event: OnEvent,
        *,
        inbox: Inbox | None = None,
        path: str | None = None,
        otherwise: AsgiApplication | None = None,
    ) -> None:
        self.intake = Intake(verifier, inbox)
        self._on_event = on_event
        self._path = path
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it to the other application."""
        ours = scope["type"] == "http" and self._path in {None, scope["path"]}
        if not ours and self._otherwise is not None:
            await self._otherwise(scope, receive, send)
            return
        if scope["type"] != "http":
            # The ASGI specification asks for this; a server reads it as "no lifespan support".
            raise NotImplementedError(f"the receiver does not support {scope['type']}")
        reply = (
            await self._answer(scope, receive) if ours else refused(404, "there is no receiver at this path")
        )
        if reply is None:
            return
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(reply.body))),
            *reply.headers,
        ]
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Reply | None:
        headers = _headers(scope)
        reply = self.intake.refuse_early(scope["method"], headers.get("content-length"))
        if reply is not None:
            return reply
        body = await self._read(receive)
        if not isinstance(body, bytes):
            return body
        events = self.intake.open(headers, body)
        return events if isinstance(events, Reply) else await self._handle(events)

    async def _read(self, receive: Receive) -> bytes | Reply | None:
        """Return the whole body, a 413 if it is too large, or None if the client has disconnected."""
        parts: list[bytes] = []
        length = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            length += len(part)
            if length > self.intake.body_bytes_max:
                return self.intake.too_large()
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _handle(self, events: list[Event]) -> Reply:
        """Like Intake.handle, for a callback that may be a coroutine function."""
        fresh = 0
        try:
            for event in events:
                with self.intake.inbox.once(event) as first_time:
                    if first_time:
                        result = self._on_event(event, is_test(event))
                        if inspect.isawaitable(result):
                            await result
                        fresh += 1
        except BusyError:
            return BUSY
        except Exception:
            log.exception("could not handle an event; the sender will retry it")
            return FAILED
        return accepted(fresh, len(events) - fresh)


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
