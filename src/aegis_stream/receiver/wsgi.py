"""The receiver as a WSGI application, alone or in front of another one.

application = WsgiReceiver(Verifier(bearer="…"), on_event)                                  all paths
app.wsgi_app = WsgiReceiver(Verifier(bearer="…"), on_event, path="/audit", otherwise=app.wsgi_app)
"""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from .inbox import Inbox
from .intake import Intake, OnEvent, Reply, refused
from .verify import Verifier

_READ_BYTES = 64 * 1024


class WsgiReceiver:
    """Accepts audit events by POST: answers 202 on success, 401 to unknown senders, 500 when `on_event` raises.

    Args:
        verifier: decides which requests are accepted.
        on_event: called as `on_event(event, is_test)` for every new event, in the thread of the server.
        inbox: remembers the events that were handled; a new one by default.
        path: the path of the receiver; None for all paths.
        otherwise: the application for other paths; without it they are answered 404.
    """

    def __init__(
        self,
        verifier: Verifier,
        on_event: OnEvent,
        *,
        inbox: Inbox | None = None,
        path: str | None = None,
        otherwise: WSGIApplication | None = None,
    ) -> None:
        self.intake = Intake(verifier, inbox)
        self._on_event = on_event
        self._path = path
        self._otherwise = otherwise

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, or pass it to the other application."""
        if self._path is not None and environ.get("PATH_INFO", "") != self._path:
            if self._otherwise is not None:
                return self._otherwise(environ, start_response)
            reply = refused(404, "there is no receiver at this path")
        else:
            reply = self._answer(environ)
        start_response(
            f"{reply.status} {reply.reason}",
            [("Content-Type", "application/json"), ("Content-Length", str(len(reply.body))), *reply.headers],
        )
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else reply.body]

    def _answer(self, environ: WSGIEnvironment) -> Reply:
        reply = self.intake.refuse_early(environ["REQUEST_METHOD"], environ.get("CONTENT_LENGTH"))
        if reply is not None:
            return reply
        body = self._read(environ)
        if isinstance(body, Reply):
            return body
        events = self.intake.open(_headers(environ), body)
        return events if isinstance(events, Reply) else self.intake.handle(events, self._on_event)

    def _read(self, environ: WSGIEnvironment) -> bytes | Reply:
        declared = environ.get("CONTENT_LENGTH")
        if declared:
            wanted = int(declared)
        elif environ.get("wsgi.input_terminated"):
            wanted = self.intake.body_bytes_max + 1  # chunked: the server ends the stream
        else:
            wanted = 0  # without a length the streams of some servers would block for ever
        parts: list[bytes] = []
        missing = wanted
        while missing and (part := environ["wsgi.input"].read(min(missing, _READ_BYTES))):
            parts.append(part)
            missing -= len(part)
        if declared and missing:
            return refused(400, "the body is shorter than Content-Length")
        return b"".join(parts) if wanted - missing <= self.intake.body_bytes_max else self.intake.too_large()


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    headers = {
        key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")
    }
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    return headers
