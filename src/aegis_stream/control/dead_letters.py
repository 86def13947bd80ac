"""Dead letters: list, group by cause, redrive, purge; at once when they are few, as a stored job when they are many."""

from collections.abc import Sequence as Seq
from typing import Any, NamedTuple

from aegis_stream.domain.audit import destination_action
from aegis_stream.domain.dead_letters import (
    EVERY,
    DeadLetter,
    DeadLetterAction,
    DeadLetterFilter,
    DeadLetterGroup,
    DeadLetterJob,
)
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import RANDOM_BYTES, new_id
from aegis_stream.domain.times import to_text
from aegis_stream.store import dead_letter_jobs, dead_letters, destinations
from aegis_stream.store.database import Unit
from aegis_stream.store.dead_letter_jobs import PART, NewJob
from aegis_stream.store.dead_letters import Matching
from aegis_stream.store.records import key_of

from .audit import Record, perform
from .caller import Caller
from .deps import ControlDeps
from .pace import events_per_second, seconds_for

AT_ONCE_MAX = 10_000
"""Most dead letters that are redriven or purged at once when all of a destination's are meant: 20 ms."""
EXPORT_AT_A_TIME = 20
"""Dead letters that an export reads at a time: their events are held in memory."""
JOB_PREFIX = "job"


class ExportPage(NamedTuple):
    """Dead letters with the text of their events, None where the event is gone; and where to read on, None at the end."""

    found: list[tuple[DeadLetter, str | None]]
    next_after: int | None


class Preview(NamedTuple):
    """What a redrive or purge would do.

    Args:
        events: how many dead letters the filter selects; at most so many when it has a time.
        seconds: about how long it takes to send them; None where nobody knows.
    """

    events: int
    seconds: float | None


class Started(NamedTuple):
    """What came of a redrive or purge.

    Args:
        at_once: how many dead letters were redriven or purged at once.
        job_id: the job that does it in small parts; None where all is done.
        total: how many dead letters the job may concern.
    """

    at_once: int
    job_id: str | None = None
    total: int = 0


async def list_of(
    deps: ControlDeps, caller: Caller, dst_id: str, which: DeadLetterFilter, after: int, limit: int
) -> Matching:
    """Return dead letters of a destination with a sequence above `after`, in log order. Raises: NotFound, Unavailable.

    Of many that a filter does not select only some are looked at: then fewer come back, and where to read on.
    """

    def work(unit: Unit) -> Matching:
        key = key_of(_find(unit, deps, caller, dst_id, damaged_too=True))
        return dead_letters.matching(unit, key, which, after, limit)

    return await deps.db.read(work)


async def export_page(
    deps: ControlDeps, caller: Caller, dst_id: str, which: DeadLetterFilter, after: int
) -> ExportPage:
    """Return the next few dead letters that a filter selects, with their events. Raises: NotFound, Unavailable."""
    found = await list_of(deps, caller, dst_id, which, after, EXPORT_AT_A_TIME)
    entries = await deps.log.entries_at(caller.organization_no, [one.sequence for one in found.found])
    bodies = {entry.sequence: entry.body for entry in entries}
    return ExportPage([(one, bodies.get(one.sequence)) for one in found.found], found.next_after)


async def groups(deps: ControlDeps, caller: Caller, dst_id: str) -> list[DeadLetterGroup]:
    """Return dead letters of a destination by their cause, the most frequent first. Raises: NotFound, Unavailable."""

    def work(unit: Unit) -> list[DeadLetterGroup]:
        return dead_letters.groups_of(unit, key_of(_find(unit, deps, caller, dst_id, damaged_too=True)))

    return await deps.db.read(work)


async def preview(deps: ControlDeps, caller: Caller, dst_id: str, which: DeadLetterFilter) -> Preview:
    """Return what a redrive would do; nothing is started. Raises: NotFound, Unavailable."""

    def work(unit: Unit) -> Preview:
        found = _find(unit, deps, caller, dst_id, damaged_too=True)
        count = dead_letters.count_matching(unit, key_of(found), which)
        health = destinations.progress(unit, found).health
        return Preview(count, seconds_for(count, events_per_second(found.spec, health)))

    return await deps.db.read(work)


async def redrive(deps: ControlDeps, caller: Caller, dst_id: str, event_ids: Seq[str]) -> int:
    """Make dead letters pending again, those of these events; each gets all its attempts again.

    One transaction and one audit event, whatever their number.

    Returns: how many were redriven.
    Raises: NotFound, Unavailable.
    """

    def act(unit: Unit, record: Record) -> int:
        found = _find(unit, deps, caller, dst_id)
        count = dead_letters.redrive(unit, found, event_ids)
        record(found, destination_action("dead_letters_redrive", found, count=count))
        return count

    count = await perform(deps, caller, act)
    deps.notify_changes()
    return count


