-- How all organizations stand, and what runs, for the operator.

-- name: organizations_after
-- Organizations in the order of their ids.
SELECT org_no, org_id, name, head, oldest, created_at, last_received_at, stored_bytes, proof FROM organizations
WHERE org_id > ? ORDER BY org_id LIMIT ?;

-- name: organizations_worst_first
-- Organizations with the most failing destinations first, then those where most events wait, then those with most dead letters.
SELECT o.org_no, o.org_id, o.name, o.head, o.oldest, o.created_at, o.last_received_at, o.stored_bytes, o.proof
FROM organizations o LEFT JOIN (
    SELECT c.org_no AS org_no,
           sum(CASE WHEN d.paused = 0 AND c.failures_in_row > 0 THEN 1 ELSE 0 END) AS failing,
           sum(CASE WHEN d.paused = 0 THEN h.head - c.cursor + c.retrying ELSE 0 END) AS waiting,
           sum(c.dead_letters) AS dead_letters
    FROM cursors c JOIN destinations d ON d.org_no = c.org_no AND d.dst_no = c.dst_no JOIN organizations h ON h.org_no = c.org_no
    WHERE d.deleted_at IS NULL GROUP BY c.org_no
) s ON s.org_no = o.org_no
ORDER BY coalesce(s.failing, 0) DESC, coalesce(s.waiting, 0) DESC, coalesce(s.dead_letters, 0) DESC, o.org_id LIMIT ?;

-- name: sums_of_organization
-- Sums over the destinations of one organization; events wait only where the destination is not paused.
SELECT count(*),
       coalesce(sum(d.paused), 0),
       coalesce(sum(CASE WHEN d.paused = 0 AND c.failures_in_row > 0 THEN 1 ELSE 0 END), 0),
       coalesce(sum(CASE WHEN d.paused = 0 THEN o.head - c.cursor + c.retrying ELSE 0 END), 0),
       coalesce(sum(c.dead_letters), 0),
       min(CASE WHEN d.paused = 0 AND c.cursor < o.head THEN c.cursor END)
FROM cursors c JOIN destinations d ON d.org_no = c.org_no AND d.dst_no = c.dst_no JOIN organizations o ON o.org_no = c.org_no
WHERE c.org_no = ? AND d.deleted_at IS NULL;

-- name: count_organizations
-- How many organizations there are.
SELECT count(*) FROM organizations;

-- name: count_failing_organizations
-- How many organizations have a destination whose newest attempts failed.
SELECT count(DISTINCT c.org_no) FROM cursors c JOIN destinations d ON d.org_no = c.org_no AND d.dst_no = c.dst_no
WHERE d.deleted_at IS NULL AND d.paused = 0 AND c.failures_in_row > 0;

-- name: running_services
-- The `aegis serve` processes that are registered, in the order of registration.
SELECT process_id, api_processes, started_at FROM processes ORDER BY place LIMIT ?;
