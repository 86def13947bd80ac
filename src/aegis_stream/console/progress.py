"""How far a job or a replay is: a bar on the page, and the cells that keep it up to date; pure."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from aegis_stream.control.replays import Progress
from aegis_stream.domain.dead_letters import DeadLetterJob
from aegis_stream.domain.ids import Micros

from .live_cells import Cell
from .words import duration, number, shape_of

RUNNING = "running"


class Bar(msgspec.Struct, frozen=True):
    """How far something is.

    Args:
        text: in words: how many of how many, how long it will take.
    """

    id: str
    what: str
    state: str
    done: int
    total: int
    text: str
    started_at: Micros


def bar_of_job(job: DeadLetterJob) -> Bar:
    """Return the bar of a redrive or purge."""
    told = _far(job.done, job.total, job.eta_seconds)
    what = "Redrive" if job.action == "redrive" else "Purge"
    if job.state == "done" and job.done < job.total:
        told += "; the others were redriven or purged meanwhile, or died later"
    return Bar(job.job_id, what, job.state, job.done, job.total, told, job.started_at)


def bar_of_replay(seen: Progress) -> Bar:
    """Return the bar of a replay."""
    told = _far(seen.done, seen.total, seen.eta_seconds)
    if seen.rate:
        told += f", {number(max(1, seen.rate))} a second"
    what = f"Sequences {number(seen.first)} to {number(seen.last)}"
    return Bar(seen.replay_id, what, seen.state, seen.done, seen.total, told, seen.created_at)


def following(kind: str, bars: Sequence[Bar]) -> str:
    """Return how the stream of a page names its bars, as `redraw.wanted_of` reads it; "" where none of them moves.

    Args:
        kind: "jobs" or "replays".
        bars: those of the page, newest first.
    """
    return f"{kind}.{bars[0].id}" if any(one.state == RUNNING for one in bars) else ""


def cells_of(bars: Sequence[Bar]) -> dict[str, Cell]:
    """Return the cells of bars."""
    return {f"{one.id}.{name}": cell for one in bars for name, cell in _cells(one)}


def still_move(cells: Mapping[str, Cell]) -> bool:
    """Tell whether one of the bars that cells show is not at its end."""
    return any(cell.parts is not None and RUNNING in cell.parts for cell in cells.values())


def _cells(bar: Bar) -> Iterator[tuple[str, Cell]]:
    yield "state", Cell(parts=(shape_of(bar.state), bar.state), kind=f"badge {bar.state}")
    yield "bar", Cell(set={"max": str(bar.total or 1), "value": str(bar.done)})
    yield "text", Cell(bar.text)
    yield "cancel", Cell(kind="shown" if bar.state == RUNNING else "none")


def _far(done: int, total: int, eta_seconds: float | None) -> str:
    left = f", about {duration(max(1, eta_seconds))} left" if eta_seconds is not None else ""
    return f"{number(done)} of {number(total)} events{left}"
