-- Settlements, and the retries that they leave.

-- name: lock_cursor
-- Lock a destination's cursor row until the end of the transaction, and return what its lease is judged by: owner, epoch, and
-- whether the owner is registered; then the number of the newest settlement, and the counts after it.
SELECT c.lease_owner, c.lease_epoch, (SELECT 1 FROM workers w WHERE w.worker_id = c.lease_owner),
       c.settlement_no, c.retrying, c.dead_letters
FROM cursors c WHERE c.org_no = ? AND c.dst_no = ?;

-- name: settle_cursor
-- The one small write per settlement: the cursor moves on, never back; counts and health.
UPDATE cursors SET cursor = max(cursor, ?), delivered = delivered + ?, failed_attempts = failed_attempts + ?,
    retrying = retrying + ?, dead_letters = dead_letters + ?, failures_in_row = ?, window_size = ?, p50_ms = ?, p99_ms = ?,
    last_success_at = ?, last_error_at = ?, last_error_status = ?, last_error_message = ?, last_error_sequence = ?,
    batch_bytes_max = ?, settlement_no = ?
WHERE org_no = ? AND dst_no = ?
RETURNING retrying, dead_letters;

-- name: insert_attempt
-- Insert a run of attempts with the same result.
INSERT INTO attempts (org_no, dst_no, first_sequence, last_sequence, attempt, state, status_code, message, latency_us, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_retry
-- Another attempt failed, and attempts are left.
UPDATE retries SET attempts = ?, due_at = ?, status_code = ?, message = ? WHERE org_no = ? AND dst_no = ? AND sequence = ?;

-- name: insert_retry
-- A first attempt failed, and attempts are left.
INSERT INTO retries (attempts, due_at, status_code, message, org_no, dst_no, sequence) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: delete_retry
-- Remove a retry: its event is delivered, or a dead letter.
DELETE FROM retries WHERE org_no = ? AND dst_no = ? AND sequence = ?;

-- name: due_retries
-- Events whose next attempt is due, oldest first; one that is missing in the log has neither body nor checksum.
SELECT r.sequence, r.attempts, r.status_code, CAST(e.body AS BLOB), e.checksum FROM retries r
LEFT JOIN events e ON e.org_no = r.org_no AND e.sequence = r.sequence
WHERE r.org_no = ? AND r.dst_no = ? AND r.due_at <= ? ORDER BY r.due_at, r.sequence LIMIT ?;

-- name: furthest_retries
-- When the last retry of a destination is due, by the number of attempts made; apart from them those whose wait the destination
-- (Retry-After) or a parked attempt may have prolonged.
SELECT attempts, CASE WHEN coalesce(status_code, 0) IN (408, 413, 429, 502, 503) OR message IS NULL THEN 1 ELSE 0 END AS prolonged,
       max(due_at)
FROM retries WHERE org_no = ? AND dst_no = ? AND attempts > 0 GROUP BY attempts, prolonged;

-- name: bring_forward
-- Make retries due by a time: those with so many attempts made, prolonged or not.
UPDATE retries SET due_at = ?
WHERE org_no = ? AND dst_no = ? AND attempts = ?
  AND CASE WHEN coalesce(status_code, 0) IN (408, 413, 429, 502, 503) OR message IS NULL THEN 1 ELSE 0 END = ? AND due_at > ?;

-- name: next_due
-- When the next retry of a destination falls due.
SELECT min(due_at) FROM retries WHERE org_no = ? AND dst_no = ? AND due_at > ?;

-- name: retry_of
-- The retry of one event, if it has one.
SELECT attempts, due_at, status_code, message FROM retries WHERE org_no = ? AND dst_no = ? AND sequence = ?;

-- name: count_damaged
-- Count an event that was found damaged or missing.
UPDATE meta SET value = value + 1 WHERE name = 'damaged_events';

-- name: failures_of
-- How many retries and dead letters a destination has, and its health.
SELECT c.retrying, c.dead_letters, c.failures_in_row, c.window_size, c.p50_ms, c.p99_ms, c.last_success_at,
       c.last_error_at, c.last_error_status, c.last_error_message, c.last_error_sequence, c.batch_bytes_max
FROM cursors c WHERE c.org_no = ? AND c.dst_no = ?;
