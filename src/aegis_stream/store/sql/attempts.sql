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

-- name: attempts_scanned
-- Those that match among so many rows of a destination's attempt log, newest first. ?5 to ?11: a filter.
SELECT attempt_no, first_sequence, last_sequence, attempt, state, status_code, message, latency_us, at FROM (
    SELECT attempt_no, first_sequence, last_sequence, attempt, state, status_code, message, latency_us, at FROM attempts
    WHERE org_no = ?1 AND dst_no = ?2 AND attempt_no <= ?3 ORDER BY attempt_no DESC LIMIT ?4
) AS scanned
WHERE state LIKE ?5 AND at BETWEEN ?6 AND ?7 AND coalesce(status_code, 0) BETWEEN ?8 AND ?9 AND coalesce(status_code, 0) <> ?10
  AND lower(coalesce(message, '')) LIKE ?11 ESCAPE '\'
ORDER BY attempt_no DESC LIMIT ?12;

-- name: attempts_of_event_like
-- Attempts of one event that match, newest first: as attempts_of_event, with the filter of attempts_scanned.
SELECT attempt_no, first_sequence, last_sequence, attempt, state, status_code, message, latency_us, at FROM attempts
WHERE org_no = ?1 AND dst_no = ?2 AND last_sequence BETWEEN ?3 AND ?4 AND first_sequence <= ?5 AND attempt_no <= ?6
  AND state LIKE ?7 AND at BETWEEN ?8 AND ?9 AND coalesce(status_code, 0) BETWEEN ?10 AND ?11 AND coalesce(status_code, 0) <> ?12
  AND lower(coalesce(message, '')) LIKE ?13 ESCAPE '\'
ORDER BY attempt_no DESC LIMIT ?14;

-- name: attempt_back
-- The row that lies so many rows before one in a destination's attempt log, and its time.
SELECT attempt_no, at FROM attempts WHERE org_no = ? AND dst_no = ? AND attempt_no <= ? ORDER BY attempt_no DESC LIMIT 1 OFFSET ?;

-- name: attempt_by_no
-- One row of a destination's attempt log.
SELECT attempt_no, first_sequence, last_sequence, attempt, state, status_code, message, latency_us, at FROM attempts
WHERE org_no = ? AND dst_no = ? AND attempt_no = ?;

-- name: retries_at
-- Retries of some events at all destinations of an organization: how often each was attempted.
SELECT dst_no, sequence, attempts FROM retries WHERE org_no = ? AND sequence IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
