-- The event log: append, pages, times.

-- name: advance_head
-- Lock the organization's head row and reserve the next sequences; the row stays locked until the commit. The time of receipt
-- never goes back, with one exception: it lies ahead of the clock by more than the given limit, and retention's own clock
-- confirms that the clock is right now; as it follows a wrong clock by a tenth of the time, it may be ahead by a tenth of that
-- distance, and by a day. Then step_sequence says at which event times go back. ?5 is the bytes of the new events.
UPDATE organizations SET head = head + ?1, stored_bytes = stored_bytes + ?5,
    step_sequence = CASE
        WHEN last_received_at - ?3 > ?2 AND (SELECT counted_at FROM housekeeping WHERE task = 'retention')
            <= ?2 + max(?3, min((last_received_at - ?2) / 10, 86400000000))
        THEN head + 1 ELSE step_sequence END,
    last_received_at = CASE
        WHEN last_received_at - ?3 > ?2 AND (SELECT counted_at FROM housekeeping WHERE task = 'retention')
            <= ?2 + max(?3, min((last_received_at - ?2) / 10, 86400000000))
        THEN ?2 ELSE max(last_received_at, ?2) END
WHERE org_no = ?4
RETURNING head, last_received_at, step_sequence, stored_bytes, stored_bytes_max;

-- name: lock_log
-- Lock the organization's head row until the commit; return its stored bytes and its own quota of them.
SELECT stored_bytes, stored_bytes_max FROM organizations WHERE org_no = ?;

-- name: insert_clock_step
-- Remember where the times of a log go back.
INSERT INTO clock_steps (org_no, sequence) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: clock_steps
-- Where the times of a log go back, within a range of sequences.
SELECT sequence FROM clock_steps WHERE org_no = ? AND sequence > ? AND sequence <= ? ORDER BY sequence;

-- name: insert_event
-- Append events: the sequence before the first, organization and time are given once, the rest for each. The store repeats
-- the last group, counting up from + 1; a second use of an id is refused by events_by_id.
INSERT INTO events (sequence, org_no, received_at, event_id, dataset, decision, body, checksum) VALUES (?1 + 1, ?2, ?3, ?, ?, ?, ?, ?);

-- name: event_by_id
-- One event of an organization by its own id.
SELECT sequence, received_at, dataset, decision, CAST(body AS BLOB), checksum FROM events WHERE org_no = ? AND event_id = ?;

-- name: sequence_of_event
-- Where an event stands in the log of its organization, by its own id.
SELECT sequence FROM events WHERE org_no = ? AND event_id = ?;

-- name: page_bodies
-- All bodies of a range in one value, in order, with a record separator between: a byte that JSON text cannot hold. Nothing where
-- the range has more than ?4 bytes, unless it is one event.
-- One row instead of a thousand: the reading thread gives up the interpreter lock once instead of a thousand times. The
-- The sum of the checksums verifies all bodies at once; count tells how many have one. The
-- inner query gives the order; an ORDER BY within the aggregate would sort again, at three times the cost.
SELECT CAST(group_concat(body, char(30)) AS BLOB), sum(checksum), count(checksum)
FROM (SELECT body, checksum FROM events WHERE org_no = ?1 AND sequence BETWEEN ?2 AND ?3 ORDER BY sequence)
WHERE ?2 = ?3 OR (SELECT sum(octet_length(body)) FROM events WHERE org_no = ?1 AND sequence BETWEEN ?2 AND ?3) <= ?4;

-- name: page_rows
-- Events of a range one by one, to find those that are damaged.
SELECT sequence, CAST(body AS BLOB), checksum, dataset, decision FROM events
WHERE org_no = ? AND sequence BETWEEN ? AND ? ORDER BY sequence;

-- name: head_of
-- The newest sequence of one organization.
SELECT head FROM organizations WHERE org_no = ?;

-- name: page_labels
-- What filters look at, for a range of the log.
SELECT dataset, decision FROM events WHERE org_no = ? AND sequence BETWEEN ? AND ? ORDER BY sequence;

-- name: labels_after
-- What a list filters by, and the size of each event, for a range of the log: no body is read for it.
SELECT sequence, dataset, decision, octet_length(body) FROM events
WHERE org_no = ? AND sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?;

-- name: labels_before
-- The same from the newest to the oldest: events above one sequence and below another.
SELECT sequence, dataset, decision, octet_length(body) FROM events
WHERE org_no = ? AND sequence > ? AND sequence < ? ORDER BY sequence DESC LIMIT ?;

-- name: admin_labels_after
-- The same of the events of administrative actions alone, of which there is an index.
SELECT sequence, dataset, decision, octet_length(body) FROM events
WHERE org_no = ? AND sequence > ? AND sequence <= ? AND dataset = 'aegis.audit_stream.admin' ORDER BY sequence LIMIT ?;

-- name: admin_labels_before
-- The same from the newest to the oldest.
SELECT sequence, dataset, decision, octet_length(body) FROM events
WHERE org_no = ? AND sequence > ? AND sequence < ? AND dataset = 'aegis.audit_stream.admin' ORDER BY sequence DESC LIMIT ?;

-- name: event_at
-- One event by its sequence, for people to read.
SELECT sequence, event_id, received_at, dataset, decision, CAST(body AS BLOB), checksum FROM events WHERE org_no = ? AND sequence = ?;

-- name: event_ids
-- Ids of a range of events.
SELECT sequence, event_id FROM events WHERE org_no = ? AND sequence BETWEEN ? AND ? ORDER BY sequence;

-- name: received_at
-- When an event was received.
SELECT received_at FROM events WHERE org_no = ? AND sequence = ?;

-- name: sum_of_heads
-- How many events were ever appended.
SELECT coalesce(sum(head), 0) FROM organizations;

-- name: log_ranges
-- Where each organization's log begins and ends.
SELECT org_no, org_id, oldest, head FROM organizations WHERE head >= oldest ORDER BY org_no;

-- name: try_write
-- Count up: to find out whether the store takes writes again. A row that stays as it is would not be written.
INSERT INTO meta (name, value) VALUES ('write_trials', 1) ON CONFLICT (name) DO UPDATE SET value = meta.value + 1;

-- name: heads
-- Newest sequence of every organization that has events.
SELECT org_no, head FROM organizations WHERE head > 0;

-- name: heads_served
-- Newest sequence of every organization of which a worker serves a destination.
SELECT org_no, head FROM organizations WHERE head > 0 AND org_no IN (SELECT org_no FROM cursors WHERE lease_owner = ?);
