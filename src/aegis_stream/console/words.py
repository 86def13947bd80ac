"""Numbers, sizes, durations and times as words; pure. The templates use them as filters."""

import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any

from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.times import to_text

LINE_CHARACTERS_MAX = 160
SHAPES = {
    **dict.fromkeys(("taking events", "delivered", "done", "sealed"), "✓"),
    **dict.fromkeys(
        ("failing", "rejecting", "full", "halted", "damaged", "failed", "dead_letter", "dead letter"), "✗"
    ),
    **dict.fromkeys(("never tried", "filtered", "made later", "no proof"), "∅"),
    **dict.fromkeys(("retrying", "running"), "⟳"),
    **dict.fromkeys(("paused", "cancelled"), "‖"),
    "slow": "◔",
    **dict.fromkeys(("pending", "waiting"), "…"),
}
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def number(value: float) -> str:
    """Write a number with commas: 4,212."""
    return f"{value:,.0f}"


def counted(value: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun: 1 event, 4,212 events."""
    return f"{number(value)} {noun if value == 1 else plural or noun + 's'}"


def size(value: int) -> str:
    """Write a number of bytes: 512 B, 1.4 MB, 12 GB (decimal)."""
    for limit, unit in ((1e3, "B"), (1e6, "kB"), (1e9, "MB"), (1e12, "GB")):
        if value < limit:
            scaled = value / (limit / 1e3)
            return f"{value} B" if unit == "B" else f"{scaled:.3g} {unit}"
    return f"{value / 1e12:,.3g} TB"


def duration(seconds: float) -> str:
    """Write a duration in its largest unit, or its two largest from an hour on: 8 s, 18 min, 3 h 20 min, 2 d."""
    whole = int(max(0, seconds))
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min"
    if whole < DAY_S:
        minutes = whole % HOUR_S // MINUTE_S
        return f"{whole // HOUR_S} h" + (f" {minutes} min" if minutes else "")
    hours = whole % DAY_S // HOUR_S
    return f"{whole // DAY_S} d" + (f" {hours} h" if hours else "")


def milliseconds(value: float | None) -> str:
    """Write a latency: 8 ms, 1.2 s, - for none."""
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def ago(at: Micros | None, now: Micros) -> str:
    """Write how long ago a time is: 18 min ago; just now; in 12 s for one that lies ahead; never for none."""
    if at is None:
        return "never"
    if abs(at - now) < SECOND:
        return "just now"
    if at > now:
        return f"in {duration((at - now) / SECOND)}"
    return f"{duration((now - at) / SECOND)} ago"


def oldest(at: Micros | None, now: Micros) -> str:
    """Write since when something has waited, beside a number: oldest 18 min ago; nothing for none."""
    return "" if at is None else f"oldest {ago(at, now)}"


def iso(at: Micros, zone: tzinfo = UTC) -> str:
    """Write a time in full: 2026-05-15T10:33:21.456789Z, or with the distance from UTC in another zone."""
    if zone is UTC:
        return to_text(at)
    there = _in(zone, at)
    return f"{there:%Y-%m-%dT%H:%M:%S}.{at % SECOND:06d}{there.isoformat()[19:]}"


def moment(at: Micros, zone: tzinfo = UTC) -> str:
    """Write a time for a table, to the second, without its zone: 2026-05-15 10:33:21."""
    return f"{_in(zone, at):%Y-%m-%d %H:%M:%S}"


def offset(at: Micros, zone: tzinfo = UTC) -> str:
    """Write what stands behind every time: UTC, or the distance from it at that time: UTC+05:45."""
    return "UTC" if zone is UTC else f"UTC{_in(zone, at).isoformat()[19:]}"


def clock(at: Micros, now: Micros, zone: tzinfo = UTC) -> str:
    """Write a time for a sentence, without its zone: 02:41 today, 14 May 02:41 on another day."""
    there = _in(zone, at)
    same_day = there.date() == _in(zone, now).date()
    return f"{there:%H:%M}" if same_day else f"{there.day} {there:%b %H:%M}"


def span(since: Micros, until: Micros, now: Micros, zone: tzinfo = UTC) -> str:
    """Write a span for a title: 20:15–20:30 UTC."""
    return f"{clock(since, now, zone)}–{clock(until, now, zone)} {offset(until, zone)}"


def visible(text: object) -> str:
    r"""Return text of an event in which nothing is hidden: control and bidirectional characters are written as \u202e."""
    shown = str(text)
    if shown.isprintable() and not _BIDIRECTIONAL.intersection(shown):
        return shown
    return "".join(char if _is_shown(char) else _escape(char) for char in shown)


def first_line(text: str) -> str:
    """Return the beginning of a text for a cell of a table: its first line, at most 160 characters, nothing hidden."""
    return visible(text).partition("\n")[0][:LINE_CHARACTERS_MAX]


def shape_of(state: object) -> str:
    """Return the shape that stands before a state, so that it is never told by colour alone."""
    return SHAPES.get(str(state), "·")


def _in(zone: tzinfo, at: Micros) -> datetime:
    """Return a time in a zone, to the second."""
    return datetime.fromtimestamp(at // SECOND, zone)


def _is_shown(char: str) -> bool:
    if char == "\n":
        return True
    return (
        unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        and char not in _BIDIRECTIONAL
    )


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "counted": counted,
    "size": size,
    "duration": duration,
    "milliseconds": milliseconds,
    "ago": ago,
    "oldest": oldest,
    "visible": visible,
    "first_line": first_line,
    "shape": shape_of,
}
"""What templates may use."""
IN_A_ZONE: dict[str, Callable[..., Any]] = {
    "iso": iso,
    "moment": moment,
    "offset": offset,
    "clock": clock,
    "span": span,
}
"""The same, of times, which are written in the zone of the page."""
