"""Events that were rejected → the error that says so."""

from aegis_stream.domain.event import Rejection
from aegis_stream.errors import FieldProblem, Invalid, Malformed, TooLarge
from aegis_stream.pipeline.ingest import Recorded

SHOWN_PROBLEMS_MAX = 100
"""Field problems listed in one error."""


def invalid(recorded: Recorded, *, single: bool, renamed: dict[str, str] | None = None) -> Invalid:
    """Return the error for a request of which no event is valid.

    Args:
        single: the request has one event, and fields are named without its index.
        renamed: the event's field → the request's, where they differ.
    """
    names = renamed or {}
    rejected = [
        (index, one._replace(field=names.get(one.field, one.field))) for index, one in recorded.rejected
    ]
    shown = rejected[:SHOWN_PROBLEMS_MAX]
    problems = tuple(FieldProblem(_place(index, one, single=single), one.message) for index, one in shown)
    first = rejected[0][1]
    detail = (
        f"{first.field} {first.message}".lstrip()
        if single
        else f"none of the {len(recorded.rejected)} events is valid: see errors for the reason of each"
    )
    kind: type[Invalid] = Invalid
    if single and first.kind == "malformed":
        kind = Malformed
    elif single and first.kind == "too-large":
        kind = TooLarge
    conflicts = all(one.kind == "conflict" for _, one in rejected)
    return kind(detail, problems=problems, code="event-conflict" if conflicts else None)


def _place(index: int, rejection: Rejection, *, single: bool) -> str:
    if single:
        return rejection.field
    return f"[{index}].{rejection.field}" if rejection.field else f"[{index}]"
