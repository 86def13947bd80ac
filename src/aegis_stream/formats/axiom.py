"""Axiom ingest, `/v1/datasets/<dataset>/ingest` or `/v1/ingest/<dataset>`: an event a line; the answer counts the stored events."""

from typing import Annotated

import msgspec

from aegis_stream.domain.attempt import Accepted, Answer, Failure, FailureScope, Verdict

from .answers import is_success, read_answer, rejected, unexpected
from .format import Format
from .plain import encode_lines

ANSWER_BYTES_MAX = 192 * 1024
"""Most bytes of an answer that are read; it lists every failed event with the reason."""

_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Reply(msgspec.Struct, gc=False):
    ingested: _Count
    failed: _Count


_decode = msgspec.json.Decoder(_Reply).decode


def interpret(answer: Answer, count: int) -> Verdict:
    """Count a 2xx as success if it reports every event as ingested and none as failed.

    Axiom does not say which event failed. Only smaller requests can show that, and they send the ingested events again.
    """
    if not is_success(answer):
        return rejected(answer, count)
    reply = read_answer(_decode, answer)
    if reply is None:
        return unexpected(answer, "Axiom")
    if reply.failed == 0 and reply.ingested == count:
        return Accepted(answer.status)
    failed = count - min(reply.ingested, count - 1)
    return Failure(
        FailureScope.EVENT,
        f"answered {answer.status}, but rejected {failed} of {count} events: a field is too long, or there are too many fields",
        status_code=answer.status,
        permanent=True,
    )


AXIOM = Format(
    "axiom",
    encode_lines,
    interpret,
    batches=True,
    frame_bytes=1,
    events_max=1000,
    body_bytes_max=10_000_000,
    event_bytes_max=1_000_000,
    answer_bytes_max=ANSWER_BYTES_MAX,
    query=(("timestamp-field", "@timestamp"),),
    compressions=frozenset({"gzip", "zstd"}),
)
