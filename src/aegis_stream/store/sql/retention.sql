-- Retention, and the rows of deleted destinations.

-- name: retention_clock
-- The time of retention's own clock, which worker keeps it, and whether that worker is registered.
SELECT counted_at, owner, EXISTS (SELECT 1 FROM workers w WHERE w.worker_id = owner)
FROM housekeeping WHERE task = 'retention';

-- name: set_retention_clock
-- Retention's clock has moved, or another worker keeps it now.
INSERT INTO housekeeping (task, owner, counted_at) VALUES ('retention', ?, ?)
ON CONFLICT (task) DO UPDATE SET owner = excluded.owner, counted_at = excluded.counted_at;

-- name: newest_receipt
-- The time of the newest event; NULL without any.
SELECT max(last_received_at) FROM organizations WHERE head > 0;

-- name: organizations_with_old_events
-- Organizations with events to remove: the oldest is old enough, or an event after it is.
SELECT o.org_no, o.oldest, o.head FROM organizations o
WHERE o.head >= o.oldest AND o.org_no > ?2 AND (
    EXISTS (SELECT 1 FROM events e WHERE e.org_no = o.org_no AND e.sequence = o.oldest AND e.received_at < ?1)
    OR EXISTS (
        SELECT 1 FROM clock_steps s JOIN events e ON e.org_no = s.org_no AND e.sequence = s.sequence
        WHERE s.org_no = o.org_no AND s.sequence > o.oldest AND e.received_at < ?1
    )
)
ORDER BY o.org_no LIMIT ?3;

-- name: last_old_step
-- The newest event at which times go back and which is old enough: all events before it are older.
SELECT max(s.sequence) FROM clock_steps s JOIN events e ON e.org_no = s.org_no AND e.sequence = s.sequence
WHERE s.org_no = ? AND s.sequence > ? AND e.received_at < ?;

-- name: needed_from
-- The oldest sequence that a destination or replay of the organization still needs, or that is not sealed yet; ?2 is 1
-- where somebody seals.
SELECT min(needed) FROM (
    SELECT min(c.cursor) + 1 AS needed FROM cursors c JOIN destinations d ON d.org_no = c.org_no AND d.dst_no = c.dst_no
    WHERE c.org_no = ?1 AND d.deleted_at IS NULL
    UNION ALL
    SELECT min(p.cursor) + 1 FROM replays p JOIN destinations d ON d.org_no = p.org_no AND d.dst_no = p.dst_no
    WHERE p.org_no = ?1 AND d.deleted_at IS NULL AND p.finished_at IS NULL
    UNION ALL
    SELECT coalesce((SELECT max(t.base + t.size) FROM trees t WHERE t.org_no = ?1), o.oldest - 1) + 1 FROM organizations o
    WHERE o.org_no = ?1 AND o.proof <> 'off' AND ?2 = 1
) AS needs;

-- name: delete_events
-- Remove the oldest events of a log, except those of retries and dead letters; returns the bytes of each.
DELETE FROM events WHERE org_no = ?1 AND sequence BETWEEN ?2 AND ?3
    AND sequence NOT IN (SELECT r.sequence FROM retries r WHERE r.org_no = ?1 AND r.sequence BETWEEN ?2 AND ?3)
    AND sequence NOT IN (SELECT d.sequence FROM dead_letters d WHERE d.org_no = ?1 AND d.sequence BETWEEN ?2 AND ?3)
RETURNING octet_length(body);

-- name: advance_oldest
-- Store where the log now begins, that so many bytes are gone, and how many more events are kept before the beginning.
UPDATE organizations SET oldest = ?, stored_bytes = stored_bytes - ?, kept = kept + ? WHERE org_no = ?;

-- name: organizations_with_left_events
-- Organizations that keep more events before the beginning of their log than there are retries and dead letters.
SELECT o.org_no, o.oldest FROM organizations o
WHERE o.kept > 0 AND o.kept > (SELECT coalesce(sum(c.retrying + c.dead_letters), 0) FROM cursors c WHERE c.org_no = o.org_no)
ORDER BY o.org_no LIMIT ?;

