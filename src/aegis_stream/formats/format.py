"""What a format is: a pair of pure functions, and the limits of the destinations it is for, as data."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from aegis_stream.domain.attempt import Answer, Failure, FailureScope, Request, Verdict
from aegis_stream.domain.destination import BatchPolicy, Compression
from aegis_stream.domain.ids import SECOND, Micros

from .fields import micros_of
from .status import by_status

ANSWER_BYTES_MAX = 16 * 1024
"""Bytes of an answer's body that suffice where it speaks about the request as a whole."""

_UNREADABLE_STATUSES = frozenset({400, 406, 415})
"""What receivers answer to a body that they cannot read."""

BODY_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of a body where the contract has no limit: beyond what any batch policy allows."""


@dataclass(frozen=True, slots=True)
class Acks:
    """How a destination is asked whether it has stored what it accepted (`Accepted.ack_id`).

    Args:
        path: where, on the destination's host; with the query of its URL.
        encode_question: numbers → request; pure.
        confirmed: (answer, numbers) → those whose events are stored. Total.
    """

    path: str
    encode_question: Callable[[Iterable[int]], Request]
    confirmed: Callable[[Answer, Iterable[int]], frozenset[int]]


@dataclass(frozen=True, slots=True)
class Format:
    """How events travel to one kind of destination.

    Args:
        name: what the user writes as `format`.
        encode: stored bodies → request, in their order. Pure; as many bodies as events_max at most.
        interpret: (answer, number of events) → a verdict for each event, or one verdict for all of them. Total: any
            status, any bytes. An answer that is cut short is never a success.
        batches: more than one event may travel in a request.
        frame_bytes: bytes that each event adds to the body beside its own.
        growth: bytes of body for a byte of event, as a rule; what turns out longer is caught by `oversize`.
        events_max: most events in a request.
        body_bytes_max: most bytes of a request body before compression.
        event_bytes_max: most bytes of one event as it is sent; None where only the body's limit counts.
        answer_bytes_max: bytes of an answer's body that must be read for `interpret` to know about every event.
        query: parameters that the URL gets where it does not name them itself.
        compressions: values of `compression`, beside "none", that every destination of the format takes without loss.
        age_max_s: events older than this are dropped behind a 2xx, seconds; None where age does not matter.
        in_order: one request at a time: the destination refuses what comes long after something newer.
        acks: how to ask about what was accepted; None where an answer is the destination's last word.
    """

    name: str
    encode: Callable[[Sequence[bytes]], Request]
    interpret: Callable[[Answer, int], Verdict | list[Verdict]]
    batches: bool
    frame_bytes: int = 0
    growth: float = 1.0
    events_max: int = 10_000
    body_bytes_max: int = BODY_BYTES_MAX
    event_bytes_max: int | None = None
    answer_bytes_max: int = ANSWER_BYTES_MAX
    query: tuple[tuple[str, str], ...] = ()
    compressions: frozenset[str] = frozenset({"gzip"})
    age_max_s: int | None = None
    in_order: bool = False
    acks: Acks | None = None


def narrowed(policy: BatchPolicy, format_: Format) -> BatchPolicy:
    """Return the batch policy a destination can have with this format: the user's, within the format's limits."""
    return replace(
        policy,
        max_events=min(policy.max_events, format_.events_max) if format_.batches else 1,
        max_bytes=min(policy.max_bytes, int(format_.body_bytes_max / format_.growth)),
    )


def oversize(format_: Format, request: Request, count: int) -> Failure | None:
    """Return why a request must not be sent because of its size, or None.

    Like a 413 the failure is about the event: a batch is halved, and an event that is alone is given up.
    """
    alone = count == 1
    limit = (format_.event_bytes_max if alone else None) or format_.body_bytes_max
    if len(request.body) <= limit:
        return None
    what = "the event" if alone else f"the request of {count} events"
    return Failure(
        FailureScope.EVENT,
        f"{what} has {len(request.body)} bytes as {format_.name}; the limit is {limit}: send smaller events",
        permanent=True,
    )


def compression_problem(format_: Format, compression: Compression) -> str | None:
    """Return why requests of a format are not to be compressed so, and what may be chosen instead, or None."""
    if compression == "none" or compression in format_.compressions:
        return None
    allowed = " or ".join(sorted(format_.compressions))
    return (
        f"must be none or {allowed} with format {format_.name}: not all of its destinations can read {compression}, "
        "and one that cannot may drop the events and answer 200, as Fluentd does"
    )


def when_compressed(format_: Format, compression: Compression) -> Format:
    """Return the format of a destination whose requests are compressed: where they cannot be read, that may be the reason.

    Unless the format has found another one in the answer, and so says more than the status does.
    """
    if compression == "none":
        return format_

    def interpret(answer: Answer, count: int) -> Verdict | list[Verdict]:
        verdict = format_.interpret(answer, count)
        if isinstance(verdict, Failure) and _is_unread(verdict, answer, count):
            advice = f"if the destination does not support {compression}, set compression to none"
            return replace(verdict, message=f"{verdict.message}; {advice}")
        return verdict

    return replace(format_, interpret=interpret)


def _is_unread(verdict: Failure, answer: Answer, count: int) -> bool:
    """Tell whether a body may not have been read: a status that says so, and no more is known than the status."""
    by_status_alone = by_status(answer, count)
    return (
        verdict.status_code in _UNREADABLE_STATUSES
        and isinstance(by_status_alone, Failure)
        and verdict.message == by_status_alone.message
    )


def overdue(format_: Format, oldest: bytes, now: Micros) -> str | None:
    """Return what to tell a person when an event is too old for the destination to keep it, or None.

    Args:
        oldest: the event that is longest in the backlog, as stored.
        now: microseconds since 1970.
    """
    if format_.age_max_s is None or now - micros_of(oldest) <= format_.age_max_s * SECOND:
        return None
    hours = format_.age_max_s // 3600
    return f"the backlog has events older than {hours} hours, which {format_.name} destinations accept with a 2xx and then drop"


def with_query(format_: Format, target: str) -> str:
    """Add the format's parameters to a request target; what the user wrote into the URL stays as it is.

    Args:
        target: path and query, beginning with "/", as `Endpoint.target` has it.
    """
    path, _, query = target.partition("?")
    named = {pair.partition("=")[0] for pair in query.split("&")}
    added = [f"{name}={value}" for name, value in format_.query if name not in named]
    return f"{path}?{'&'.join([query, *added] if query else added)}" if added else target
