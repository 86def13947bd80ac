"""How a request is answered: the rules that the WSGI adapter, the ASGI adapter and the reference receiver share.

    method, length ── refuse_early ──►  Reply or None
    headers, body  ── open ──────────►  the events, or a Reply that rejects them
    events         ── handle ────────►  Reply: 202, or 500 and 503 so that the sender retries

It reads no socket and knows no server interface.
"""

import functools
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from .body import (
    BODY_BYTES_MAX,
    Event,
    MalformedBodyError,
    TooLargeError,
    UnsupportedEncodingError,
    parse_body,
)
from .inbox import BusyError, Inbox, is_test
from .verify import Refused, Verifier

log = logging.getLogger("aegis_stream.receiver")

OnEvent = Callable[[Event, bool], object]
"""Called as `on_event(event, is_test)` for every new event. If it raises, the sender retries the event."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, independent of the server interface.

    Args:
        status: HTTP status.
        body: JSON text.
        headers: further headers, besides Content-Type and Content-Length.
        error: the problem that the body names, "" if there is none.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    error: str = ""

    @property
    def reason(self) -> str:
        """The reason phrase of the status."""
        return HTTPStatus(self.status).phrase


def reply_with(status: int, content: Mapping[str, object]) -> Reply:
    """Return an answer with a JSON object as its body."""
    return Reply(status, json.dumps(content, separators=(",", ":")).encode())


@functools.lru_cache(maxsize=256)  # nearly all answers are one of a few
def accepted(fresh: int, duplicates: int) -> Reply:
    """Return the 202 that counts new events and duplicates."""
    return reply_with(202, {"accepted": fresh, "duplicates": duplicates})


def refused(status: int, error: str, *headers: tuple[str, str]) -> Reply:
    """Return an answer with a problem, in one clause."""
    return Reply(status, reply_with(status, {"error": error}).body, headers, error)


BUSY = refused(503, "another request is handling this event", ("Retry-After", "1"))
FAILED = refused(500, "could not handle the event")


class Intake:
    """Decides about requests, with the configuration of one endpoint.

    Args:
        verifier: decides which requests are accepted.
        inbox: remembers the events that were handled; a new one by default.
        body_bytes_max: largest body in bytes, before and after decompression.
    """

    def __init__(
        self, verifier: Verifier, inbox: Inbox | None = None, *, body_bytes_max: int = BODY_BYTES_MAX
    ) -> None:
        self.verifier = verifier
        self.inbox = Inbox() if inbox is None else inbox
        self.body_bytes_max = body_bytes_max

    def refuse_early(self, method: str, content_length: str | None) -> Reply | None:
        """Return the 400, 405 or 413 that method and length call for, or None if the body should be read."""
        if method != "POST":
            return refused(405, "send events with POST", ("Allow", "POST"))
        if not content_length:
            return None
        # isdecimal alone would accept digits of other scripts, and int() has its own limit on long texts.
        if not (content_length.isascii() and content_length.isdecimal()):
            return refused(400, "Content-Length is not a number")
        if len(content_length) > 18 or int(content_length) > self.body_bytes_max:
            return self.too_large()
        return None

    def too_large(self) -> Reply:
        """Return the answer to a body that exceeds the limit."""
        return refused(413, f"the body exceeds {self.body_bytes_max} bytes")

    def open(self, headers: Mapping[str, str], body: bytes) -> list[Event] | Reply:
        """Verify the sender of a request and parse its body.

        Args:
            headers: names in lower case.
            body: the raw body as received.
        Returns: its events, or the answer that rejects it: 401, or 400, 413 or 415 to a verified sender.
        """
        verdict = self.verifier.verify(headers, body)
        if isinstance(verdict, Refused):
            return refused(401, verdict.reason, ("WWW-Authenticate", "Bearer"))
        try:
            return parse_body(
                body,
                headers.get("content-type"),
                headers.get("content-encoding"),
                body_bytes_max=self.body_bytes_max,
            )
        except MalformedBodyError as exc:
            return refused(400, str(exc))
        except TooLargeError as exc:
            return refused(413, str(exc))
        except UnsupportedEncodingError as exc:
            return refused(415, str(exc), ("Accept-Encoding", "gzip"))

    def handle(self, events: list[Event], on_event: OnEvent) -> Reply:
        """Pass every new event to `on_event`, in order.

        Returns: 202 if all events are handled, now or earlier; 500 if `on_event` raised (logged with its traceback); 503
            if another request is handling one of them. After 500 or 503, the events before that one are remembered, that
            one and the later ones are not: the sender retries all of them and nothing is lost.
        """
        fresh = 0
        try:
            for event in events:
                with self.inbox.once(event) as first_time:
                    if first_time:
                        on_event(event, is_test(event))
                        fresh += 1
        except BusyError:
            return BUSY
        except Exception:
            log.exception("could not handle an event; the sender will retry it")
            return FAILED
        return accepted(fresh, len(events) - fresh)
