"""How formats read answers: a 2xx counts as success only if its body is what the destination's contract says."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeGuard, TypeVar

import msgspec

from aegis_stream.domain.attempt import Answer, Failure, FailureScope, Response, Verdict

from .status import by_status, is_page

T = TypeVar("T")
USUAL_SUCCESSES = frozenset({200, 201, 202, 204})
"""2xx that mean that the events were accepted, if a contract does not say which do; 207 and 260 hide losses."""


def read_answer(decode: Callable[[bytes], T], answer: Response) -> T | None:
    """Decode the answer's body by the contract; None if it is truncated, empty, or another service's."""
    try:
        return decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def unexpected(answer: Response, whose: str) -> Failure:
    """Return the failure for a 2xx that does not say whether the events were stored: unknown counts as not delivered.

    Args:
        whose: the expected sender of the answer, such as "Splunk".
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


def rejected(answer: Answer, count: int) -> Verdict:
    """Judge by status like `by_status`, but an event that is rejected for its content is not retried."""
    verdict = by_status(answer, count)
    if isinstance(verdict, Failure) and verdict.scope is FailureScope.EVENT:
        return replace(verdict, permanent=True)
    return verdict


def is_success(answer: Answer) -> TypeGuard[Response]:
    """Tell whether there is an answer with a 2xx; formats then read its body."""
    return isinstance(answer, Response) and 200 <= answer.status < 300