async def purge(deps: ControlDeps, caller: Caller, dst_id: str, event_id: str) -> int:
    """Delete the dead letter of one event for good. Returns: how many there were. Raises: NotFound, Unavailable."""

    def act(unit: Unit, record: Record) -> int:
        found = _find(unit, deps, caller, dst_id)
        count = dead_letters.purge(unit, found, event_id)
        record(found, destination_action("dead_letters_purge", found, count=count))
        return count

    count = await perform(deps, caller, act)
    deps.notify_changes()  # a destination that waits because it has too many may go on
    return count


async def start(
    deps: ControlDeps, caller: Caller, dst_id: str, action: DeadLetterAction, which: DeadLetterFilter
) -> Started:
    """Redrive or purge all dead letters that a filter selects: at once when they are few, as a job when they are many.

    A job takes what had died when it was started. One audit event now, and one at the end of a job.

    Raises: NotFound. Conflict when too many jobs of the destination are running. Unavailable.
    """
    job_id = new_id(JOB_PREFIX, deps.clock.now(), deps.random.random_bytes(RANDOM_BYTES))

    def act(unit: Unit, record: Record) -> Started:
        found = _find(unit, deps, caller, dst_id)
        done = _start(unit, found, NewJob(job_id, action, which, 0), caller)
        count = done.at_once if done.job_id is None else done.total
        after = _shown(which) | ({"job_id": job_id} if done.job_id is not None else {})
        record(found, destination_action(f"dead_letters_{action}", found, count=count, after=after or None))
        return done

    done = await perform(deps, caller, act)
    deps.notify_changes()
    return done


def _start(unit: Unit, destination: Destination, job: NewJob, caller: Caller) -> Started:
    key, which = key_of(destination), job.which
    unit.row("lock_cursor", key)
    count = dead_letters.count_matching(unit, key, which)
    if which == EVERY and count <= AT_ONCE_MAX:
        if job.action == "redrive":
            return Started(dead_letters.redrive(unit, destination, None))
        return Started(dead_letters.purge(unit, destination, None))
    if which != EVERY:
        found = dead_letters.matching(unit, key, which, 0, PART, PART)
        if found.next_after is None:  # all were looked at
            sequences = [one.sequence for one in found.found]
            count = dead_letters.act_on(unit, key, job.action, sequences)
            dead_letters.forget_vanished_groups(unit, key)
            return Started(count)
    dead_letter_jobs.add(unit, destination, job._replace(total=count), caller.actor)
    return Started(0, job.job_id, count)


async def jobs(
    deps: ControlDeps, caller: Caller, dst_id: str, before: str, limit: int
) -> list[DeadLetterJob]:
    """Return jobs of a destination with an id below `before`, newest first. Raises: NotFound, Unavailable."""

    def work(unit: Unit) -> list[DeadLetterJob]:
        key = key_of(_find(unit, deps, caller, dst_id, damaged_too=True))
        return dead_letter_jobs.list_of(unit, key, before, limit)

    return await deps.db.read(work)


async def find_job(deps: ControlDeps, caller: Caller, dst_id: str, job_id: str) -> DeadLetterJob:
    """Return one job. Raises: NotFound, Unavailable."""

    def work(unit: Unit) -> DeadLetterJob:
        key = key_of(_find(unit, deps, caller, dst_id, damaged_too=True))
        return dead_letter_jobs.find(unit, key, job_id)

    return await deps.db.read(work)


async def cancel_job(deps: ControlDeps, caller: Caller, dst_id: str, job_id: str) -> None:
    """Stop a job where it is; what it has redriven or purged stays so. Raises: NotFound. Conflict when it has ended. Unavailable."""

    def act(unit: Unit, record: Record) -> None:
        found = _find(unit, deps, caller, dst_id)
        job = dead_letter_jobs.cancel(unit, key_of(found), job_id)
        shown = {"job_id": job_id, "action": job.action}
        record(found, destination_action("dead_letters_job_cancel", found, before=shown, count=job.done))

    await perform(deps, caller, act)


def _shown(which: DeadLetterFilter) -> dict[str, Any]:
    """Show a filter in an audit event."""
    before = to_text(which.before) if which.before is not None else ""
    return {
        name: value
        for name, value in (("about", which.about), ("error", which.error), ("before", before))
        if value
    }


def _find(
    unit: Unit, deps: ControlDeps, caller: Caller, dst_id: str, *, damaged_too: bool = False
) -> Destination:
    """Return a destination; who only looks also sees one whose secrets do not open. Raises: NotFound, Unavailable."""
    return destinations.find(unit, deps.sealer, caller.organization_no, dst_id, damaged_too=damaged_too)