-- name: delete_left_events
-- Remove events before a sequence that no retry and no dead letter needs any more, at most so many; returns the bytes of each.
DELETE FROM events WHERE org_no = ?1 AND sequence IN (
    SELECT e.sequence FROM events e WHERE e.org_no = ?1 AND e.sequence < ?2
        AND NOT EXISTS (SELECT 1 FROM retries r WHERE r.org_no = ?1 AND r.sequence = e.sequence)
        AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.org_no = ?1 AND d.sequence = e.sequence)
    LIMIT ?3
)
RETURNING octet_length(body);

-- name: count_kept
-- How many events lie before a sequence.
SELECT count(*) FROM events WHERE org_no = ?1 AND sequence < ?2;

-- name: set_kept
-- Store how many events are kept before the beginning of a log, and that so many bytes are gone.
UPDATE organizations SET kept = ?, stored_bytes = stored_bytes - ? WHERE org_no = ?;

-- name: delete_clock_steps
-- Remove the steps of the removed part of a log.
DELETE FROM clock_steps WHERE org_no = ? AND sequence <= ?;

-- name: delete_attempts
-- Remove old attempts, at most so many.
DELETE FROM attempts WHERE attempt_no IN (SELECT attempt_no FROM attempts WHERE at < ? ORDER BY at LIMIT ?);

-- name: deleted_destinations
-- Deleted destinations that still have rows.
SELECT org_no, dst_no FROM destinations WHERE deleted_at IS NOT NULL LIMIT ?;

-- name: delete_attempts_of
-- Remove attempts of a deleted destination, at most so many.
DELETE FROM attempts WHERE attempt_no IN (SELECT attempt_no FROM attempts WHERE org_no = ? AND dst_no = ? LIMIT ?);

-- name: delete_retries_of
-- Remove the retries of a deleted destination.
DELETE FROM retries WHERE org_no = ? AND dst_no = ?;

-- name: delete_dead_letters_of
-- Remove all dead letters of a destination.
DELETE FROM dead_letters WHERE org_no = ? AND dst_no = ?;

-- name: delete_replays_of
-- Remove the replays of a deleted destination.
DELETE FROM replays WHERE org_no = ? AND dst_no = ?;

-- name: counts_of
-- What a destination has counted.
SELECT delivered, failed_attempts FROM cursors WHERE org_no = ? AND dst_no = ?;

-- name: add_to_counter
-- Add to a counter of the database.
UPDATE meta SET value = value + ? WHERE name = ?;

-- name: delete_cursor
-- Remove the cursor of a deleted destination.
DELETE FROM cursors WHERE org_no = ? AND dst_no = ?;

-- name: delete_destination
-- Remove the last row of a deleted destination.
DELETE FROM destinations WHERE org_no = ? AND dst_no = ?;

-- name: trees_with_old_tiles
-- Logs whose first tile of leaves is full, got its last hash before a time, and is of events that are gone.
SELECT t.org_no, t.base, t.size, o.oldest, t.sealed_at FROM trees t
JOIN organizations o ON o.org_no = t.org_no
JOIN tree_tiles x ON x.org_no = t.org_no AND x.base = t.base AND x.level = 0
WHERE x.tile = (SELECT min(m.tile) FROM tree_tiles m WHERE m.org_no = t.org_no AND m.base = t.base AND m.level = 0)
    AND coalesce(x.stored_at, t.sealed_at) < ? AND (x.tile + 1) * 256 <= t.size AND t.base + (x.tile + 1) * 256 < o.oldest
ORDER BY t.org_no, t.base LIMIT ?;

-- name: first_leaf_tiles
-- The first tiles of leaves that are stored of a log, and when each got its last hash.
SELECT tile, stored_at FROM tree_tiles WHERE org_no = ? AND base = ? AND level = 0 ORDER BY tile LIMIT ?;

-- name: first_leaf_tile
-- The first tile of leaves that is stored of a log; NULL without any.
SELECT min(tile) FROM tree_tiles WHERE org_no = ? AND base = ? AND level = 0;

-- name: delete_leaf_tiles
-- Remove the tiles of leaves of a log up to one.
DELETE FROM tree_tiles WHERE org_no = ? AND base = ? AND level = 0 AND tile <= ?;
