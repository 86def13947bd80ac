-- Statements that SQLite words differently. Its log is keyed by position, org_no * 2^40 + sequence: one number, so that appending
-- and reading on from a cursor are each one walk along the table itself. The other statements know organization and sequence alone.

-- name: insert_event
-- differs because: the key of the log is the position; ?1 is that before the first event, computed once and not for each row.
INSERT INTO events (position, org_no, received_at, event_id, dataset, decision, body, checksum) VALUES (?1 + 1, ?2, ?3, ?, ?, ?, ?, ?);

-- name: page_bodies
-- differs because: the key of the log is the position.
SELECT CAST(group_concat(body, char(30)) AS BLOB), sum(checksum), count(checksum)
FROM (SELECT body, checksum FROM events WHERE position BETWEEN ?1 * 1099511627776 + ?2 AND ?1 * 1099511627776 + ?3 ORDER BY position)
WHERE ?2 = ?3 OR (SELECT sum(octet_length(body)) FROM events WHERE position BETWEEN ?1 * 1099511627776 + ?2 AND ?1 * 1099511627776 + ?3) <= ?4;

-- name: page_rows
-- differs because: the key of the log is the position.
SELECT sequence, CAST(body AS BLOB), checksum, dataset, decision FROM events
WHERE position BETWEEN ?1 * 1099511627776 + ?2 AND ?1 * 1099511627776 + ?3 ORDER BY position;

-- name: page_labels
-- differs because: the key of the log is the position.
SELECT dataset, decision FROM events WHERE position BETWEEN ?1 * 1099511627776 + ?2 AND ?1 * 1099511627776 + ?3 ORDER BY position;

-- name: labels_after
-- differs because: the key of the log is the position.
SELECT sequence, dataset, decision, octet_length(body) FROM events
WHERE position > ?1 * 1099511627776 + ?2 AND position <= ?1 * 1099511627776 + ?3 ORDER BY position LIMIT ?4;

-- name: labels_before
-- differs because: the key of the log is the position.
SELECT sequence, dataset, decision, octet_length(body) FROM events
WHERE position > ?1 * 1099511627776 + ?2 AND position < ?1 * 1099511627776 + ?3 ORDER BY position DESC LIMIT ?4;

-- name: admin_labels_after
-- differs because: the key of the log is the position.
SELECT sequence, dataset, decision, octet_length(body) FROM events WHERE position > ?1 * 1099511627776 + ?2
AND position <= ?1 * 1099511627776 + ?3 AND dataset = 'aegis.audit_stream.admin' ORDER BY position LIMIT ?4;

-- name: admin_labels_before
-- differs because: the key of the log is the position.
SELECT sequence, dataset, decision, octet_length(body) FROM events WHERE position > ?1 * 1099511627776 + ?2
AND position < ?1 * 1099511627776 + ?3 AND dataset = 'aegis.audit_stream.admin' ORDER BY position DESC LIMIT ?4;

-- name: event_at
-- differs because: the key of the log is the position.
SELECT sequence, event_id, received_at, dataset, decision, CAST(body AS BLOB), checksum FROM events WHERE position = ?1 * 1099511627776 + ?2;

-- name: event_ids
-- differs because: the key of the log is the position.
SELECT sequence, event_id FROM events WHERE position BETWEEN ?1 * 1099511627776 + ?2 AND ?1 * 1099511627776 + ?3 ORDER BY position;

-- name: received_at
-- differs because: the key of the log is the position.
SELECT received_at FROM events WHERE position = ?1 * 1099511627776 + ?2;

-- name: progress
-- differs because: the key of the log is the position.
SELECT c.start_sequence, c.cursor, o.head, c.delivered, c.failed_attempts, c.retrying, c.dead_letters,
       c.failures_in_row, c.window_size, c.p50_ms, c.p99_ms, c.last_success_at,
       c.last_error_at, c.last_error_status, c.last_error_message, c.last_error_sequence, c.batch_bytes_max,
       (SELECT e.event_id FROM events e WHERE e.position = c.org_no * 1099511627776 + c.last_error_sequence)
FROM cursors c JOIN organizations o ON o.org_no = c.org_no WHERE c.org_no = ? AND c.dst_no = ?;

-- name: due_retries
-- differs because: the key of the log is the position.
SELECT r.sequence, r.attempts, r.status_code, CAST(e.body AS BLOB), e.checksum FROM retries r
LEFT JOIN events e ON e.position = r.org_no * 1099511627776 + r.sequence
WHERE r.org_no = ? AND r.dst_no = ? AND r.due_at <= ? ORDER BY r.due_at, r.sequence LIMIT ?;

-- name: organizations_with_old_events
-- differs because: the key of the log is the position.
SELECT o.org_no, o.oldest, o.head FROM organizations o
WHERE o.head >= o.oldest AND o.org_no > ?2 AND (
    EXISTS (SELECT 1 FROM events e WHERE e.position = o.org_no * 1099511627776 + o.oldest AND e.received_at < ?1)
    OR EXISTS (
        SELECT 1 FROM clock_steps s JOIN events e ON e.position = s.org_no * 1099511627776 + s.sequence
        WHERE s.org_no = o.org_no AND s.sequence > o.oldest AND e.received_at < ?1
    )
)
ORDER BY o.org_no LIMIT ?3;

-- name: last_old_step
-- differs because: the key of the log is the position.
SELECT max(s.sequence) FROM clock_steps s JOIN events e ON e.position = s.org_no * 1099511627776 + s.sequence
WHERE s.org_no = ? AND s.sequence > ? AND e.received_at < ?;

-- name: delete_left_events
-- differs because: the key of the log is the position.
DELETE FROM events WHERE position IN (
    SELECT e.position FROM events e WHERE e.position BETWEEN ?1 * 1099511627776 AND ?1 * 1099511627776 + ?2 - 1
        AND NOT EXISTS (SELECT 1 FROM retries r WHERE r.org_no = ?1 AND r.sequence = e.sequence)
        AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.org_no = ?1 AND d.sequence = e.sequence)
    LIMIT ?3
)
RETURNING octet_length(body);

-- name: count_kept
-- differs because: the key of the log is the position.
SELECT count(*) FROM events WHERE position BETWEEN ?1 * 1099511627776 AND ?1 * 1099511627776 + ?2 - 1;

-- name: delete_events
-- differs because: the key of the log is the position.
DELETE FROM events WHERE position BETWEEN ?1 * 1099511627776 + ?2 AND ?1 * 1099511627776 + ?3
    AND position NOT IN (SELECT r.org_no * 1099511627776 + r.sequence FROM retries r WHERE r.org_no = ?1 AND r.sequence BETWEEN ?2 AND ?3)
    AND position NOT IN (SELECT d.org_no * 1099511627776 + d.sequence FROM dead_letters d WHERE d.org_no = ?1 AND d.sequence BETWEEN ?2 AND ?3)
RETURNING octet_length(body);
