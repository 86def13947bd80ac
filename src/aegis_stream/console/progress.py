"""How far a job or a replay is: a bar on the page, and the same in JSON for the script that moves it; pure."""

from typing import Any

import msgspec
from litestar import Response

from aegis_stream.control.replays import Progress
from aegis_stream.domain.dead_letters import DeadLetterJob
from aegis_stream.domain.ids import Micros

from .words import duration, number


class Bar(msgspec.Struct, frozen=True):
    """How far something is.

    Args:
        href: path of its progress, and above it that of its controls.
        text: in words: how many of how many, how long it will take.
    """

    id: str
    what: str
    state: str
    done: int
    total: int
    text: str
    href: str
    started_at: Micros


def bar_of_job(job: DeadLetterJob, href: str) -> Bar:
    """Return the bar of a redrive or purge."""
    told = _far(job.done, job.total, job.eta_seconds)
    what = "Redrive" if job.action == "redrive" else "Purge"
    if job.state == "done" and job.done < job.total:
        told += "; the others were redriven or purged meanwhile, or died later"
    return Bar(job.job_id, what, job.state, job.done, job.total, told, href, job.started_at)


def bar_of_replay(seen: Progress, href: str) -> Bar:
    """Return the bar of a replay."""
    told = _far(seen.done, seen.total, seen.eta_seconds)
    if seen.rate:
        told += f", {number(max(1, seen.rate))} a second"
    what = f"Sequences {number(seen.first)} to {number(seen.last)}"
    return Bar(seen.replay_id, what, seen.state, seen.done, seen.total, told, href, seen.created_at)


def answer_of(bar: Bar) -> Response[bytes]:
    """Return a bar as JSON."""
    shown: dict[str, Any] = {"state": bar.state, "done": bar.done, "total": bar.total, "text": bar.text}
    return Response(msgspec.json.encode(shown), media_type="application/json")


def _far(done: int, total: int, eta_seconds: float | None) -> str:
    left = f", about {duration(max(1, eta_seconds))} left" if eta_seconds is not None else ""
    return f"{number(done)} of {number(total)} events{left}"
