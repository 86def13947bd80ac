"""What a format is: a pair of pure functions, and the limits of its destinations as data."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from aegis_stream.domain.attempt import Answer, Failure, FailureScope, Request, Verdict
from aegis_stream.domain.destination import BatchPolicy, Compression
from aegis_stream.domain.ids import SECOND, Micros

from .fields import micros_of
from .status import by_status

ANSWER_BYTES_MAX = 16 * 1024
"""Most bytes of an answer's body that are read if it is about the request as a whole."""

_UNREADABLE_STATUSES = frozenset({400, 406, 415})
"""Statuses for a body that the receiver cannot read."""

BODY_BYTES_MAX = 16 * 1024 * 1024
"""Limit of a body if the contract has none; larger than any batch policy allows."""


@dataclass(frozen=True, slots=True)
class Acks:
    """How to ask a destination whether it has stored the events that it accepted (`Accepted.ack_id`).

    Args:
        path: path on the destination's host; the query of its URL is added.
        encode_question: ack ids → request; pure.
        confirmed: (answer, ack ids) → those whose events are stored. Total.
    """

    path: str
    encode_question: Callable[[Iterable[int]], Request]
    confirmed: Callable[[Answer, Iterable[int]], frozenset[int]]


@dataclass(frozen=True, slots=True)
class Format:
    """How events are sent to one kind of destination.

    Args:
        name: the value of `format`.
        encode: stored bodies → request, in their order. Pure; gets at most events_max bodies.
        interpret: (answer, number of events) → a verdict for each event, or one verdict for all. Total: any status, any
            bytes. A truncated answer is never a success.
        batches: a request may have more than one event.
        frame_bytes: bytes that an event adds to the body beside its own.
        growth: usual bytes of body per byte of event; `oversize` catches requests that turn out longer.
        events_max: most events in a request.
        body_bytes_max: most bytes of a request body before compression.
        event_bytes_max: most bytes of one event as sent; None if only the body has a limit.
        answer_bytes_max: bytes of an answer's body that `interpret` needs to judge every event.
        query: parameters that are added to the URL unless it has them.
        compressions: values of `compression`, beside "none", that all destinations of the format support.
        age_max_s: older events are not stored as they should be, seconds; None if age does not matter.
        age_effect: what the destination does with older events.
        in_order: send one request at a time: the destination rejects an event that is much older than the newest one.
        acks: how to ask about accepted events; None if the answer is the confirmation.
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
    age_effect: str = "accept with a 2xx and then drop"
    in_order: bool = False
    acks: Acks | None = None


def narrowed(policy: BatchPolicy, format_: Format) -> BatchPolicy:
    """Return the user's batch policy, reduced to the format's limits."""
    return replace(
        policy,
        max_events=min(policy.max_events, format_.events_max) if format_.batches else 1,
        max_bytes=min(policy.max_bytes, int(format_.body_bytes_max / format_.growth)),
    )


def oversize(format_: Format, request: Request, count: int) -> Failure | None:
    """Return a failure if a request is too large to be sent, or None.

    Like a 413, the failure is about the event: a batch is halved, and a single event becomes a dead letter.
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
    """Return why a format does not support this compression, and what to choose instead, or None."""
    if compression == "none" or compression in format_.compressions:
        return None
    allowed = " or ".join(sorted(format_.compressions))
    return (
        f"must be none or {allowed} with format {format_.name}: not all of its destinations can read {compression}, "
        "and one that cannot may drop the events and answer 200, as Fluentd does"
    )


def when_compressed(format_: Format, compression: Compression) -> Format:
    """Return the format of a destination with compressed requests: if it cannot read them, the message mentions compression.

    Not if the format found another reason in the answer, beyond the status.
    """
    if compression == "none":
        return format_

    def interpret(answer: Answer, count: int) -> Verdict | list[Verdict]:
        verdict = format_.interpret(answer, count)
        if isinstance(verdict, Failure) and _is_unreadable(verdict, answer, count):
            advice = f"if the destination does not support {compression}, set compression to none"
            return replace(verdict, message=f"{verdict.message}; {advice}")
        return verdict

    return replace(format_, interpret=interpret)


def _is_unreadable(verdict: Failure, answer: Answer, count: int) -> bool:
    """Tell whether the receiver may be unable to read the body: the status says so, and nothing else is known."""
    by_status_alone = by_status(answer, count)
    return (
        verdict.status_code in _UNREADABLE_STATUSES
        and isinstance(by_status_alone, Failure)
        and verdict.message == by_status_alone.message
    )


def overdue(format_: Format, oldest: bytes, now: Micros) -> str | None:
    """Return a warning if the destination would not store the oldest event of the backlog as it should, or None.

    Args:
        oldest: the first event of the backlog, as stored.
        now: microseconds since 1970.
    """
    if format_.age_max_s is None or now - micros_of(oldest) <= format_.age_max_s * SECOND:
        return None
    hours = format_.age_max_s // 3600
    return f"the backlog has events older than {hours} hours, which {format_.name} destinations {format_.age_effect}"


def with_query(format_: Format, target: str) -> str:
    """Add the format's parameters to a request target; parameters from the user's URL stay the same.

    Args:
        target: path and query, beginning with "/", like `Endpoint.target`.
    """
    path, _, query = target.partition("?")
    named = {pair.partition("=")[0] for pair in query.split("&")}
    added = [f"{name}={value}" for name, value in format_.query if name not in named]
    return f"{path}?{'&'.join([query, *added] if query else added)}" if added else target
