"""The first sentence of a page: what is wrong, since when, what it costs, and the one button that mends it; pure.

`organization_headline` looks at all destinations and tells of the worst; `destination_headline` tells of one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.standing import Standing, State

from .words import ago, clock, counted, duration

CREDENTIAL_STATUSES = (401, 403)
"""Answers that a new credential mends."""
ADDRESS_STATUSES = (301, 302, 303, 307, 308, 404, 405, 410)
"""Answers that another URL mends."""
CAUSE_CHARACTERS_MAX = 240
"""Longest cause in a sentence; the page of the destination has the rest."""
_ANSWERED = re.compile(r"^answered (\d{3}): ")
_ADVICE = re.compile(r": (?:check|lower|choose|use) .*$")


class Piece(NamedTuple):
    """A part of a sentence.

    Args:
        href: where a number leads; "" for plain text.
        at: of a time, which the reader may want in another zone; None for all else.
    """

    text: str
    href: str = ""
    at: Micros | None = None


class Remedy(NamedTuple):
    """The one button that mends it."""

    label: str
    href: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The first sentence.

    Args:
        tone: "bad" (somebody must act), "warn" (somebody should look), "good", or "empty" (nothing is set up).
        wrong: how many destinations need somebody, for the title of the tab.
        remedy: None where nothing needs doing.
        after: what happens when it is mended, "" for nothing to say.
    """

    tone: str
    pieces: tuple[Piece, ...]
    wrong: int = 0
    remedy: Remedy | None = None
    after: str = ""
    text: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", "".join(piece.text for piece in self.pieces).strip())

    def seen_by(self, *, may_write: bool) -> "Headline":
        """Return this as somebody sees it: without a button for what they may not do."""
        if may_write or self.remedy is None or self.remedy.label.startswith("See "):
            return self
        return replace(self, remedy=None)


def organization_headline(
    standings: Sequence[Standing], last_received_at: Micros | None, base: str, now: Micros
) -> Headline:
    """Tell how an organization stands.

    Args:
        last_received_at: when its newest event was recorded; None for an empty log.
        base: path of the organization's pages.
    """
    if not standings:
        return _without_destinations(last_received_at, base, now)
    wrong = [one for one in standings if one.state.is_wrong]
    worst = min(standings, key=lambda one: (one.state.badness, -one.waiting, one.dst_id))
    told = destination_headline(worst, base, now)
    if len(wrong) > 1:
        who = (
            "No destination takes"
            if len(wrong) == len(standings)
            else (f"{len(wrong)} of {len(standings)} destinations do not take")
        )
        pieces = (Piece(f"{who} events. The worst: "), *told.pieces)
        return Headline("bad", pieces, len(wrong), told.remedy, told.after)
    if wrong or worst.state in (State.SLOW, State.PAUSED):
        return Headline(told.tone, told.pieces, len(wrong), told.remedy, told.after)
    return _healthy(standings, last_received_at, base, now)


def destination_headline(one: Standing, base: str, now: Micros) -> Headline:
    """Tell how one destination stands."""
    here = f"{base}/d/{one.dst_id}"
    name = Piece(one.name, here)
    waits = _waits(one, here, now)
    match one.state:
        case State.DAMAGED:
            pieces = (name, Piece(" cannot be served: "), Piece(_clause(one.cause)), Piece(". "), *waits)
            return Headline(
                "bad", pieces, 1, Remedy("Enter the URL and credential again", f"{here}/settings")
            )
        case State.HALTED:
            pieces = (
                name,
                Piece(" has sent nothing"),
                *_since(one, now),
                Piece(": "),
                Piece(_clause(one.cause)),
                Piece(". "),
                *waits,
            )
            return Headline("bad", pieces, 1, Remedy("See the attempts", f"{here}/attempts?state=failed"))
        case State.FULL:
            letters = Piece(counted(one.dead_letters, "dead letter"), f"{here}/dead-letters")
            pieces = (
                *(name, Piece(" has "), letters),
                Piece(", as many as are kept: further events that it rejects stay in the log only. "),
                *waits,
            )
            return Headline("bad", pieces, 1, Remedy("Redrive or purge them", f"{here}/dead-letters"))
        case State.FAILING:
            pieces = (
                name,
                Piece(" has never taken an event" if one.since is None else " has not taken events"),
                *_since(one, now),
                Piece(": "),
                Piece(_clause(one.cause)),
                Piece(". "),
                *waits,
                *_letters(one, here),
            )
            after = (
                "When it takes events again, everything goes by itself."
                if one.waiting or one.retrying
                else ""
            )
            return Headline("bad", pieces, 1, _remedy(one, here), after)
        case State.REJECTING:
            pieces = (
                name,
                Piece(" has taken no event yet, and rejects what is sent: "),
                *(Piece(_clause(one.cause)), Piece(". "), *waits, *_letters(one, here)),
            )
            return Headline("bad", pieces, 1, Remedy("See the attempts", f"{here}/attempts?state=failed"))
        case State.SLOW:
            pieces = (name, Piece(" takes events more slowly than they come. "), *waits, *_letters(one, here))
            return Headline("warn", pieces, 0, Remedy("See its health", here))
        case State.PAUSED:
            pieces = (name, Piece(" is paused. "), *waits, *_letters(one, here))
            return Headline("warn", pieces, 0, Remedy("Resume it", f"{here}/settings#resume"))
        case State.UNTRIED:
            pieces = (
                name,
                Piece(" has not had an event yet: nothing was recorded since it was created that it wants."),
            )
            return Headline("warn", pieces, 0, Remedy("Send a test event", f"{here}#test"))
        case State.TAKING:
            newest = Piece(f"Last event delivered {ago(one.last_success_at, now)}.")
            pieces = (name, Piece(" takes events. "), *waits, *_letters(one, here), newest)
            return Headline("good", pieces, 0)


