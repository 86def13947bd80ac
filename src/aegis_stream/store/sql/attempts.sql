-- The attempt log, for people.

-- name: attempts_before
-- Attempts of a destination, newest first.
SELECT attempt_no, first_sequence, last_sequence, attempt, state, status_code, message, latency_us, at FROM attempts
WHERE org_no = ? AND dst_no = ? AND attempt_no <= ? AND state LIKE ? ORDER BY attempt_no DESC LIMIT ?;

-- name: attempts_of_event
-- Attempts of one event, newest first; runs have a bounded length, so the search has too.
SELECT attempt_no, first_sequence, last_sequence, attempt, state, status_code, message, latency_us, at FROM attempts
WHERE org_no = ? AND dst_no = ? AND last_sequence BETWEEN ? AND ? AND first_sequence <= ? AND attempt_no <= ? AND state LIKE ?
ORDER BY attempt_no DESC LIMIT ?;
