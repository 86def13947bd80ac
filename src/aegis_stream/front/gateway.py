"""A request → the ASGI application, for everything but the hot path."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from .answer import Answer, head_of, make_answer
from .connection import Connection
from .head import Head

Message = MutableMapping[str, Any]
Application = Callable[..., Awaitable[None]]


class Call:
    """One request under way in the application."""

    __slots__ = (
        "_body",
        "_connection",
        "_defaults",
        "_gone",
        "_head",
        "_headers",
        "_status",
        "_streams",
        "answered",
    )

    def __init__(
        self, head: Head, body: bytes, connection: Connection, defaults: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        self.answered = False
        self._defaults = defaults
        self._head = head
        self._body: bytes | None = body
        self._connection = connection
        self._gone: asyncio.Future[None] | None = None
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._streams = False

    def scope(self, client: str) -> dict[str, Any]:
        """Return the ASGI scope; HEAD is GET without a body (RFC 9110 section 9.3.2)."""
        head = self._head
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.version,
            "method": "GET" if head.method == "HEAD" else head.method,
            "scheme": "http",
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "root_path": "",
            "headers": [one for one in head.fields if one[0] != b"upgrade"],  # an offer that is not taken
            "client": (client, 0) if client else None,
            "server": None,
            "state": {},
        }

    async def receive(self) -> Message:
        """Give the body; after that, wait for the client to go."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        self._gone = asyncio.get_running_loop().create_future()
        self._connection.on_lost = self._leave
        if self._connection.lost:
            self._leave()
        await self._gone
        return {"type": "http.disconnect"}

    def _leave(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    async def send(self, message: Message) -> None:
        """Take the answer: whole, or piece by piece."""
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message["headers"])
            names = {name.lower() for name, _ in self._headers}
            self._headers += [one for one in self._defaults if one[0] not in names]
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if more and not self._streams:
            self._streams = self.answered = True
            self._connection.begin_stream(head_of(self._status, self._headers))
        if self._streams:
            await self._connection.stream(body, last=not more)
        else:
            self.answered = True
            named = [one for one in self._headers if one[0].lower() != b"content-length"]
            self._connection.answer(make_answer(self._status, named, body))


@dataclass(slots=True)
class Gateway:
    """Runs the application, a task for each request.

    Args:
        failed: makes the answer where the application gave none: (path, what it raised).
        defaults: headers of every answer that does not have them already; names in small letters.
    """

    application: Application
    failed: Callable[[str, BaseException | None], Answer]
    defaults: tuple[tuple[bytes, bytes], ...] = ()
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    def begin(self, head: Head, body: bytes, connection: Connection, client: str) -> None:
        """Hand a request over in its turn."""

        def work(body: bytes) -> None:
            call = Call(head, body, connection, self.defaults)
            task = asyncio.ensure_future(self._run(call, head, connection, client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        connection.call(body, work)

    async def _run(self, call: Call, head: Head, connection: Connection, client: str) -> None:
        error: BaseException | None = None
        try:
            await self.application(call.scope(client), call.receive, call.send)
        except Exception as found:  # noqa: BLE001 - the last resort: an answer, and a line in the log
            error = found
        if not call.answered:
            connection.answer(self.failed(head.path, error))
        elif error is not None:
            self.failed(head.path, error)  # logged; the answer has begun already
            connection.transport.abort()
