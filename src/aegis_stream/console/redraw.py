"""Draws again what open pages show, once for all pages that show the same, and not more often than every few seconds."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from aegis_stream.control import timeline
from aegis_stream.control.caller import Caller
from aegis_stream.control.deps import ControlDeps
from aegis_stream.control.overview import Overview
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.rollup import MINUTES, began_at

from . import dead_letters, replays
from .health import chart_now
from .history import RANGES
from .live_cells import Cell
from .live_charts import Shown, history_cells, overview_cells
from .overview import DAY, strips_of
from .page import base_of
from .progress import cells_of, still_move
from .zone import Zone

DRAWN_MAX = 64
"""Most drawings that are kept; one that was dropped is drawn again when somebody looks."""
PAUSE_US = 2 * SECOND
"""Pause between two drawings of the same."""
STRIPS_PER_SECOND = 10
"""The pause grows with the strips of an overview: so many are drawn in a second."""
HISTORY_PAUSE_US = 5 * SECOND
"""Pause between two drawings of the health of a destination."""
BARS_PAUSE_US = SECOND // 2
"""Pause between two looks at how far jobs or replays are: shorter than that of a stream, which so gets each second a new one."""
_BARS = re.compile(rf"({dead_letters.JOBS}|{replays.REPLAYS})\.([0-9A-Za-z_]{{1,64}})")


class Wanted(NamedTuple):
    """What a page draws.

    Args:
        about: id of a destination, "" for the overview.
        span: DAY for the overview, else the name of one of RANGES; or "jobs." or "replays.", and the id of the newest one of the page.
        zone: in which times are written.
    """

    about: str
    span: str
    zone: Zone = Zone()


def wanted_of(about: str, drawn: str, zone: Zone) -> Wanted | None:
    """Return what a page draws, by the query of its stream; None for nothing."""
    if about and _BARS.fullmatch(drawn):
        return Wanted(about, drawn)
    spans = [name for name, *_ in RANGES] if about else [DAY]
    return Wanted(about, drawn, zone) if drawn in spans else None


@dataclass(slots=True)
class _Drawing:
    """What was drawn last.

    Args:
        of: what it was drawn from: how the organization stood, and when, see `_moment`.
        due: when it may be drawn again, microseconds of the steady clock.
    """

    cells: Mapping[str, Cell] | None = None
    of: tuple[Overview, Micros] | None = None
    due: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Redraw:
    """The drawings of a process. Nothing is read while nobody looks: who looks asks."""

    def __init__(self) -> None:
        self._drawings: OrderedDict[tuple[str, Wanted], _Drawing] = OrderedDict()

    async def cells(
        self, deps: ControlDeps, caller: Caller, found: Overview, wanted: Wanted, *, anew: bool = False
    ) -> Mapping[str, Cell]:
        """Return what a page shows now; the same object until something was drawn again.

        Args:
            found: how the organization stands.
            anew: whether nothing older than this call will do.
        Raises: NotFound, Unavailable.
        """
        key = caller.org_id, wanted
        drawing = self._drawings.setdefault(key, _Drawing())
        self._drawings.move_to_end(key)
        while len(self._drawings) > DRAWN_MAX:
            self._drawings.popitem(last=False)
        if drawing.cells is not None and not anew and deps.clock.steady() < drawing.due:
            return drawing.cells
        before = drawing.of
        async with drawing.lock:
            if drawing.cells is not None and drawing.of is not before and not anew:
                return drawing.cells  # another page has waited for the same
            of = (found, _moment(drawing.cells, deps.clock.now(), wanted))
            if drawing.cells is None or anew or of != drawing.of:
                drawing.cells = await _drawn(deps, caller, found, wanted)
            drawing.of, drawing.due = of, deps.clock.steady() + _pause(found, wanted)
            return drawing.cells


def _moment(cells: Mapping[str, Cell] | None, now: Micros, wanted: Wanted) -> Micros:
    """Return until when a drawing holds of an organization that stands as it did: bars move on, all else waits for the next minute."""
    if _BARS.fullmatch(wanted.span) and (cells is None or still_move(cells)):
        return now
    return began_at(now, MINUTES.step_s)


def _pause(found: Overview, wanted: Wanted) -> int:
    if _BARS.fullmatch(wanted.span):
        return BARS_PAUSE_US
    if wanted.about:
        return HISTORY_PAUSE_US
    return max(PAUSE_US, len(found.standings) * SECOND // STRIPS_PER_SECOND)


async def _drawn(deps: ControlDeps, caller: Caller, found: Overview, wanted: Wanted) -> dict[str, Cell]:
    shown = Shown(deps.clock.now(), wanted.zone)
    if bars := _BARS.fullmatch(wanted.span):
        # From the newest bar of the page on: the sign "~" sorts after those of ids.
        kind, before = bars[1], bars[2] + "~"
        if kind == dead_letters.JOBS:
            return cells_of(await dead_letters.bars_of(deps, caller, wanted.about, before))
        return cells_of(await replays.bars_of(deps, caller, wanted.about, before, replays.ROWS))
    if wanted.about:
        return history_cells(*await chart_now(deps, caller, wanted.about, wanted.span), shown)
    days, hour = await timeline.last_day(deps, caller), await timeline.last_hour(deps, caller)
    strips = strips_of(found.standings, days, shown.now)
    return overview_cells(strips, hour, base_of(caller.org_id), shown)
