-- Running `aegis serve` processes.

-- name: processes
-- All processes that are registered, living or not, in the order of registration.
SELECT process_id, api_processes, expires_at FROM processes ORDER BY place;

-- name: last_place
-- The last place that a process has.
SELECT coalesce(max(place), 0) FROM processes;

-- name: register_process
-- Register a process, or prolong its registration; a new one takes the given place.
INSERT INTO processes (process_id, place, api_processes, started_at, expires_at)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (process_id) DO UPDATE SET expires_at = excluded.expires_at;

-- name: delete_process
-- Remove a process that stops, or was found dead.
DELETE FROM processes WHERE process_id = ?;

-- name: delete_expired_processes
-- Remove processes whose time is over, or ends later than any can: those are from before the machine's last start.
DELETE FROM processes WHERE (expires_at <= ? OR expires_at > ?) AND process_id <> ?;
