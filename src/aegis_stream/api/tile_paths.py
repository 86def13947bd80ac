"""Tiles in paths, as c2sp.org/tlog-tiles writes them: 1,234,067 is x001/x234/067, and its first 5 hashes are x001/x234/067.p/5."""

import re
from typing import Final

from aegis_stream.domain.merkle import TILE_WIDTH, TileAt
from aegis_stream.errors import NotFound

LEVEL: Final = "[0-4]"
"""Levels of tiles that a tree of 2^40 leaves has."""
_FIRST = "x([1-9][0-9]{2}|0[1-9][0-9]|00[1-9])"
_WIDTH = "([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
NUMBER: Final = f"({_FIRST}/(x[0-9]{{3}}/){{0,2}})?[0-9]{{3}}(\\.p/{_WIDTH})?"
"""Number of a tile, below 10^12, and how many of its hashes are asked for; all without."""


def tile_of(level: str, number: str) -> tuple[TileAt, int]:
    """Return where a tile lies, and how many of its hashes are asked for, 1 to TILE_WIDTH.

    Args:
        level, number: the parts of the path, the second one without a slash in front.
    Raises: NotFound, with the spelling that is expected.
    """
    if not re.fullmatch(LEVEL, level):
        raise NotFound("no tile has this path: its level must be 0 to 4")
    if not re.fullmatch(NUMBER, number):
        raise NotFound(
            "no tile has this path: its number must be groups of three digits, all but the last behind an x and the first one not x000, "
            f"like 005 or x001/x234/067; for fewer than {TILE_WIDTH} hashes .p/ and how many follow it, like 005.p/17"
        )
    digits, _, width = number.partition(".p/")
    at = TileAt(int(level), int(digits.replace("x", "").replace("/", "")))
    return at, int(width) if width else TILE_WIDTH
