"""One value that an open page is told: `static/live.js` puts it in the element that is marked with its key."""

import msgspec

SETTABLE = ("aria-label", "d", "href", "max", "value", "viewBox")
"""Attributes that a cell may set, the same as in `static/live.js`."""


class Cell(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a marked element shows.

    Args:
        text: its text; None where it has parts.
        parts: texts of the elements in it.
        kind: its class, "" for the one it has.
        at: of a time, in full: the page writes how long ago that is.
        set: further attributes, of SETTABLE.
    """

    text: str | None = None
    parts: tuple[str, ...] | None = None
    kind: str = ""
    at: str = ""
    set: dict[str, str] | None = None
