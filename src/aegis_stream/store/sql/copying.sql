-- Copying a database into another one. The pages of its tables are not here: store/copy_tables.py lists the tables.

-- name: unfinished_copy
-- The mark of a database that is the target of an unfinished copy: a number that says of which one.
SELECT value FROM meta WHERE name = 'unfinished_copy';

-- name: mark_unfinished
-- Mark a database as the target of an unfinished copy.
INSERT INTO meta (name, value) VALUES ('unfinished_copy', ?);

-- name: unmark_unfinished
-- The copy is finished.
DELETE FROM meta WHERE name = 'unfinished_copy';

-- name: first_master_key
-- The first master key of an installation: it is never removed, so that its sentinel tells installations apart.
SELECT sentinel FROM master_keys ORDER BY key_no LIMIT 1;

-- name: counter
-- A counter of the database.
SELECT value FROM meta WHERE name = ?;

-- name: set_counter
-- Set a counter of the database.
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: logs_to_copy
-- Where the logs of organizations begin and end, and how many events are kept before the beginning.
SELECT org_no, org_id, oldest, head, kept FROM organizations WHERE org_no > ? ORDER BY org_no LIMIT ?;

-- name: copied_range
-- Where the copied part of a log begins and ends; NULL without any.
SELECT min(sequence), max(sequence) FROM events WHERE org_no = ?;

-- name: delete_copied_events
-- Remove copied events that the source may have removed since.
DELETE FROM events WHERE org_no = ?1 AND sequence BETWEEN ?2 AND ?3;

-- name: traces_of_use
-- What changes when a database is used: heads, configuration, leases and settlements.
SELECT (SELECT coalesce(sum(head), 0) FROM organizations), (SELECT value FROM meta WHERE name = 'revision'),
       (SELECT coalesce(sum(lease_epoch), 0) FROM cursors), (SELECT coalesce(sum(settlement_no), 0) FROM cursors),
       (SELECT coalesce(max(started_at), 0) FROM workers);
