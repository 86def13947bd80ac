"""What formats share in reading answers: a 2xx whose body is not the one that the contract has is no success."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeGuard, TypeVar

import msgspec

from aegis_stream.domain.attempt import Answer, Failure, FailureScope, Response, Verdict

from .status import by_status, is_page

T = TypeVar("T")
USUAL_SUCCESSES = frozenset({200, 201, 202, 204})
"""The 2xx that say that something was taken, where a contract names none: 207 and 260 hide losses."""


def read_answer(decode: Callable[[bytes], T], answer: Response) -> T | None:
    """Return the answer's body as what the contract has there, or None: cut short, empty, another service's."""
    try:
        return decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def unread(answer: Response, whose: str) -> Failure:
    """Return the failure of a 2xx that does not say what became of the events: not known is not delivered.

    Args:
        whose: whose answer was expected, as in "Splunk".
    """
    if is_page(answer.body):
        why, fix_needed = f"with a web page instead of an answer from {whose}: check the URL", True
    elif answer.body.lstrip()[:1] not in (b"{", b"["):
        why, fix_needed = f"without an answer from {whose}: check the URL", True
    else:
        why, fix_needed = (
            f"with a body that is truncated or not from {whose}: whether it stored the events is unknown",
            False,
        )
    return Failure(
        FailureScope.DESTINATION,
        f"answered {answer.status} {why}",
        status_code=answer.status,
        fix_needed=fix_needed,
    )


def refused(answer: Answer, count: int) -> Verdict:
    """Judge by status as `by_status` does, but what is refused for its content is refused for good."""
    verdict = by_status(answer, count)
    if isinstance(verdict, Failure) and verdict.scope is FailureScope.EVENT:
        return replace(verdict, permanent=True)
    return verdict


def is_success(answer: Answer) -> TypeGuard[Response]:
    """Tell whether there is an answer with a 2xx; the formats then look into its body."""
    return isinstance(answer, Response) and 200 <= answer.status < 300
