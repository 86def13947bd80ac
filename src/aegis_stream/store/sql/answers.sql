-- What some failed attempts were answered.

-- name: insert_answer
-- Keep what an attempt was answered.
INSERT INTO answers (org_no, dst_no, at, first_sequence, last_sequence, sequences, status_code, message, headers, excerpt)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: prune_answers
-- Remove the answers of a destination that are older than its newest ones. ?3: how many it keeps.
DELETE FROM answers WHERE org_no = ?1 AND dst_no = ?2
    AND at < (SELECT min(kept.at) FROM (SELECT at FROM answers WHERE org_no = ?1 AND dst_no = ?2 ORDER BY at DESC LIMIT ?3) AS kept);

-- name: answer_at
-- What the attempt was answered that ended at this time and had this event.
SELECT at, first_sequence, last_sequence, sequences, status_code, message, headers, excerpt FROM answers
WHERE org_no = ? AND dst_no = ? AND at = ? AND first_sequence <= ? AND last_sequence >= ?;

-- name: answer_like
-- The newest answer of an attempt up to a time that failed alike.
SELECT at, first_sequence, last_sequence, sequences, status_code, message, headers, excerpt FROM answers
WHERE org_no = ? AND dst_no = ? AND at <= ? AND coalesce(status_code, 0) = ? AND message = ? ORDER BY at DESC LIMIT 1;

-- name: delete_answers
-- Remove old answers, at most so many.
DELETE FROM answers WHERE (org_no, dst_no, at, first_sequence) IN (
    SELECT org_no, dst_no, at, first_sequence FROM answers WHERE at < ? ORDER BY at LIMIT ?
);

-- name: delete_answers_of
-- Remove the answers of a deleted destination.
DELETE FROM answers WHERE org_no = ? AND dst_no = ?;
