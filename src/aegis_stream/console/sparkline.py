"""The last hour of a figure as a line, minute by minute; pure."""

from collections.abc import Sequence
from typing import NamedTuple

from .words import number

WIDTH, HEIGHT = 120.0, 24.0


class Sparkline(NamedTuple):
    """A line without axes.

    Args:
        path: of the line, in a drawing of WIDTH by HEIGHT; "" where there was nothing all the time.
        newest: of the last whole minute.
        highest: of any minute.
    """

    path: str
    newest: int
    highest: int

    @property
    def told(self) -> str:
        """The line in words; "" where there is none."""
        counts = f"{number(self.newest)} in the last minute, at most {number(self.highest)}"
        return counts if self.path else ""

    @property
    def kind(self) -> str:
        """The class of the drawing."""
        return "sparkline" if self.path else "sparkline none"


def sparkline(values: Sequence[int]) -> Sparkline:
    """Draw values that follow each other in time, at least one."""
    highest = max(values)
    if not highest:
        return Sparkline("", 0, 0)
    place = WIDTH / len(values)
    tops = [round(HEIGHT - 1 - value / highest * (HEIGHT - 2), 1) for value in values]
    steps = "".join(f"V{top:g}h{place:g}" for top in tops)
    return Sparkline(f"M0 {tops[0]:g}{steps}", values[-1], highest)