def _healthy(
    standings: Sequence[Standing], last_received_at: Micros | None, base: str, now: Micros
) -> Headline:
    untried = [one for one in standings if one.state is State.UNTRIED]
    newest = f"Last event {ago(last_received_at, now)}." if last_received_at is not None else "No event yet."
    waiting = sum(one.waiting for one in standings)
    behind = Piece("Nothing waits. " if not waiting else f"{counted(waiting, 'event')} on the way. ")
    with_letters = [one for one in standings if one.dead_letters]
    opening = _who_takes(len(standings), len(untried))
    if not with_letters:
        return Headline("good", (Piece(opening), behind, Piece(newest)))
    most = max(with_letters, key=lambda one: one.dead_letters)
    count = sum(one.dead_letters for one in with_letters)
    there = f"{base}/d/{most.dst_id}/dead-letters"
    pieces = (
        *(Piece(opening), Piece(counted(count, "dead letter"), there)),
        Piece(f" {'waits' if count == 1 else 'wait'} for a decision. "),
        Piece(newest),
    )
    return Headline("warn", pieces, 0, Remedy("See why", there))


def _who_takes(count: int, untried: int) -> str:
    takes = count - untried
    if not takes:
        return (
            "The destination has had no event yet. "
            if count == 1
            else f"None of the {count} destinations has had an event yet. "
        )
    if untried:
        verb = "takes" if takes == 1 else "take"
        return f"{takes} of {count} destinations {verb} events, {untried} had none to take yet. "
    who = {1: "The destination takes", 2: "Both destinations take"}.get(
        count, f"All {count} destinations take"
    )
    return f"{who} events. "


def _without_destinations(last_received_at: Micros | None, base: str, now: Micros) -> Headline:
    if last_received_at is None:
        text = "Nothing is recorded and nothing is forwarded yet: send an event, then add a destination."
        return Headline("empty", (Piece(text),), 0, Remedy("Add a destination", f"{base}/new"))
    text = f"Events are recorded (the last {ago(last_received_at, now)}) and forwarded nowhere: there is no destination yet."
    return Headline("warn", (Piece(text),), 0, Remedy("Add a destination", f"{base}/new"))


def _waits(one: Standing, here: str, now: Micros) -> tuple[Piece, ...]:
    """Tell what waits, and that it is not lost."""
    count = one.waiting + one.retrying
    if not count:
        return (Piece("Nothing waits. "),)
    age = f", the oldest is {duration((now - one.waiting_since) / SECOND)} old" if one.waiting_since else ""
    verb = "waits" if count == 1 else "wait"
    return (Piece(counted(count, "event"), f"{here}/attempts"), Piece(f" {verb}, none is lost{age}. "))


def _letters(one: Standing, here: str) -> tuple[Piece, ...]:
    if not one.dead_letters:
        return ()
    verb = "needs" if one.dead_letters == 1 else "need"
    return (
        Piece(counted(one.dead_letters, "dead letter"), f"{here}/dead-letters"),
        Piece(f" {verb} a decision. "),
    )


def _since(one: Standing, now: Micros) -> tuple[Piece, ...]:
    if one.since is None:
        return ()
    at = Piece(f"{clock(one.since, now)} UTC", at=one.since)
    return (Piece(" since "), at, Piece(f" ({duration((now - one.since) / SECOND)})"))


def _clause(cause: str) -> str:
    """Return a cause to stand in a sentence: its first line, without the advice that the button gives."""
    first = cause.strip().partition("\n")[0].rstrip(".")
    first = _ADVICE.sub("", _ANSWERED.sub(r"\1, ", first)).replace(", the destination ", ", it ", 1)
    return first if len(first) <= CAUSE_CHARACTERS_MAX else first[: CAUSE_CHARACTERS_MAX - 1] + "…"


def _remedy(one: Standing, here: str) -> Remedy:
    if one.status_code in CREDENTIAL_STATUSES:
        return Remedy("Change the credential", f"{here}/settings#credential")
    if one.status_code in ADDRESS_STATUSES:
        return Remedy("Change the URL", f"{here}/settings#url")
    return Remedy("Send a test event", f"{here}#test")
