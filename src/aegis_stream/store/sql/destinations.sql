-- Destinations: what users configure, and how far each has come.

-- name: next_revision
-- Count one change; workers ask for what changed after the revision they know.
UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value;

-- name: insert_destination
-- Insert a destination.
INSERT INTO destinations (dst_id, org_no, url, auth_value, headers, oauth2, spec, paused, revision, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING dst_no;

-- name: insert_cursor
-- A new destination begins after the newest event of its organization.
INSERT INTO cursors (dst_no, org_no, start_sequence, cursor)
SELECT ?, org_no, head, head FROM organizations WHERE org_no = ?;

-- name: update_destination
-- Store a changed configuration.
UPDATE destinations SET url = ?, auth_value = ?, headers = ?, oauth2 = ?, spec = ?, paused = ?, revision = ?, updated_at = ?
WHERE org_no = ? AND dst_no = ? AND deleted_at IS NULL;

-- name: clear_failures
-- After a change of configuration attempt at once, and learn the largest accepted request again.
UPDATE cursors SET failures_in_row = 0, batch_bytes_max = NULL WHERE org_no = ? AND dst_no = ?;

-- name: mark_destination_deleted
-- Delete a destination for its users; the revision tells its worker.
UPDATE destinations SET deleted_at = ?, revision = ?, auth_value = NULL, headers = NULL, oauth2 = NULL, url = x''
WHERE org_no = ? AND dst_no = ?;

-- name: void_lease
-- End the lease of a destination: its worker can settle nothing more.
UPDATE cursors SET lease_owner = NULL, lease_epoch = lease_epoch + 1 WHERE org_no = ? AND dst_no = ?;

-- name: touch_destination
-- Tell the worker that something about a destination changed.
UPDATE destinations SET revision = ? WHERE dst_no = ?;

-- name: destination_by_id
-- One destination of an organization.
SELECT d.dst_no, d.dst_id, d.org_no, o.org_id, d.url, d.auth_value, d.headers, d.oauth2, d.spec, d.paused, d.revision, d.created_at, d.updated_at
FROM destinations d JOIN organizations o ON o.org_no = d.org_no
WHERE d.org_no = ? AND d.dst_id = ? AND d.deleted_at IS NULL;

-- name: destination_no
-- The number of a destination, without its sealed columns.
SELECT dst_no FROM destinations WHERE org_no = ? AND dst_id = ? AND deleted_at IS NULL;

-- name: destination_ids_of
-- Numbers and ids of an organization's destinations, the newest first.
SELECT dst_no, dst_id FROM destinations WHERE org_no = ? AND deleted_at IS NULL ORDER BY dst_no DESC LIMIT ?;

-- name: destinations_of
-- Destinations of an organization, oldest first, after a given one.
SELECT d.dst_no, d.dst_id, d.org_no, o.org_id, d.url, d.auth_value, d.headers, d.oauth2, d.spec, d.paused, d.revision, d.created_at, d.updated_at
FROM destinations d JOIN organizations o ON o.org_no = d.org_no
WHERE d.org_no = ? AND d.deleted_at IS NULL AND d.dst_no > coalesce((SELECT a.dst_no FROM destinations a WHERE a.dst_id = ?), 0)
ORDER BY d.dst_no LIMIT ?;

-- name: destinations_after
-- Destinations of all organizations, after a given number.
SELECT d.dst_no, d.dst_id, d.org_no, o.org_id, d.url, d.auth_value, d.headers, d.oauth2, d.spec, d.paused, d.revision, d.created_at, d.updated_at
FROM destinations d JOIN organizations o ON o.org_no = d.org_no
WHERE d.deleted_at IS NULL AND d.dst_no > ? ORDER BY d.dst_no LIMIT ?;

-- name: destination_by_no
-- One destination for the worker that serves it.
SELECT d.dst_no, d.dst_id, d.org_no, o.org_id, d.url, d.auth_value, d.headers, d.oauth2, d.spec, d.paused, d.revision, d.created_at, d.updated_at
FROM destinations d JOIN organizations o ON o.org_no = d.org_no
WHERE d.dst_no = ? AND d.deleted_at IS NULL;

-- name: changed_since
-- Destinations changed after a revision, deleted ones too, in order of change.
SELECT dst_no, revision FROM destinations WHERE revision > ? ORDER BY revision LIMIT ?;

-- name: progress
-- How far a destination has come, its counts and its health.
SELECT c.start_sequence, c.cursor, o.head, c.delivered, c.failed_attempts, c.retrying, c.dead_letters,
       c.failures_in_row, c.window_size, c.p50_ms, c.p99_ms, c.last_success_at,
       c.last_error_at, c.last_error_status, c.last_error_message, c.last_error_sequence, c.batch_bytes_max,
       (SELECT e.event_id FROM events e WHERE e.org_no = c.org_no AND e.sequence = c.last_error_sequence)
FROM cursors c JOIN organizations o ON o.org_no = c.org_no WHERE c.org_no = ? AND c.dst_no = ?;

-- name: work_ahead
-- Which worker holds the lease of a destination, and when its next retry is due.
SELECT (SELECT w.worker_id FROM workers w WHERE w.worker_id = c.lease_owner),
       (SELECT min(r.due_at) FROM retries r WHERE r.org_no = c.org_no AND r.dst_no = c.dst_no)
FROM cursors c WHERE c.org_no = ? AND c.dst_no = ?;

-- name: places_of
-- Where the destinations of an organization began, and how far they have come.
SELECT dst_no, start_sequence, cursor FROM cursors WHERE org_no = ?;
