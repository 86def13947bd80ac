-- What the sealer says of itself, and which logs it refuses to seal.

-- name: sealing_report
-- The newest look of a sealer.
SELECT looked_at, caught_up_at, lag_events FROM sealing;

-- name: begin_sealing
-- A sealer is to run from now on; changes nothing where one has run before.
INSERT INTO sealing (only_row, looked_at, caught_up_at, lag_events) VALUES (1, ?1, ?1, 0) ON CONFLICT (only_row) DO NOTHING;

-- name: report_sealing
-- A sealer has looked at all logs; ?3 is 1 when nothing is due after it, and ?4 NULL when it has not counted what is not sealed.
INSERT INTO sealing (only_row, looked_at, caught_up_at, lag_events) VALUES (1, ?1, ?2, coalesce(?4, 0))
ON CONFLICT (only_row) DO UPDATE SET looked_at = excluded.looked_at,
    caught_up_at = CASE WHEN ?3 = 1 THEN excluded.caught_up_at ELSE sealing.caught_up_at END,
    lag_events = coalesce(?4, sealing.lag_events);

-- name: seal_refusals
-- Logs that are to be sealed and that the sealer refuses, the longest refused first.
SELECT o.org_no, o.org_id, r.reason, r.since FROM seal_refusals r JOIN organizations o ON o.org_no = r.org_no
WHERE o.proof <> 'off' ORDER BY r.since, o.org_no LIMIT ?;

-- name: seal_refusal_of
-- Why the sealer refuses a log, and since when.
SELECT o.org_no, o.org_id, r.reason, r.since FROM seal_refusals r JOIN organizations o ON o.org_no = r.org_no
WHERE o.proof <> 'off' AND r.org_no = ?;

-- name: store_seal_refusal
-- A log is refused; for another reason since now.
INSERT INTO seal_refusals (org_no, reason, since) VALUES (?, ?, ?)
ON CONFLICT (org_no) DO UPDATE SET reason = excluded.reason, since = excluded.since;

-- name: delete_seal_refusal
-- A log is sealed again.
DELETE FROM seal_refusals WHERE org_no = ?;

-- name: seal_counters
-- How many seals were stored, and how often a log was refused.
SELECT (SELECT value FROM meta WHERE name = 'proof_seals'), (SELECT value FROM meta WHERE name = 'proof_refusals');
