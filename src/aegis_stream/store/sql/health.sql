-- What metrics and `aegis doctor` show.

-- name: totals
-- Sums over all destinations.
SELECT coalesce(sum(CASE WHEN d.deleted_at IS NULL THEN 1 ELSE 0 END), 0),
       coalesce(sum(c.delivered), 0),
       coalesce(sum(c.failed_attempts), 0),
       coalesce(sum(CASE WHEN d.deleted_at IS NULL THEN c.retrying ELSE 0 END), 0),
       coalesce(sum(CASE WHEN d.deleted_at IS NULL THEN c.dead_letters ELSE 0 END), 0),
       coalesce(sum(CASE WHEN d.deleted_at IS NULL THEN o.head - c.cursor ELSE 0 END), 0),
       coalesce(sum(CASE WHEN d.deleted_at IS NULL AND c.failures_in_row > 0 THEN 1 ELSE 0 END), 0),
       coalesce(sum(CASE WHEN d.deleted_at IS NULL AND c.failures_in_row > 0 AND c.last_error_message LIKE ? THEN 1 ELSE 0 END), 0)
FROM cursors c JOIN organizations o ON o.org_no = c.org_no JOIN destinations d ON d.org_no = c.org_no AND d.dst_no = c.dst_no;

-- name: failing_destinations
-- Destinations whose newest attempts failed, with the reason.
SELECT d.dst_id, o.org_id, c.last_error_message
FROM cursors c JOIN destinations d ON d.org_no = c.org_no AND d.dst_no = c.dst_no JOIN organizations o ON o.org_no = c.org_no
WHERE d.deleted_at IS NULL AND d.paused = 0 AND c.failures_in_row > 0
ORDER BY d.dst_no;

-- name: worker_states
-- All workers, and how many destinations each serves.
SELECT w.worker_id, w.started_at, w.expires_at, coalesce(c.served, 0) FROM workers w
LEFT JOIN (SELECT lease_owner, count(*) AS served FROM cursors GROUP BY lease_owner) c ON c.lease_owner = w.worker_id
ORDER BY w.worker_id;

-- name: count_unserved
-- Destinations that no registered worker serves.
SELECT count(*) FROM destinations d JOIN cursors c ON c.org_no = d.org_no AND c.dst_no = d.dst_no
WHERE d.deleted_at IS NULL AND (c.lease_owner IS NULL OR c.lease_owner NOT IN (SELECT worker_id FROM workers));

-- name: newest_time
-- The newest time in the store: a clock that shows an earlier one was set back.
SELECT max(
    (SELECT coalesce(max(last_received_at), 0) FROM organizations),
    (SELECT coalesce(max(started_at), 0) FROM workers),
    (SELECT coalesce(max(updated_at), 0) FROM destinations)
);

-- name: counters
-- What deleted destinations had counted, and how often an event was found damaged.
SELECT name, value FROM meta WHERE name IN ('delivered_by_deleted', 'failed_attempts_by_deleted', 'damaged_events');
