"""What an attempt came to: verdicts → an outcome for each event, what is left over, what pacing and health learn. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aegis_stream.domain.attempt import (
    Accepted,
    Failure,
    FailureScope,
    Outcome,
    RetryPolicy,
    Verdict,
    decide,
)
from aegis_stream.domain.ids import Micros

from .work import Work

STATUS_TOO_LARGE = 413
STATUS_FAILED_INSIDE = 500
STORED = "answered {} to an event that was sent before, which means that the destination has it: it counts as delivered"
"""Warning for an event that the destination says it has."""
OTHERS_S = 60.0
"""A redriven batch is halved at its first failure if the destination accepted something in the last so many seconds."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """What an answer says beyond the outcomes of its events.

    Args:
        failure: the first one about the destination; it slows the destination down.
        shown: the failure that people see, and the event it was about: `failure`, or else the first one.
        succeeded: the destination accepted an event, and did not fail for reasons of its own.
        overload: it accepted events and asked for fewer at a time.
        warnings: what people should know although events were accepted, without repeats.
        too_large: the request was too large, so smaller ones must follow.
    """

    failure: Failure | None
    shown: tuple[int, Failure] | None
    succeeded: bool
    overload: bool
    warnings: tuple[str, ...]
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class Weighed:
    """What an attempt came to.

    Args:
        done: the part of the work whose events have an outcome; None when none has.
        outcomes: what happens next to each event of `done`, in its order.
        rest: what has to be sent again at once, in order; no attempt is counted.
    """

    done: Work | None
    outcomes: list[Outcome]
    rest: tuple[Work, ...]
    lessons: Lessons


def may_be_one_of(work: Work, policy: RetryPolicy, answered_at_s: float, *, retried: bool) -> bool:
    """Tell whether one event of a request may be what the destination objects to: a firewall, for example, blocks its content.

    That is so when no attempt is left, or the batch was built from dead letters, and the destination has accepted something
    else since the attempt before.

    Args:
        answered_at_s: when the destination last accepted something, seconds of the event loop, as for Work.began_s.
        retried: the work is from the retries; at its first attempt it is redriven.
    """
    first = work.attempt == 1
    if work.attempt < policy.max_attempts and not (first and retried):
        return False
    since_s = OTHERS_S if first else policy.delay_seconds(work.attempt - 1, 1.0)
    return answered_at_s >= work.began_s - since_s


def weigh(
    work: Work,
    verdicts: Verdict | list[Verdict],
    policy: RetryPolicy,
    *,
    chance: float,
    now: Micros,
    suspect: bool = False,
) -> Weighed:
    """Turn what a destination said about a request into what happens next.

    A batch that failed as a whole, perhaps because of one event, is halved: only smaller batches can tell which one it is.
    Events that an answer did not judge are sent again. Each event of the work is in `done` or in `rest`, and `rest` is
    smaller than the work, so that sending again ends.

    Args:
        verdicts: one for all events, or one for each.
        suspect: one event of the request may be to blame, whatever the failure says; see `may_be_one_of`.
        chance: in [0, 1), for the jitter; events of one request share it, so that they stay together in the retry as well.
    """
    if isinstance(verdicts, Failure):
        verdicts = _stored(work, verdicts) if verdicts.conflict else verdicts.waiting_from(now)
    each = verdicts if isinstance(verdicts, list) else [verdicts] * len(work.sequences)
    lessons = _learn(work, each)
    if (
        isinstance(verdicts, Failure)
        and len(each) > 1
        and (suspect or _may_be_one(verdicts, work.attempt, policy))
    ):
        too_large = verdicts.status_code == STATUS_TOO_LARGE
        return Weighed(None, [], work.halves(), replace(lessons, too_large=too_large))
    judged = next((at for at, one in enumerate(each) if isinstance(one, Failure) and one.unjudged), len(each))
    rest: tuple[Work, ...] = ()
    # An answer that judged no event at all is a failed attempt of all, or it would never end.
    if 0 < judged < len(each):
        work, left = work.split(judged)
        rest, each = (left,), each[:judged]
    outcomes = [decide(one, work.attempt, policy, now=now, chance=chance) for one in each]
    return Weighed(work, outcomes, rest, lessons)


def _stored(work: Work, conflict: Failure) -> Verdict:
    """Judge the answer that the destination has an event already: it does if it got the event before, and we have no answer."""
    work.may_be_stored = work.may_be_stored or conflict.repeated
    if len(work.sequences) > 1 or not work.may_be_stored:
        return conflict
    return Accepted(conflict.status_code, warning=STORED.format(conflict.status_code))


def _learn(work: Work, each: Sequence[Verdict]) -> Lessons:
    failures = [(at, one) for at, one in enumerate(each) if isinstance(one, Failure) and not one.unjudged]
    about_destination = [found for found in failures if found[1].scope is FailureScope.DESTINATION]
    accepted = [one for one in each if isinstance(one, Accepted)]
    shown = next(iter(about_destination or failures), None)
    return Lessons(
        failure=about_destination[0][1] if about_destination else None,
        shown=(work.sequences[shown[0]], shown[1]) if shown is not None else None,
        succeeded=bool(accepted) and not about_destination,
        overload=any(one.overload for one in accepted),
        warnings=tuple(dict.fromkeys(one.warning for one in accepted if one.warning)),
    )


def _may_be_one(failure: Failure, attempt: int, policy: RetryPolicy) -> bool:
    """Tell whether one event of a request may be to blame, so that the others must not share its fate.

    Some receivers answer 500 to a batch because of one event in it. That is found out when it would be the end of all.
    """
    if failure.scope is FailureScope.EVENT:
        return True
    last = attempt >= policy.max_attempts
    return failure.status_code == STATUS_FAILED_INSIDE and last and not failure.permanent
