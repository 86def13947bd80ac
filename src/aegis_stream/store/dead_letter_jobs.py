"""Redrives and purges of many dead letters as stored jobs, which are worked off in small transactions.

A part of a job and its progress are stored together, in the control lane, so whoever is killed in between, a part is done once. One
worker at a time works on jobs; another one takes over when that one is gone.
"""

import json
from dataclasses import dataclass
from typing import NamedTuple

from aegis_stream.domain.audit import Actor, AdminAction
from aegis_stream.domain.dead_letters import DeadLetterAction, DeadLetterFilter, DeadLetterJob
from aegis_stream.domain.delivery import DestinationKey
from aegis_stream.domain.destination import Destination
from aegis_stream.domain.ids import DestinationNo, OrganizationNo, WorkerId
from aegis_stream.errors import Conflict, NotFound
from aegis_stream.ports import Clock, Random

from . import dead_letters
from .audit_writer import AuditWriter
from .database import Database, Row, Unit
from .organizations import id_of
from .records import key_of

PART = 1000
"""Most dead letters that one part of a job looks at."""
OPEN_MAX = 8
"""Most jobs of one destination that run at the same time."""
KEPT = 50
"""Newest jobs of a destination that are kept when they have ended."""
TASK = "dead-letter-jobs"
"""What the worker that works on jobs has in the table of tasks."""


class NewJob(NamedTuple):
    """A job to start."""

    job_id: str
    action: DeadLetterAction
    which: DeadLetterFilter
    total: int


def add(unit: Unit, destination: Destination, job: NewJob, actor: Actor) -> None:
    """Store a job. Raises: Conflict when OPEN_MAX jobs of the destination are running."""
    key = key_of(destination)
    row = unit.row("count_open_dead_letter_jobs", key)
    if row is not None and row[0] >= OPEN_MAX:
        raise Conflict(
            f"{OPEN_MAX} redrives and purges of this destination are running; the limit is {OPEN_MAX}: wait for one, or cancel one",
            code="too-many-jobs",
        )
    which = job.which
    started_by = json.dumps(
        {
            "actor": [actor.id, actor.name, actor.role],
            "destination": [destination.dst_id, destination.spec.name],
        },
        ensure_ascii=False,
    )
    values = (job.job_id, job.action, which.about, which.error, which.before, job.total)
    unit.run("insert_dead_letter_job", (*key, *values, unit.now(), started_by))
    unit.run("delete_old_dead_letter_jobs", (*key, KEPT))


def find(unit: Unit, key: DestinationKey, job_id: str) -> DeadLetterJob:
    """Return one job. Raises: NotFound."""
    row = unit.row("dead_letter_job", (*key, job_id))
    if row is None:
        raise NotFound(f"there is no job {job_id[:80]!r} of this destination: it may be too old to be kept")
    return _job(row)


def list_of(unit: Unit, key: DestinationKey, before: str, limit: int) -> list[DeadLetterJob]:
    """Return jobs of a destination with an id below `before`, newest first."""
    return [_job(row) for row in unit.rows("dead_letter_jobs_of", (*key, before, limit))]


def cancel(unit: Unit, key: DestinationKey, job_id: str) -> DeadLetterJob:
    """Stop a job where it is, and return it as it was. Raises: NotFound. Conflict when it has ended."""
    found = find(unit, key, job_id)
    if not unit.run("cancel_dead_letter_job", (unit.now(), *key, job_id)):
        raise Conflict(
            f"job {job_id[:80]} has ended already ({found.state}): there is nothing to cancel",
            code="job-ended",
        )
    return found


@dataclass(frozen=True, slots=True)
class DeadLetterWork:
    """Port DeadLetterWork on a database.

    Args:
        audit_actions: whether the end of a job is recorded in the log of its organization.
    """

    db: Database
    clock: Clock
    random: Random
    audit_actions: bool

    async def step(self, worker_id: WorkerId) -> bool:
        """Do a part of the work there is: see the port."""
        mine = self.db.peek(lambda unit: has_work_for(unit, worker_id))
        if mine is None:
            mine = await self.db.read(lambda unit: has_work_for(unit, worker_id))
        return mine and await self.db.write(lambda unit: self._step(unit, worker_id))

    def _step(self, unit: Unit, worker_id: WorkerId) -> bool:
        if not has_work_for(unit, worker_id):
            return False
        unit.run("own_task", (TASK, worker_id))
        if dead_letters.group_some(unit, PART):
            return True
        row = unit.row("open_dead_letter_job")
        if row is None:
            return False
        key = DestinationKey(OrganizationNo(row[0]), DestinationNo(row[1]))
        job = do_part(unit, key, row[2])
        if job.finished_at is not None and self.audit_actions:
            self._record_end(unit, key, job)
        return True

    def _record_end(self, unit: Unit, key: DestinationKey, job: DeadLetterJob) -> None:
        told = json.loads(job.started_by)
        dst_id, name = told["destination"]
        action = AdminAction(
            "dead_letters_job_end",
            "destination",
            dst_id,
            name,
            after={"job_id": job.job_id, "action": job.action},
            count=job.done,
        )
        writer = AuditWriter(Actor(*told["actor"]), self.clock, self.random)
        writer.append(unit, key.organization_no, id_of(unit, key.organization_no), action)


def has_work_for(unit: Unit, worker_id: WorkerId) -> bool:
    """Tell whether there is work on dead letters, and no other living worker does it."""
    if unit.row("any_open_dead_letter_job") is None and unit.row("any_ungrouped_dead_letter") is None:
        return False
    owner = unit.row("task_owner", (TASK,))
    return owner is None or owner[0] == worker_id or not owner[1]


def do_part(unit: Unit, key: DestinationKey, job_id: str) -> DeadLetterJob:
    """Do the next part of a job, and return the job as it is then.

    It takes what had died when it was started. A time that lies ahead comes from a clock that was set back since.
    """
    unit.row("lock_cursor", key)
    job, now = find(unit, key, job_id), unit.now()
    found, after = dead_letters.matching(unit, key, job.which, job.cursor, PART, PART)
    sequences = [one.sequence for one in found if one.dead_at <= job.started_at or one.dead_at > now]
    moved = dead_letters.act_on(unit, key, job.action, sequences)
    if after is None:
        dead_letters.forget_vanished_groups(unit, key)
    cursor = after if after is not None else (found[-1].sequence if found else job.cursor)
    finished_at = now if after is None else None
    unit.run("advance_dead_letter_job", (cursor, moved, now, finished_at, *key, job_id))
    return job._replace(done=job.done + moved, cursor=cursor, moved_at=now, finished_at=finished_at)


def _job(row: Row) -> DeadLetterJob:
    job_id, action, about, error, before, total, done, cursor, started_at, moved_at, finished_at = row[:11]
    which = DeadLetterFilter(about, error, before)
    times = started_at, moved_at, finished_at
    return DeadLetterJob(job_id, action, which, total, done, cursor, *times, bool(row[11]), row[12])
