"""What a database of several nodes has written down, as the checker wants it: logs, counters, versions of the cursor rows.

The reader asks as the tests' own superuser, beside the service.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from faults.checker import Arrival, Counts, Entry, Ledger, Version
from faults.clients import digest_of
from faults.receiver import CarelessReceiver
from support.processes import by_event_id

Rows = list[tuple[Any, ...]]
Ask = Callable[[str], Rows]
"""Runs one statement on the database and returns its rows; numbers may come as texts."""

NOTE_VERSIONS = """
CREATE TABLE cursor_versions (
    no BIGSERIAL PRIMARY KEY,
    dst_no BIGINT, epoch BIGINT, owner TEXT, number BIGINT, cursor BIGINT, writer TEXT
);
CREATE FUNCTION note_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO public.cursor_versions (dst_no, epoch, owner, number, cursor, writer) VALUES
        (NEW.dst_no, NEW.lease_epoch, NEW.lease_owner, NEW.settlement_no, NEW.cursor, current_setting('application_name'));
    RETURN NULL;
END $$;
CREATE TRIGGER note_version AFTER INSERT OR UPDATE ON cursors FOR EACH ROW EXECUTE FUNCTION note_version();
"""
"""The database notes each version of a cursor row, in the transaction that writes it, with the name of the session: that of a
node. Versions of one row come in the order of their commits, because the row is locked until then."""

SERVED = """
SELECT d.dst_id, v.writer FROM destinations d
JOIN cursors c ON c.dst_no = d.dst_no JOIN workers w ON w.worker_id = c.lease_owner
JOIN cursor_versions v ON v.dst_no = c.dst_no AND v.epoch = c.lease_epoch AND v.owner = c.lease_owner AND v.number = 0
"""
"""Which node serves each destination: the one that wrote the claim."""

TAKEN = """
SELECT d.dst_id, count(*) FROM destinations d JOIN (
    SELECT dst_no, epoch, lag(epoch) OVER one AS before, lag(owner) OVER one AS owner FROM cursor_versions
    WINDOW one AS (PARTITION BY dst_no ORDER BY no)
) v ON v.dst_no = d.dst_no AND v.epoch > v.before AND v.owner IS NOT NULL GROUP BY d.dst_id
"""
"""How often each destination was taken from a worker that had not given it back."""
_COUNTS = """
SELECT d.dst_id, o.org_id, c.cursor, c.delivered, c.failed_attempts, c.retrying, c.dead_letters,
    (SELECT coalesce(sum(a.last_sequence - a.first_sequence + 1), 0) FROM attempts a
        WHERE a.org_no = c.org_no AND a.dst_no = c.dst_no AND a.state = 'delivered'),
    (SELECT count(*) FROM attempts a WHERE a.org_no = c.org_no AND a.dst_no = c.dst_no AND a.state = 'failed'),
    (SELECT count(*) FROM retries r WHERE r.org_no = c.org_no AND r.dst_no = c.dst_no),
    (SELECT count(*) FROM dead_letters l WHERE l.org_no = c.org_no AND l.dst_no = c.dst_no)
FROM cursors c JOIN destinations d ON d.dst_no = c.dst_no JOIN organizations o ON o.org_no = c.org_no ORDER BY d.dst_no
"""
_UNSETTLED = """
SELECT d.dst_id, o.head - c.cursor, c.retrying FROM cursors c
JOIN destinations d ON d.dst_no = c.dst_no JOIN organizations o ON o.org_no = c.org_no
WHERE c.cursor < o.head OR c.retrying > 0
"""
_UNANSWERED = """
SELECT d.dst_id, sum(a.last_sequence - a.first_sequence + 1) FROM attempts a JOIN destinations d ON d.dst_no = a.dst_no
WHERE a.state = 'failed' AND a.status_code IS NULL GROUP BY d.dst_id
"""


def unsettled(ask: Ask) -> Rows:
    """Return destinations that have something to deliver: id, events behind, retries."""
    return ask(_UNSETTLED)


def read_log(ask: Ask, org_id: str) -> list[Entry]:
    """Return the log of an organization."""
    rows = ask(
        "SELECT e.sequence, e.event_id, e.body FROM events e JOIN organizations o ON o.org_no = e.org_no "
        f"WHERE o.org_id = '{org_id}' ORDER BY e.sequence"
    )
    return [Entry(int(sequence), event_id, digest_of(body.encode())) for sequence, event_id, body in rows]


def read_ledgers(ask: Ask, repeats_max: Mapping[str, int]) -> list[Ledger]:
    """Return all destinations; what an attempt without an answer has sent may arrive again, beside `repeats_max`."""
    dead: dict[str, dict[str, str]] = {}
    for dst_id, event_id, message in ask(
        "SELECT d.dst_id, l.event_id, l.message FROM dead_letters l JOIN destinations d ON d.dst_no = l.dst_no"
    ):
        dead.setdefault(dst_id, {})[event_id] = message
    unanswered = {dst_id: int(count) for dst_id, count in ask(_UNANSWERED)}
    return [
        Ledger(
            dst_id,
            org_id,
            int(cursor),
            Counts(*map(int, counts[:4])),
            Counts(*map(int, counts[4:])),
            dead.get(dst_id, {}),
            repeats_max.get(dst_id, 0) + unanswered.get(dst_id, 0),
        )
        for dst_id, org_id, cursor, *counts in ask(_COUNTS)
    ]


def read_versions(ask: Ask) -> list[Version]:
    """Return every version of the cursor rows; a worker's node is the one that wrote its claims."""
    rows = ask(
        "SELECT d.dst_id, v.epoch, v.owner, v.number, v.cursor, v.writer FROM cursor_versions v "
        "JOIN destinations d ON d.dst_no = v.dst_no ORDER BY v.no"
    )
    nodes: dict[str, str] = {}
    versions = []
    for dst_id, epoch, owner, number, cursor, writer in rows:
        if int(number) == 0 and owner:
            nodes.setdefault(owner, writer)
        version = Version(dst_id, int(epoch), owner or None, int(number), int(cursor))
        versions.append(version._replace(owner_node=nodes.get(owner), writer_node=writer or None))
    return versions


def read_arrivals(receiver: CarelessReceiver, destinations: Mapping[str, str]) -> Iterable[Arrival]:
    """Return what a receiver accepted; `destinations` are the ids by path."""
    for path, dst_id in destinations.items():
        times = receiver.accepted_s.get(path, [])
        for body, at_s in zip(receiver.accepted.get(path, []), times, strict=True):
            for line in body.splitlines():
                [(event_id, _)] = by_event_id([line])[0].items()
                yield Arrival(dst_id, event_id, digest_of(line), at_s)
