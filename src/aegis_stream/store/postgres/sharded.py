"""A unit of work on a PostgreSQL whose tables are sharded by organization (distribution.py).

One statement that moves a head on and writes the events behind it would be planned over all servers, so that the loss of any one
failed every append. Two statements that name the organization run on the one server that has it. Appends to several logs are a
transaction each: one over several servers would need a commit in two phases.
"""

from collections.abc import Sequence

import psycopg

from aegis_stream.store.database import EVENT_VALUES, Duplicate, HeadMoved, LogAppend, NotAppended
from aegis_stream.store.statements import load

from .connect import Session
from .dialect import translated
from .unit import PostgresUnit, append_values

_ADVANCE = translated(load()["advance_head"])
"""The shared text: the time of receipt is a value. Servers refuse a function that gives another result each time."""
_INSERT = """
INSERT INTO events (org_no, sequence, event_id, received_at, dataset, decision, body, checksum)
SELECT o.org_no, $2::bigint + new.place, new.event_id, $3::bigint, coalesce(new.dataset, ''), nullif(new.decision, ''), new.body, new.checksum
FROM organizations o, unnest(string_to_array($4, chr(30)), string_to_array($5, chr(30)), string_to_array($6, chr(30)),
    string_to_array($7, chr(30)), $8::bigint[]) WITH ORDINALITY AS new(event_id, dataset, decision, body, checksum, place)
WHERE o.org_no = $1
"""
"""The table of organizations is there so that the server of the organization runs it as it stands, and says what failed."""
_NO_LIMIT = 0
_LOST = ("08", "57P")
"""Classes of errors that say that another server is gone, or on its way."""


class ShardedUnit(PostgresUnit):
    """The protocol `Unit` where the tables are sharded."""

    def append(self, one: LogAppend, clock_step_us: int) -> HeadMoved:
        """Move the organization's head on and write its new events: see the protocol."""
        self._begin()
        try:
            return self._appended(one, clock_step_us)
        except psycopg.errors.UniqueViolation as error:
            raise Duplicate from error

    def append_each(
        self, appends: Sequence[LogAppend], clock_step_us: int, stored_bytes_max: int
    ) -> list[HeadMoved | NotAppended]:
        """Append to several logs: see the protocol. The loss of a server fails the logs that it has, and no others."""
        if not self._begun:
            return [self._append_and_commit(one, clock_step_us, stored_bytes_max) for one in appends]
        results: list[HeadMoved | NotAppended] = []
        for one in appends:
            try:
                with self.savepoint():
                    results.append(self._append_with_room(one, clock_step_us, stored_bytes_max))
            except _NotDone as not_done:
                results.append(not_done.reason)
            except psycopg.errors.UniqueViolation:
                results.append(NotAppended.KNOWN_ID)
        return results

    def _append_and_commit(
        self, one: LogAppend, clock_step_us: int, stored_bytes_max: int
    ) -> HeadMoved | NotAppended:
        """Append to one log in a transaction of its own.

        Raises: CommitUnknown, or psycopg.Error when the connection itself has failed.
        """
        self._begin()
        try:
            moved = self._append_with_room(one, clock_step_us, stored_bytes_max)
            self._session.commit()
        except _NotDone as not_done:
            self._session.rollback()
            return not_done.reason
        except psycopg.errors.UniqueViolation:
            self._session.rollback()
            return NotAppended.KNOWN_ID
        except psycopg.OperationalError as error:
            if self._raw.closed or not (error.sqlstate or "").startswith(_LOST):
                raise
            self._session.rollback()
            return NotAppended.UNREACHABLE
        finally:
            self._begun = False
        return moved

    def _append_with_room(self, one: LogAppend, clock_step_us: int, stored_bytes_max: int) -> HeadMoved:
        """Append to a log whose quota has room. Raises: _NotDone where it has none; then undo it. UniqueViolation."""
        moved = self._appended(one, clock_step_us)
        if one.size and moved.is_over(stored_bytes_max):
            raise _NotDone(NotAppended.NO_ROOM)
        return moved

    def _appended(self, one: LogAppend, clock_step_us: int) -> HeadMoved:
        no, count, size, *_ = values = append_values(one, clock_step_us, _NO_LIMIT, quota=False)
        row = self._session.run(_ADVANCE, (count, self.now(), clock_step_us, no, size)).first
        assert row is not None, (
            "the caller has looked the organization up, and organizations are never deleted"
        )
        moved = HeadMoved(*row)
        before = moved.head - len(one.values) // EVENT_VALUES
        if one.values:
            self._session.run(_INSERT, (no, before, moved.received_at, *values[5:10]))
        if moved.step_sequence == before + 1:
            self.run("insert_clock_step", (no, moved.step_sequence))
        return moved


class _NotDone(Exception):
    """An append must be undone."""

    def __init__(self, reason: NotAppended) -> None:
        self.reason = reason


def unit_on(session: Session, mode: str, first: str = "") -> PostgresUnit:
    """Return a unit of work on a session: see PostgresUnit."""
    return (ShardedUnit if session.sharded else PostgresUnit)(session, mode, first)
