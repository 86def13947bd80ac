"""What workers keep of answers to failed attempts: headers and the beginning of the body, without our secrets."""

from collections.abc import Callable

from aegis_stream.domain.attempt import Response
from aegis_stream.domain.delivery import ShownAnswer
from aegis_stream.domain.destination import MASK, DestinationSpec

from .redaction import redact

EXCERPT_BYTES_MAX = 1024
"""Most bytes of an answer's body that are kept."""
HEADERS_MAX = 40
"""Most headers that are kept."""
_CREDENTIALS = ("set-cookie", "authorization", "proxy-authorization", "cookie")
"""Headers whose values are a credential of the peer's."""


def shown_answer(
    answer: Response,
    spec: DestinationSpec,
    bearers: list[str],
    *,
    rest: Callable[[], object] | None = None,
) -> ShownAnswer:
    """Return what may be kept of an answer.

    Args:
        bearers: tokens that were sent.
        rest: called after each step of about a millisecond, at most 256 times, if given.
    """
    lines = answer.head.decode("latin-1").split("\r\n")[1 : HEADERS_MAX + 1]
    headers = "\n".join(_line(line) for line in lines if line.partition(":")[1])
    body = answer.body[:EXCERPT_BYTES_MAX].decode("utf-8", "replace")
    length = 2 * EXCERPT_BYTES_MAX
    excerpt = redact(body, spec, bearers, length, rest).encode()[:EXCERPT_BYTES_MAX].decode("utf-8", "ignore")
    return ShownAnswer(redact(headers, spec, bearers, length, rest) if headers else "", excerpt)


def _line(line: str) -> str:
    name, _, value = line.partition(":")
    return f"{name.strip()}: {MASK if name.strip().lower() in _CREDENTIALS else value.strip()}"
