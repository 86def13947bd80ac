"""Splunk HTTP Event Collector, `/services/collector[/event]`: events one after the other, each in an envelope with its time.

The code in the answer's body decides, not the status: 24 and 25 come with 200. We set `source`; index, host and sourcetype come
from the token. If the token has indexer acknowledgement, the answer has an ackId, about which `splunk_ack` asks.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from aegis_stream.domain.attempt import (
    Accepted,
    Answer,
    Failure,
    FailureScope,
    Fault,
    Request,
    Response,
    Verdict,
)

from .answers import is_success, read_answer, rejected, unexpected
from .fields import SOURCE, seconds_of
from .format import Acks, Format
from .splunk_ack import ACK_PATH, confirmed, encode_question
from .status import wait_of

CODE_SUCCESS = 0
CODES_FULL = frozenset({24, 25})
"""Accepted, but a queue (24) or the store of acknowledgements (25) is nearly full."""
_ADVICE_TOKEN = (
    "the token is missing, wrong or disabled: set auth_header_value to Splunk, a space and the token"  # noqa: S105 - advice
)
_ADVICE_CHANNEL = "indexer acknowledgement is on for this token: add ?channel= and a GUID to the URL, or turn it off for the token"
_TO_FIX = {
    **dict.fromkeys((1, 2, 3, 4, 21, 22), _ADVICE_TOKEN),
    7: "the token's index does not exist or is not allowed: correct the token in Splunk",
    **dict.fromkeys((10, 11), _ADVICE_CHANNEL),
    14: "indexer acknowledgement is off for this token: remove channel from the URL",
    16: "Splunk does not allow tokens in the URL: send the token in auth_header_value",
    17: "the URL is that of the health check: end it with /services/collector/event",
}
"""Codes about the token or the URL. Code 7 is one of them, since we do not set an index."""
_BAD_EVENT = {
    5: "no data",
    6: "Splunk cannot read the event's format",
    12: "the envelope has no event",
    13: "the event is empty",
    15: "the indexed fields cannot be read",
}
_BUSY = {
    8: "Splunk had an internal error: check splunkd.log",
    9: "Splunk is busy",
    18: "Splunk's queues are full",
    19: "the acknowledgement service is unavailable",
    20: "Splunk's queues are full and the acknowledgement service is unavailable",
    23: "Splunk is shutting down",
    26: "Splunk's queue is at capacity",
    27: "Splunk has no room for further acknowledgements",
}
_CODE_FAILED_INSIDE = 8


class _Reply(
    msgspec.Struct, gc=False, rename={"invalid_event_number": "invalid-event-number", "ack_id": "ackId"}
):
    code: int
    invalid_event_number: int | None = None
    ack_id: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None


_decode = msgspec.json.Decoder(_Reply).decode


def encode(bodies: Sequence[bytes]) -> Request:
    """Send each event as stored, in an envelope with its time, one envelope after the other."""
    parts: list[bytes] = []
    for body in bodies:
        parts += (f'{{"time":{seconds_of(body)},"source":"{SOURCE}","event":'.encode(), body, b"}")
    return Request(b"".join(parts))


def interpret(answer: Answer, count: int) -> Verdict | list[Verdict]:
    """Judge by the code in the body; without a code a 2xx does not count as success."""
    if isinstance(answer, Fault):
        return rejected(answer, count)
    reply = read_answer(_decode, answer)
    if reply is None:
        return unexpected(answer, "Splunk") if is_success(answer) else rejected(answer, count)
    code = reply.code
    if code == CODE_SUCCESS and is_success(answer):
        return Accepted(answer.status, ack_id=reply.ack_id)
    if code in CODES_FULL and is_success(answer):
        return Accepted(answer.status, overload=True, ack_id=reply.ack_id)
    if code in _BAD_EVENT:
        return _from_first_bad(reply, answer, count)
    return _about_destination(code, answer, count)


def _from_first_bad(reply: _Reply, answer: Response, count: int) -> Verdict | list[Verdict]:
    """Judge a request that Splunk read up to a rejected event: earlier events are stored, later ones were not read."""
    bad = Failure(
        FailureScope.EVENT,
        _message(answer, reply.code, _BAD_EVENT[reply.code]),
        status_code=answer.status,
        permanent=True,
    )
    number = reply.invalid_event_number
    if number is None or not 0 <= number < count:
        return bad
    rest = Failure(
        FailureScope.DESTINATION,
        _message(
            answer, reply.code, "an earlier event of the request was rejected, and this one was not read"
        ),
        status_code=answer.status,
        unjudged=True,
    )
    return [*[Accepted(200)] * number, bad, *[rest] * (count - number - 1)]


def _about_destination(code: int, answer: Response, count: int) -> Verdict:
    if code in _TO_FIX:
        return Failure(
            FailureScope.DESTINATION,
            _message(answer, code, _TO_FIX[code]),
            status_code=answer.status,
            fix_needed=True,
        )
    if code in _BUSY:
        wait_s, wait_until = wait_of(answer)
        return Failure(
            FailureScope.DESTINATION,
            _message(answer, code, _BUSY[code]),
            status_code=answer.status,
            retry_after_s=wait_s,
            retry_at=wait_until,
            overload=code != _CODE_FAILED_INSIDE,
        )
    return unexpected(answer, "Splunk") if is_success(answer) else rejected(answer, count)


def _message(answer: Response, code: int, why: str) -> str:
    return f"answered {answer.status}, code {code}: {why}"


SPLUNK_HEC = Format(
    "splunk_hec",
    encode,
    interpret,
    batches=True,
    frame_bytes=72,
    events_max=1000,
    body_bytes_max=2 * 1024 * 1024,
    acks=Acks(ACK_PATH, encode_question, confirmed),
)
