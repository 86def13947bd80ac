"""What a page that stays open shows now, as texts by key; pure. `live.py` sends it, `static/live.js` puts it in place.

A key stands in the page as `data-live`: "total.head", "step.recorded", "dst_….waiting". No markup is ever sent.
"""

from collections.abc import Iterator, Mapping

import msgspec

from aegis_stream.control.overview import Overview
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.standing import Standing

from . import assets
from .headline import Headline, Piece, Remedy, destination_headline, organization_headline
from .live_cells import Cell
from .news import news_of
from .overview import figures_of, first_steps_of
from .words import clock, first_line, iso, milliseconds, number, offset, oldest, shape_of, visible
from .zone import Zone, kept


class LivePiece(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of the first sentence: where it leads ("" for nowhere), and which time it is ("" for none)."""

    text: str
    href: str = ""
    at: str = ""


class Sentence(msgspec.Struct, frozen=True):
    """The first sentence and its button."""

    tone: str
    pieces: list[LivePiece]
    remedy: LivePiece | None
    after: str


class LiveState(msgspec.Struct, frozen=True):
    """What a page shows; a message of the stream holds what differs from the message before it.

    Args:
        sentence: of the destination whose page it is, or of the organization.
        wrong: how many destinations need somebody.
        icon: where the icon of the tab is.
        news: by which a list sees that it has new rows: `news_of`.
        drawn: cells of the page's drawings: the same object until one of them has changed.
    """

    cells: dict[str, Cell]
    sentence: Sentence
    wrong: int
    icon: str
    news: dict[str, int]
    drawn: Mapping[str, Cell] = {}


UTC_ZONE = Zone()


def live_state(
    found: Overview,
    base: str,
    about: str,
    now: Micros,
    *,
    may_write: bool = True,
    zone: Zone = UTC_ZONE,
) -> LiveState:
    """Return what a page of an organization shows.

    Args:
        base: path of the organization's pages.
        about: id of the destination whose page it is; "" for all others.
        may_write: whether whoever looks may change things.
        zone: in which the page writes times.
    """
    told = organization_headline(found.standings, found.last_event_at, base, now)
    shown = [one for one in found.standings if about in ("", one.dst_id)]
    sentence = told
    if about:
        sentence = destination_headline(shown[0], base, now) if shown else _deleted(base)
    cells = dict(_totals(found, now)) if not about else {}
    for one in shown:
        cells |= {f"{one.dst_id}.{name}": cell for name, cell in _cells_of(one, now, zone)}
    icon = assets.url_of("bad.svg" if told.wrong else "good.svg")
    seen = sentence.seen_by(may_write=may_write)
    return LiveState(cells, _sentence(seen, now, zone), told.wrong, icon, news_of(found, shown))


def change(before: LiveState | None, after: LiveState) -> dict[str, object]:
    """Return the fields of a state that differ, of cells only those that do; {} for none."""
    others = ("sentence", "wrong", "icon", "news")
    if before is None:
        return {"cells": {**after.cells, **after.drawn}} | {name: getattr(after, name) for name in others}
    cells = _differing(before.cells, after.cells)
    if after.drawn is not before.drawn:
        cells |= _differing(before.drawn, after.drawn)
    changed = {name: getattr(after, name) for name in others if getattr(after, name) != getattr(before, name)}
    return ({"cells": cells} if cells else {}) | changed


def _differing(before: Mapping[str, Cell], after: Mapping[str, Cell]) -> dict[str, Cell]:
    return {key: cell for key, cell in after.items() if before.get(key) != cell}


def _totals(found: Overview, now: Micros) -> Iterator[tuple[str, Cell]]:
    figures, steps = figures_of(found.standings), first_steps_of(found)
    yield "total.head", Cell(number(found.organization.head))
    yield "total.delivered", Cell(number(figures.delivered))
    yield "total.waiting", Cell(number(figures.waiting))
    yield "total.oldest", Cell(oldest(figures.oldest_at, now))
    yield "total.dead_letters", Cell(number(figures.dead_letters))
    for name in ("recorded", "configured", "delivered"):
        done = bool(getattr(steps, name))
        yield (
            f"step.{name}",
            Cell(parts=("✓", "done:") if done else ("○", "to do:"), kind="step done" if done else "step"),
        )


def _cells_of(one: Standing, now: Micros, zone: Zone) -> Iterator[tuple[str, Cell]]:
    state = one.state.value
    yield "state", Cell(parts=(shape_of(state), state), kind=f"badge {state.replace(' ', '-')}")
    yield "delivered", Cell(number(one.delivered))
    yield "waiting", Cell(number(one.waiting + one.retrying))
    yield "oldest", Cell(oldest(one.waiting_since, now))
    yield "retrying", Cell(number(one.retrying))
    yield "dead_letters", Cell(number(one.dead_letters))
    yield "letters_tab", Cell(f" ({number(one.dead_letters)})" if one.dead_letters else "")
    yield "p99", Cell(milliseconds(one.p99_ms))
    yield "last_success", _time(one.last_success_at, zone)
    yield "last_error", _time(one.last_error_at, zone)
    yield "cause", Cell(first_line(one.cause) if one.state.is_wrong else "–")


def _time(at: Micros | None, zone: Zone) -> Cell:
    # How long ago it was changes every second: the page counts by itself, and a time that stays is not sent again.
    return Cell("never", kind="muted") if at is None else Cell(kind="ago", at=iso(at, zone.info))


def _sentence(told: Headline, now: Micros, zone: Zone) -> Sentence:
    return Sentence(
        told.tone,
        [_piece(one, now, zone) for one in told.pieces],
        LivePiece(told.remedy.label, kept(told.remedy.href, zone)) if told.remedy is not None else None,
        told.after,
    )


def _piece(piece: Piece, now: Micros, zone: Zone) -> LivePiece:
    if piece.at is None:
        return LivePiece(visible(piece.text), kept(piece.href, zone))
    text = f"{clock(piece.at, now, zone.info)} {offset(piece.at, zone.info)}"
    return LivePiece(text, kept(piece.href, zone), iso(piece.at, zone.info))


def _deleted(base: str) -> Headline:
    return Headline("bad", (Piece("This destination was deleted."),), 0, Remedy("See the others", base))
