-- Dead letters.

-- name: insert_dead_letter
-- Dead-letter an event: all its attempts are used up, or it cannot be sent.
INSERT INTO dead_letters (org_no, dst_no, sequence, event_id, attempts, scope, status_code, message, dead_at, group_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: delete_dead_letter
-- Remove a dead letter: its event is redriven, or it is purged. Returns its group.
DELETE FROM dead_letters WHERE org_no = ? AND dst_no = ? AND sequence = ? RETURNING group_id;

-- name: dead_letters_of_group
-- Dead letters of a destination with one cause, in log order.
SELECT sequence, event_id, attempts, scope, status_code, message, dead_at FROM dead_letters
WHERE org_no = ? AND dst_no = ? AND group_id = ? AND sequence > ? ORDER BY sequence LIMIT ?;

-- name: dead_letters_of
-- Dead letters of a destination in log order.
SELECT sequence, event_id, attempts, scope, status_code, message, dead_at FROM dead_letters
WHERE org_no = ? AND dst_no = ? AND sequence > ? ORDER BY sequence LIMIT ?;

-- name: dead_letter_by_event
-- One dead letter by the event's id.
SELECT sequence FROM dead_letters WHERE org_no = ? AND dst_no = ? AND event_id = ?;

-- name: dead_letters_for_redrive
-- Dead letters to redrive, in log order; those that died after the redrive began wait for the next one. A time that lies ahead
-- comes from a clock that was set back since.
SELECT sequence FROM dead_letters WHERE org_no = ? AND dst_no = ? AND (dead_at <= ? OR dead_at > ?) AND scope LIKE ? ORDER BY sequence LIMIT ?;

-- name: count_redrivable
-- How many dead letters a destination has, and how many of their events have a retry already (a replay may leave one).
SELECT count(*), count(r.sequence) FROM dead_letters d
LEFT JOIN retries r ON r.org_no = d.org_no AND r.dst_no = d.dst_no AND r.sequence = d.sequence
WHERE d.org_no = ? AND d.dst_no = ?;

-- name: insert_redriven
-- Make every dead letter of a destination pending again: no attempt made, due at once, whatever the clock says.
INSERT INTO retries (org_no, dst_no, sequence, attempts, due_at)
SELECT org_no, dst_no, sequence, 0, 0 FROM dead_letters WHERE org_no = ? AND dst_no = ? ORDER BY sequence
ON CONFLICT (org_no, dst_no, sequence) DO UPDATE
SET attempts = 0, due_at = excluded.due_at, status_code = NULL, message = NULL;

-- name: count_redriven
-- Count dead letters that were redriven.
UPDATE cursors SET dead_letters = dead_letters - ?, retrying = retrying + ? WHERE org_no = ? AND dst_no = ?;

-- name: count_purged
-- Count dead letters that were purged.
UPDATE cursors SET dead_letters = dead_letters - ? WHERE org_no = ? AND dst_no = ?;

-- name: dead_letters_at
-- Which of some events are dead letters, at all destinations of an organization.
SELECT dst_no, sequence FROM dead_letters WHERE org_no = ? AND sequence IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
