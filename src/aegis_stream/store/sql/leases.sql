-- Workers, and the leases by which they serve destinations.

-- name: insert_worker
-- Register a worker.
INSERT INTO workers (worker_id, started_at, expires_at, judges_from) VALUES (?, ?, ?, ?);

-- name: renew_worker
-- Prolong the leases of a worker, unless it was removed. One whose time was over judges nobody for a while.
UPDATE workers SET judges_from = CASE WHEN expires_at <= ? OR expires_at > ? THEN ? ELSE judges_from END, expires_at = ?
WHERE worker_id = ?;

-- name: worker_term
-- One row if the worker's leases hold: from when it may remove others, and when its own time is over.
SELECT judges_from, expires_at FROM workers WHERE worker_id = ?;

-- name: delete_worker
-- Remove a worker that stops, or was found dead.
DELETE FROM workers WHERE worker_id = ?;

-- name: delete_expired_workers
-- Remove workers whose leases have expired.
DELETE FROM workers WHERE expires_at <= ? AND worker_id <> ?;

-- name: delete_impossible_workers
-- Remove workers whose leases end later than any lease can: those are from before the machine's last start.
DELETE FROM workers WHERE expires_at > ? AND worker_id <> ?;

-- name: count_living_workers
-- How many workers have renewed their leases in time.
SELECT count(*) FROM workers WHERE expires_at > ? AND expires_at <= ?;

-- name: workers
-- All workers.
SELECT worker_id FROM workers ORDER BY worker_id;

-- name: crew
-- All workers, and whether each is about to leave.
SELECT worker_id, CASE WHEN judges_from < ? THEN 0 ELSE 1 END FROM workers ORDER BY worker_id;

-- name: leave
-- Note that a worker is about to leave: it judges nobody any more, and is left out of the shares.
UPDATE workers SET judges_from = ? WHERE worker_id = ?;

-- name: share_counts
-- How many destinations there are to serve, and how many workers to serve them, without those that leave.
SELECT (SELECT count(*) FROM destinations WHERE deleted_at IS NULL), (SELECT count(*) FROM workers WHERE judges_from < ?);

-- name: claim
-- Take over destinations that no registered worker serves. The new epoch fences off the worker that served them before;
-- under it, settlements are numbered from the start.
UPDATE cursors SET lease_owner = ?, lease_epoch = lease_epoch + 1, settlement_no = 0
WHERE (org_no, dst_no) IN (
    SELECT c.org_no, c.dst_no FROM cursors c JOIN destinations d ON d.org_no = c.org_no AND d.dst_no = c.dst_no AND d.deleted_at IS NULL
    WHERE c.lease_owner IS NULL OR c.lease_owner NOT IN (SELECT worker_id FROM workers)
    ORDER BY c.dst_no LIMIT ?
)
RETURNING dst_no, lease_epoch;

-- name: positions
-- What a worker serves and how far each has come.
SELECT c.dst_no, c.lease_epoch, c.org_no, c.cursor, o.head, c.retrying, c.dead_letters,
       EXISTS (SELECT 1 FROM replays p WHERE p.org_no = c.org_no AND p.dst_no = c.dst_no AND p.finished_at IS NULL),
       c.failures_in_row, c.window_size, c.p50_ms, c.p99_ms, c.last_success_at,
       c.last_error_at, c.last_error_status, c.last_error_message, c.last_error_sequence, c.batch_bytes_max
FROM cursors c JOIN organizations o ON o.org_no = c.org_no WHERE c.lease_owner = ? ORDER BY c.dst_no;

-- name: release_lease
-- Hand a destination back.
UPDATE cursors SET lease_owner = NULL WHERE lease_owner = ? AND dst_no = ? AND lease_epoch = ?;

-- name: node
-- The id of the node that this database is.
SELECT value FROM meta WHERE name = 'node';

-- name: insert_node
-- Give this database the id of a node.
INSERT INTO meta (name, value) VALUES ('node', ?);
