"""How a sealed log stands, in one sentence, and what its modes mean; pure."""

from typing import NamedTuple

from aegis_stream.control.proof import ProofStanding
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.organization import ProofMode

from .headline import Headline, Piece, Remedy
from .words import ago, clock, counted, duration, number

LATE_S = 120
"""A log that waits for so long beyond its pause is late, seconds: a busy machine lets the sealer wait for a minute."""
DOCTOR = "On the machine of the service `aegis doctor` says what mends it."
START = "The operator starts `aegis serve` again, or `aegis sealer` beside it; its log says why it ended."
CATCHES_UP = "The sealer gives way to ingest and delivery, and catches up by itself."
SWITCH = "The operator sets AEGIS_PROOF=true and starts the service again."


class ModeWords(NamedTuple):
    """A mode in words.

    Args:
        means: what it is.
        chosen: what happens when it is chosen.
    """

    mode: ProofMode
    means: str
    chosen: str


MODES = (
    ModeWords(
        ProofMode.OFF,
        "The log is not sealed. Nobody can prove that nothing is missing or altered.",
        "What is recorded from now on has no proof. What is sealed keeps its proofs, and old events may go before they were sealed. "
        "If the log is sealed again, it goes on where it ended, as long as those events are still there.",
    ),
    ModeWords(
        ProofMode.SEALED,
        "Checkpoints and proofs are here and in the API. Nothing is added to the log, so an export from a SIEM verifies only together with the hashes of the log (GET …/proof/hashes).",
        "Events are sealed, and nothing is added to the log. Receivers get no checkpoints: an export of what is recorded from now on "
        "needs the hashes of the log to be verified, which this service has.",
    ),
    ModeWords(
        ProofMode.STREAM,
        "Checkpoints are events of the log as well and go to every destination that wants them. An export from a SIEM verifies offline, "
        "with the key and nothing else.",
        "Each seal adds one event of the dataset aegis.audit_stream.checkpoint to the log for every 90 events that it covers, at least one: "
        "about 75 bytes an event. Destinations get it like any other event, unless their filter leaves that dataset out.",
    ),
)


def words_of(mode: ProofMode) -> ModeWords:
    """Return a mode in words."""
    return next(one for one in MODES if one.mode is mode)


def proof_headline(found: ProofStanding, base: str, now: Micros, *, is_on: bool, pause_s: float) -> Headline:
    """Tell how far a log is sealed, since when not, what that means, and the way out.

    Args:
        base: path of the organization's pages.
        is_on: whether this service seals at all (AEGIS_PROOF).
        pause_s: between two seals of a log with few events, seconds.
    """
    here, log = f"{base}/proof", found.log
    if not found.organization.head:
        text = "Nothing is recorded yet, so there is nothing to seal."
        return Headline("empty", (Piece(text),), remedy=Remedy("Send an event", base))
    if found.organization.proof is ProofMode.OFF:
        return _off(found, here, now)
    if found.refusal:
        since = _since(found.refused_since, now)
        why = (
            Piece("The sealer refuses to seal this log"),
            *since,
            Piece(f": {found.refusal.rstrip('.')}. "),
        )
        return Headline("bad", (*why, *_sealed_part(found), *_waits(found, now)), after=DOCTOR)
    idle_s = (now - max(found.waiting_since or now, log.sealed_at if log is not None else 0)) / SECOND
    if found.waiting and idle_s > LATE_S + pause_s:
        return _late(found, now, is_on=is_on)
    if log is None or not log.tree.size:
        text = f"Nothing is sealed yet; {counted(found.waiting, 'event')} {_wait(found.waiting)} for the first checkpoint"
        if not is_on:
            return Headline("warn", (Piece(f"{text}, and the service seals nothing."),), after=SWITCH)
        return Headline("warn", (Piece(f"{text}, which comes within {duration(pause_s + 2)}."),))
    is_behind = (
        found.waiting_since is not None and (now - found.waiting_since) / SECOND > LATE_S + 2 * pause_s
    )
    pieces = (*_sealed_part(found), *_newest(found, now))
    if is_behind:
        return Headline("warn", (*pieces, *_waits(found, now)), after=CATCHES_UP)
    means = "Whoever has the key can prove that none of them is missing or altered. "
    return Headline("good", (*pieces, Piece(means), *_waits(found, now)))


def _off(found: ProofStanding, here: str, now: Micros) -> Headline:
    log = found.log
    remedy = Remedy("Seal this log", f"{here}/mode?to={ProofMode.SEALED}")
    if log is None or not log.tree.size:
        text = "This log is not sealed: nobody can prove that nothing in it is missing or altered."
        return Headline("warn", (Piece(text),), remedy=remedy)
    later = found.organization.head - log.end
    text = f"What was recorded since, {counted(later, 'event')}, has no proof."
    pieces = (Piece("This log is not sealed any more. "), *_sealed_part(found), *_newest(found, now))
    return Headline("warn", (*pieces, *((Piece(text),) if later > 0 else ())), remedy=remedy)


def _late(found: ProofStanding, now: Micros, *, is_on: bool) -> Headline:
    log = found.log
    since = log.sealed_at if log is not None and log.tree.size else found.waiting_since
    assert since is not None, "a log that is late waits since some time"
    tone, (why, after) = "bad", ("no sealer runs", START)
    if found.report is not None and not found.report.is_silent(now):
        tone, (why, after) = "warn", ("the sealer runs, and has not come to this log", CATCHES_UP)
    elif not is_on:
        why, after = "the service that shows this page seals nothing", SWITCH
    pieces = (
        Piece("Nothing was sealed"),
        *_since(since, now),
        Piece(f": {why}. "),
        *_sealed_part(found),
        *_waits(found, now),
    )
    return Headline(tone, pieces, after=after)


def _since(at: Micros | None, now: Micros) -> tuple[Piece, ...]:
    if at is None:
        return ()
    moment = Piece(f"{clock(at, now)} UTC", at=at)
    return (Piece(" since "), moment, Piece(f" ({duration((now - at) / SECOND)})"))


def _sealed_part(found: ProofStanding) -> tuple[Piece, ...]:
    """Tell up to where the log is sealed."""
    log = found.log
    if log is None or not log.tree.size:
        return (Piece("Nothing is sealed yet. "),)
    head = found.organization.head
    if log.base == 0 and log.end >= head:
        return (
            Piece(f"All {counted(head, 'event')} are sealed. " if head > 1 else "The one event is sealed. "),
        )
    text = f"Events {number(log.base + 1)} to {number(log.end)} of {number(head)} are sealed"
    own = head - log.end
    if own > 0 and not found.waiting:
        text += f"; the newest {'one is the checkpoint itself' if own == 1 else f'{number(own)} are the checkpoint itself'}"
    return (Piece(f"{text}. "),)


def _newest(found: ProofStanding, now: Micros) -> tuple[Piece, ...]:
    assert found.log is not None, "the caller has looked"
    return (Piece(f"The newest checkpoint was signed {ago(found.log.sealed_at, now)}. "),)


def _waits(found: ProofStanding, now: Micros) -> tuple[Piece, ...]:
    if not found.waiting:
        return ()
    age = (now - found.waiting_since) / SECOND if found.waiting_since is not None else 0
    oldest = f", the oldest for {duration(age)}" if age >= 1 else ""
    which = "next" if found.log is not None and found.log.tree.size else "first"
    return (
        Piece(
            f"{counted(found.waiting, 'event')} {_wait(found.waiting)} for the {which} checkpoint{oldest}."
        ),
    )


def _wait(count: int) -> str:
    return "waits" if count == 1 else "wait"
