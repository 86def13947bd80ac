"""Draws the rates: an SVG with our bar above the peer's, the target, and the spread of the rounds."""

import statistics
from collections.abc import Sequence
from xml.sax.saxutils import escape

from .result import Result

WIDTH, MARGIN, BAR, GAP = 860, 16, 16, 3
TITLE, AFTER, LEGEND = 20, 18, 62
VALUES = 280
"""Space at the right for the column of figures."""
NUMBERS_END = WIDTH - MARGIN - VALUES + 58
OURS, PEER, ASKED = "#2456c9", "#9aa1ac", "#b3261e"
STYLE = "text { font: 12px system-ui, sans-serif; fill: #1d2129 } .b, .n { font-weight: 600 } .n { text-anchor: end } .q { fill: #5a6270 }"


def picture(results: Sequence[Result]) -> str:
    """Return the picture; all bars have the same scale, from zero."""
    shown = [result for result in results if result.rates()]
    longest = max([1.0, *(max(_lengths(result)) for result in shown)])
    scale = (WIDTH - 3 * MARGIN - VALUES) / longest
    parts: list[str] = []
    y = LEGEND
    for result in shown:
        parts += _group(result, y, scale)
        y += TITLE + _bars(result) * (BAR + GAP) + AFTER
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">',
        "<title>Events a second, ours beside syslog-ng</title>",
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="white"/>',
        *_legend(max([1, *(len(one.ours) for one in shown)]), peer=any(one.peer for one in shown)),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _lengths(result: Result) -> list[float]:
    return [*result.rates(), *result.rates(peer=True), result.workload.targets.get("rate", 0.0)]


def _bars(result: Result) -> int:
    return 2 if result.peer else 1


def _legend(rounds: int, *, peer: bool) -> list[str]:
    y = 36
    spread = (
        f"median of {rounds} rounds; the stroke goes from lowest to highest" if rounds > 1 else "one round"
    )
    return [
        _text(MARGIN, 22, f"Events a second ({spread})", "b"),
        _box(MARGIN, y, 12, OURS, 12),
        _text(MARGIN + 18, y + 10, "Aegis Audit Stream"),
        _mark(MARGIN + 154, y - 1, y + 13),
        _text(MARGIN + 162, y + 10, "what is asked of it"),
        *((_box(MARGIN + 300, y, 12, PEER, 12), _text(MARGIN + 318, y + 10, "syslog-ng")) if peer else ()),
    ]


def _group(result: Result, y: float, scale: float) -> list[str]:
    """Return one workload: its title and one or two bars."""
    parts = [
        _text(MARGIN, y + 13, result.workload.name, "b"),
        _text(MARGIN + 34, y + 13, result.workload.title),
    ]
    sides = ((result.rates(), OURS, _notes(result)), (result.rates(peer=True), PEER, ""))
    for number, (rates, colour, note) in enumerate(sides[: _bars(result)]):
        at, middle = y + TITLE + number * (BAR + GAP), statistics.median(rates)
        parts.append(_box(MARGIN, at, middle * scale, colour))
        if len(rates) > 1:
            parts.append(_stroke(MARGIN + min(rates) * scale, MARGIN + max(rates) * scale, at + BAR / 2))
        parts.append(_text(NUMBERS_END, at + 12, f"{middle:,.0f}", "n"))
        parts.append(_text(NUMBERS_END + 8, at + 12, note, "q"))
    if asked := result.workload.targets.get("rate"):
        parts.append(_mark(MARGIN + asked * scale, y + TITLE - 2, y + TITLE + BAR + 2))
    return parts


def _notes(result: Result) -> str:
    """Return the text beside our rate: the target, and the comparison."""
    asked = result.workload.targets.get("rate")
    notes = [] if asked is None else [f"of {asked:,.0f}"]
    for figure in (result.ratio, result.share):
        if figure is not None:
            wanted = f" (of {figure.target.value:g})" if figure.target else ""
            notes.append(f"{figure.median:.2f} {figure.name}{wanted}")
    return ", ".join(notes)


def _text(x: float, y: float, text: str, kind: str = "t") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, colour: str, height: float = BAR) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def _stroke(x: float, x_to: float, y: float) -> str:
    return f'<line x1="{x:.1f}" x2="{x_to:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#1d2129" stroke-width="2"/>'


def _mark(x: float, y: float, y_to: float) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y_to:.1f}" stroke="{ASKED}" stroke-width="2"/>'
