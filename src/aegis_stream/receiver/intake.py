"""What a request is answered: the rules that the WSGI adapter, the ASGI adapter and the reference receiver share.

    method, length ── refuse_early ──►  Reply or None
    headers, body  ── open ──────────►  the events, or a Reply that refuses them
    events         ── handle ────────►  Reply: 202, or 500 and 503 so that the sender tries again

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
"""Called as `on_event(event, is_test)` for every event that is new. Raise, and the sender tries again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, before it is written in the way of some server interface.

    Args:
        status: HTTP status.
        body: JSON text.
        headers: further headers, besides Content-Type and Content-Length.
        error: what the body says is wrong, if anything.
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
    """Return the 202 that tells how many events were new and how many had been handled before."""
    return reply_with(202, {"accepted": fresh, "duplicates": duplicates})


def refused(status: int, error: str, *headers: tuple[str, str]) -> Reply:
    """Return an answer that says in one clause what is wrong."""
    return Reply(status, reply_with(status, {"error": error}).body, headers, error)


BUSY = refused(503, "this event is being handled by another request", ("Retry-After", "1"))
FAILED = refused(500, "the event could not be handled")


class Intake:
    """Decides about requests; holds what an endpoint is configured with.

    Args:
        verifier: whose requests are taken.
        inbox: where handled events are remembered; a fresh one by default.
        body_bytes_max: longest body in bytes, before and after decompression.
    """

    def __init__(
        self, verifier: Verifier, inbox: Inbox | None = None, *, body_bytes_max: int = BODY_BYTES_MAX
    ) -> None:
        self.verifier = verifier
        self.inbox = Inbox() if inbox is None else inbox
        self.body_bytes_max = body_bytes_max

    def refuse_early(self, method: str, content_length: str | None) -> Reply | None:
        """Return the answer to a request whose head already forbids it (400, 405, 413), or None to read its body."""
        if method != "POST":
            return refused(405, "send events by POST", ("Allow", "POST"))
        if not content_length:
            return None
        # isdecimal alone would let other scripts' digits pass, and int() has a limit of its own on long texts.
        if not (content_length.isascii() and content_length.isdecimal()):
            return refused(400, "Content-Length is not a number")
        if len(content_length) > 18 or int(content_length) > self.body_bytes_max:
            return self.too_large()
        return None

    def too_large(self) -> Reply:
        """Return the answer to a body above the limit."""
        return refused(413, f"the body is longer than {self.body_bytes_max} bytes")

    def open(self, headers: Mapping[str, str], body: bytes) -> list[Event] | Reply:
        """Verify the sender of a request and parse its body.

        Args:
            headers: names in lower case.
            body: the raw body as it came.
        Returns: its events, or the answer that refuses it: 401, and only to a verified sender 400, 413 or 415.
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
        """Give every new event to `on_event`, in order.

        Returns: 202 when all are handled or were before; 500 when `on_event` raised (logged with its traceback), 503
            when another request is handling one of them. After either, the events before that one are remembered,
            that one and those after it are not: the sender repeats all and nothing is lost.
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
            log.exception("an event could not be handled; its sender will try again")
            return FAILED
        return accepted(fresh, len(events) - fresh)
