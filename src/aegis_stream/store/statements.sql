-- Every statement of the store, for every database: a name, a sentence, the text.
-- Values are bound in order of their question marks; times are microseconds UTC.


-- ─── The event log ──────────────────────────────────────────────────────────────────────────────────────────────────

-- name: advance_head
-- Lock the organization's head row and reserve the next sequences; the row stays locked until the commit. The time of receipt
-- never goes back, with one exception: it lies ahead of the clock by more than the given limit, and retention's own clock
-- confirms that the clock is right now. Then step_sequence says at which event the times go back.
UPDATE organizations SET head = head + ?1,
    step_sequence = CASE
        WHEN last_received_at > ?2 + ?3 AND ?2 + ?3 >= (SELECT counted_at FROM housekeeping WHERE task = 'retention')
        THEN head + 1 ELSE step_sequence END,
    last_received_at = CASE
        WHEN last_received_at > ?2 + ?3 AND ?2 + ?3 >= (SELECT counted_at FROM housekeeping WHERE task = 'retention')
        THEN ?2 ELSE max(last_received_at, ?2) END
WHERE org_no = ?4
RETURNING head, last_received_at, step_sequence;

-- name: insert_clock_step
-- Remember where the times of a log go back.
INSERT INTO clock_steps (org_no, sequence) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: clock_steps
-- Where the times of a log go back, within a range of sequences.
SELECT sequence FROM clock_steps WHERE org_no = ? AND sequence > ? AND sequence <= ? ORDER BY sequence;

-- name: insert_event
-- Append events: position before the first, organization and time are said once, the rest for each. The store repeats the
-- last group, counting up from + 1; a second use of an id is refused by events_by_id.
INSERT INTO events (position, org_no, received_at, event_id, dataset, decision, body) VALUES (?1 + 1, ?2, ?3, ?, ?, ?, ?);

-- name: event_by_id
-- One event of an organization by its own id.
SELECT position, received_at, dataset, decision, body FROM events WHERE org_no = ? AND event_id = ?;

-- name: page_size
-- How many events lie in a range, and how many bytes they have.
SELECT count(*), coalesce(sum(octet_length(body)), 0) FROM events WHERE position BETWEEN ? AND ?;

-- name: page_bodies
-- All bodies of a range in one value, in order, with a record separator between: a byte that JSON text cannot hold.
-- One row instead of a thousand: the reading thread gives up the interpreter lock once instead of a thousand times. The
-- order is that of the inner query; an ORDER BY within the aggregate sorts what is sorted, at three times the cost.
SELECT CAST(group_concat(body, char(30)) AS BLOB)
FROM (SELECT body FROM events WHERE position BETWEEN ? AND ? ORDER BY position);

-- name: page_labels
-- What filters look at, for a range of the log.
SELECT dataset, decision FROM events WHERE position BETWEEN ? AND ? ORDER BY position;

-- name: events_after
-- Events of a range for people to read.
SELECT position, event_id, received_at, dataset, decision, body FROM events
WHERE position > ? AND position <= ? ORDER BY position LIMIT ?;

-- name: received_at
-- When the event at a position was received.
SELECT received_at FROM events WHERE position = ?;

-- name: heads
-- Newest sequence of every organization that has grown past nothing.
SELECT org_no, head FROM organizations WHERE head > 0;


-- ─── Organizations and keys ─────────────────────────────────────────────────────────────────────────────────────────

-- name: insert_organization
-- A new tenant.
INSERT INTO organizations (org_id, name, created_at) VALUES (?, ?, ?) RETURNING org_no;

-- name: organization_by_id
-- One tenant.
SELECT org_no, org_id, name, head, created_at, oldest FROM organizations WHERE org_id = ?;

-- name: organization_id
-- The id of a tenant, by its number.
SELECT org_id FROM organizations WHERE org_no = ?;

-- name: insert_key
-- A new key; only its digest is kept.
INSERT INTO api_keys (key_id, org_no, name, scope, digest, hint, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: key_by_digest
-- The key whose text has this SHA-256.
SELECT k.key_id, k.org_no, o.org_id, k.name, k.scope, k.digest, k.hint, k.created_at, k.expires_at
FROM api_keys k JOIN organizations o ON o.org_no = k.org_no WHERE k.digest = ?;

-- name: keys_of
-- Keys of one organization, oldest first.
SELECT k.key_id, k.org_no, o.org_id, k.name, k.scope, k.digest, k.hint, k.created_at, k.expires_at
FROM api_keys k JOIN organizations o ON o.org_no = k.org_no WHERE k.org_no = ? AND k.key_id > ? ORDER BY k.key_id LIMIT ?;

-- name: key_by_id
-- One key of an organization.
SELECT k.key_id, k.org_no, o.org_id, k.name, k.scope, k.digest, k.hint, k.created_at, k.expires_at
FROM api_keys k JOIN organizations o ON o.org_no = k.org_no WHERE k.org_no = ? AND k.key_id = ?;

-- name: delete_key
-- Revoke a key: it is gone.
DELETE FROM api_keys WHERE org_no = ? AND key_id = ?;

-- name: expire_key
-- Let a key end at a time, unless it ends before.
UPDATE api_keys SET expires_at = min(coalesce(expires_at, ?), ?) WHERE org_no = ? AND key_id = ?;


-- ─── Destinations ───────────────────────────────────────────────────────────────────────────────────────────────────

-- name: next_revision
-- Count one change; workers ask for what changed after the revision they know.
UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value;

-- name: insert_destination
-- A new destination.
INSERT INTO destinations (dst_id, org_no, url, auth_value, headers, oauth2, spec, paused, revision, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING dst_no;

-- name: insert_cursor
-- A new destination begins after the newest event of its organization.
INSERT INTO cursors (dst_no, org_no, start_sequence, cursor)
SELECT ?, org_no, head, head FROM organizations WHERE org_no = ?;

-- name: update_destination
-- A destination configured otherwise.
UPDATE destinations SET url = ?, auth_value = ?, headers = ?, oauth2 = ?, spec = ?, paused = ?, revision = ?, updated_at = ?
WHERE org_no = ? AND dst_no = ? AND deleted_at IS NULL;

-- name: clear_failures
-- After a change of configuration the next attempt is made at once, and what it takes is found out anew.
UPDATE cursors SET failures_in_row = 0, batch_bytes_max = NULL WHERE dst_no = ?;

-- name: mark_destination_deleted
-- From here on the destination is gone for people; its worker learns of it by the revision.
UPDATE destinations SET deleted_at = ?, revision = ?, auth_value = NULL, headers = NULL, oauth2 = NULL, url = x''
WHERE org_no = ? AND dst_no = ?;

-- name: void_lease
-- Whoever serves the destination can settle nothing any more.
UPDATE cursors SET lease_owner = NULL, lease_epoch = lease_epoch + 1 WHERE dst_no = ?;

-- name: destination_by_id
-- One destination of an organization.
SELECT d.dst_no, d.dst_id, d.org_no, o.org_id, d.url, d.auth_value, d.headers, d.oauth2, d.spec, d.paused, d.revision, d.created_at, d.updated_at
FROM destinations d JOIN organizations o ON o.org_no = d.org_no
WHERE d.org_no = ? AND d.dst_id = ? AND d.deleted_at IS NULL;

-- name: destination_no
-- The number of a destination of an organization; nothing of it has to be opened.
SELECT dst_no FROM destinations WHERE org_no = ? AND dst_id = ? AND deleted_at IS NULL;

-- name: destinations_of
-- Destinations of an organization in order of their making, after a given one.
SELECT d.dst_no, d.dst_id, d.org_no, o.org_id, d.url, d.auth_value, d.headers, d.oauth2, d.spec, d.paused, d.revision, d.created_at, d.updated_at
FROM destinations d JOIN organizations o ON o.org_no = d.org_no
WHERE d.org_no = ? AND d.deleted_at IS NULL AND d.dst_no > coalesce((SELECT a.dst_no FROM destinations a WHERE a.dst_id = ?), 0)
ORDER BY d.dst_no LIMIT ?;

-- name: destination_by_no
-- One destination for the worker that serves it.
SELECT d.dst_no, d.dst_id, d.org_no, o.org_id, d.url, d.auth_value, d.headers, d.oauth2, d.spec, d.paused, d.revision, d.created_at, d.updated_at
FROM destinations d JOIN organizations o ON o.org_no = d.org_no
WHERE d.dst_no = ? AND d.deleted_at IS NULL;

-- name: changed_since
-- Destinations changed after a revision, the deleted among them, in order of change.
SELECT dst_no, revision FROM destinations WHERE revision > ? ORDER BY revision LIMIT ?;

-- name: progress
-- How far a destination has come and how it fares.
SELECT c.start_sequence, c.cursor, o.head, c.delivered, c.failed_attempts, c.retrying, c.dead_letters,
       c.failures_in_row, c.window_size, c.p50_ms, c.p99_ms, c.last_success_at,
       c.last_error_at, c.last_error_status, c.last_error_message, c.last_error_sequence, c.batch_bytes_max,
       (SELECT e.event_id FROM events e WHERE e.position = c.org_no * 1099511627776 + c.last_error_sequence)
FROM cursors c JOIN organizations o ON o.org_no = c.org_no WHERE c.dst_no = ?;


-- ─── Master keys and sealed records ─────────────────────────────────────────────────────────────────────────────────

-- name: sealing_key
-- The master key under which everything is sealed from now on.
SELECT key_id, sentinel, rewrapped_at FROM master_keys ORDER BY key_no DESC LIMIT 1;

-- name: master_key_by_id
-- One row if this master key was in use at any time.
SELECT 1 FROM master_keys WHERE key_id = ?;

-- name: insert_master_key
-- From here on this master key seals.
INSERT INTO master_keys (key_id, sentinel, created_at, rewrapped_at) VALUES (?, ?, ?, ?);

-- name: finish_rewrapping
-- No record stands under an older master key any more.
UPDATE master_keys SET rewrapped_at = ? WHERE key_id = ?;

-- name: master_keys_in_use
-- Ids of the master keys that records stand under, whatever has become of the keys.
SELECT substr(url, 2, 4) FROM destinations WHERE deleted_at IS NULL
UNION SELECT substr(auth_value, 2, 4) FROM destinations WHERE deleted_at IS NULL AND auth_value IS NOT NULL
UNION SELECT substr(headers, 2, 4) FROM destinations WHERE deleted_at IS NULL AND headers IS NOT NULL
UNION SELECT substr(oauth2, 2, 4) FROM destinations WHERE deleted_at IS NULL AND oauth2 IS NOT NULL;

-- name: destinations_after
-- Destinations of all organizations, after a given number.
SELECT d.dst_no, d.dst_id, d.org_no, o.org_id, d.url, d.auth_value, d.headers, d.oauth2, d.spec, d.paused, d.revision, d.created_at, d.updated_at
FROM destinations d JOIN organizations o ON o.org_no = d.org_no
WHERE d.deleted_at IS NULL AND d.dst_no > ? ORDER BY d.dst_no LIMIT ?;

-- name: records_to_rewrap
-- Records that do not begin as all do that are sealed now.
SELECT d.dst_no, d.org_no, o.org_id, d.dst_id, d.url, d.auth_value, d.headers, d.oauth2
FROM destinations d JOIN organizations o ON o.org_no = d.org_no
WHERE d.deleted_at IS NULL AND d.dst_no > ?
    AND (substr(d.url, 1, 5) <> ? OR substr(d.auth_value, 1, 5) <> ? OR substr(d.headers, 1, 5) <> ?
        OR substr(d.oauth2, 1, 5) <> ?)
ORDER BY d.dst_no LIMIT ?;

-- name: count_records_to_rewrap
-- How many destinations that concerns.
SELECT count(*) FROM destinations
WHERE deleted_at IS NULL
    AND (substr(url, 1, 5) <> ? OR substr(auth_value, 1, 5) <> ? OR substr(headers, 1, 5) <> ? OR substr(oauth2, 1, 5) <> ?);

-- name: rewrap_destination
-- The same secrets under another master key: nothing for workers to learn of.
UPDATE destinations SET url = ?, auth_value = ?, headers = ?, oauth2 = ? WHERE dst_no = ?;


-- ─── Workers and leases ─────────────────────────────────────────────────────────────────────────────────────────────

-- name: insert_worker
-- A worker begins.
INSERT INTO workers (worker_id, started_at, expires_at) VALUES (?, ?, ?);

-- name: renew_worker
-- A worker lives on, if it has not been given up already; all its leases with it.
UPDATE workers SET expires_at = ? WHERE worker_id = ? AND expires_at > ?;

-- name: worker_is_alive
-- One row if the worker's leases hold.
SELECT 1 FROM workers WHERE worker_id = ? AND expires_at > ?;

-- name: delete_worker
-- A worker ends, or was found dead.
DELETE FROM workers WHERE worker_id = ?;

-- name: delete_expired_workers
-- Workers that did not renew in time.
DELETE FROM workers WHERE expires_at <= ?;

-- name: workers
-- All workers.
SELECT worker_id FROM workers ORDER BY worker_id;

-- name: worker_states
-- All workers, and how many destinations each serves.
SELECT w.worker_id, w.started_at, w.expires_at, (SELECT count(*) FROM cursors c WHERE c.lease_owner = w.worker_id)
FROM workers w ORDER BY w.worker_id;

-- name: count_unserved
-- Destinations that no registered worker serves.
SELECT count(*) FROM destinations d JOIN cursors c ON c.dst_no = d.dst_no
WHERE d.deleted_at IS NULL AND (c.lease_owner IS NULL OR c.lease_owner NOT IN (SELECT worker_id FROM workers));

-- name: failing_destinations
-- Destinations whose newest attempts failed, with the reason.
SELECT d.dst_id, o.org_id, c.last_error_message
FROM cursors c JOIN destinations d ON d.dst_no = c.dst_no JOIN organizations o ON o.org_no = c.org_no
WHERE d.deleted_at IS NULL AND d.paused = 0 AND c.failures_in_row > 0
ORDER BY d.dst_no;

-- name: newest_time
-- The newest time that was noted: a clock that shows less has gone back.
SELECT max(
    (SELECT coalesce(max(last_received_at), 0) FROM organizations),
    (SELECT coalesce(max(started_at), 0) FROM workers),
    (SELECT coalesce(max(updated_at), 0) FROM destinations)
);

-- name: share_counts
-- How many destinations there are to serve, and how many workers to serve them.
SELECT (SELECT count(*) FROM destinations WHERE deleted_at IS NULL), (SELECT count(*) FROM workers);

-- name: claim
-- Take over destinations that nobody living serves; the new epoch shuts out whoever served them before.
UPDATE cursors SET lease_owner = ?, lease_epoch = lease_epoch + 1
WHERE dst_no IN (
    SELECT c.dst_no FROM cursors c JOIN destinations d ON d.dst_no = c.dst_no AND d.deleted_at IS NULL
    WHERE c.lease_owner IS NULL OR c.lease_owner NOT IN (SELECT worker_id FROM workers)
    ORDER BY c.dst_no LIMIT ?
)
RETURNING dst_no, lease_epoch;

-- name: positions
-- What a worker serves and how far each has come.
SELECT c.dst_no, c.lease_epoch, c.org_no, c.cursor, o.head, c.retrying, c.dead_letters,
       EXISTS (SELECT 1 FROM replays p WHERE p.dst_no = c.dst_no AND p.finished_at IS NULL),
       c.failures_in_row, c.window_size, c.p50_ms, c.p99_ms, c.last_success_at,
       c.last_error_at, c.last_error_status, c.last_error_message, c.last_error_sequence, c.batch_bytes_max
FROM cursors c JOIN organizations o ON o.org_no = c.org_no WHERE c.lease_owner = ?;

-- name: release_lease
-- Hand a destination back.
UPDATE cursors SET lease_owner = NULL WHERE dst_no = ? AND lease_owner = ? AND lease_epoch = ?;

-- name: lease_holds
-- One row if this worker still serves the destination under this epoch; fences every settlement.
SELECT 1 FROM cursors c JOIN workers w ON w.worker_id = c.lease_owner
WHERE c.dst_no = ? AND c.lease_owner = ? AND c.lease_epoch = ? AND w.expires_at > ?;


-- ─── Settlement ─────────────────────────────────────────────────────────────────────────────────────────────────────

-- name: settle_cursor
-- The one small write per batch: the watermark moves on, never back, and the counts with it.
UPDATE cursors SET cursor = max(cursor, ?), delivered = delivered + ?, failed_attempts = failed_attempts + ?,
    retrying = retrying + ?, dead_letters = dead_letters + ?, failures_in_row = ?, window_size = ?, p50_ms = ?, p99_ms = ?,
    last_success_at = ?, last_error_at = ?, last_error_status = ?, last_error_message = ?, last_error_sequence = ?,
    batch_bytes_max = ?
WHERE dst_no = ?
RETURNING retrying, dead_letters;

-- name: insert_attempt
-- Attempts with one result.
INSERT INTO attempts (dst_no, first_sequence, last_sequence, attempt, state, status_code, message, latency_us, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: update_retry
-- Another attempt failed; there is one to come.
UPDATE retries SET attempts = ?, due_at = ?, status_code = ?, message = ? WHERE dst_no = ? AND sequence = ?;

-- name: insert_retry
-- A first attempt failed; there are more to come.
INSERT INTO retries (attempts, due_at, status_code, message, dst_no, sequence, org_no) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: delete_retry
-- Delivered at last, or dead.
DELETE FROM retries WHERE dst_no = ? AND sequence = ?;

-- name: delete_dead_letter
-- The event is on its way again, or purged.
DELETE FROM dead_letters WHERE dst_no = ? AND sequence = ?;

-- name: insert_dead_letter
-- All attempts are used up.
INSERT INTO dead_letters (dst_no, sequence, org_no, event_id, attempts, scope, status_code, message, dead_at)
SELECT ?, ?, org_no, event_id, ?, ?, ?, ?, ? FROM events WHERE position = ?;

-- name: advance_replay
-- A replay moves on, and is finished when it reaches its end.
UPDATE replays SET cursor = max(cursor, ?), finished_at = CASE WHEN ? >= last_sequence THEN coalesce(finished_at, ?) ELSE finished_at END
WHERE replay_id = ? AND dst_no = ?;


-- ─── Retries, dead letters, replays ─────────────────────────────────────────────────────────────────────────────────

-- name: due_retries
-- Events whose next attempt is due, oldest first.
SELECT r.sequence, r.attempts, e.body FROM retries r
JOIN events e ON e.position = r.org_no * 1099511627776 + r.sequence
WHERE r.dst_no = ? AND r.due_at <= ? ORDER BY r.due_at, r.sequence LIMIT ?;

-- name: next_due
-- When the next retry of a destination falls due.
SELECT min(due_at) FROM retries WHERE dst_no = ? AND due_at > ?;

-- name: retry_of
-- The retry of one event, if it has one.
SELECT attempts, due_at, status_code, message FROM retries WHERE dst_no = ? AND sequence = ?;

-- name: dead_letter_of
-- The dead letter of one event, if it is one.
SELECT attempts, status_code, message, dead_at FROM dead_letters WHERE dst_no = ? AND sequence = ?;

-- name: failures_of
-- How many retries and dead letters a destination has, and how it fares.
SELECT c.retrying, c.dead_letters, c.failures_in_row, c.window_size, c.p50_ms, c.p99_ms, c.last_success_at,
       c.last_error_at, c.last_error_status, c.last_error_message, c.last_error_sequence, c.batch_bytes_max
FROM cursors c WHERE c.dst_no = ?;

-- name: dead_letters_of
-- Dead letters of a destination in log order.
SELECT sequence, event_id, attempts, scope, status_code, message, dead_at FROM dead_letters
WHERE dst_no = ? AND sequence > ? ORDER BY sequence LIMIT ?;

-- name: dead_letter_by_event
-- One dead letter by the event's id.
SELECT sequence FROM dead_letters WHERE dst_no = ? AND event_id = ?;

-- name: dead_letters_for_redrive
-- Dead letters to send once more, in log order; those that died after the redrive began wait for the next one.
SELECT sequence FROM dead_letters WHERE dst_no = ? AND dead_at <= ? AND scope LIKE ? ORDER BY sequence LIMIT ?;

-- name: count_redriven
-- Dead letters that became pending.
UPDATE cursors SET dead_letters = dead_letters - ?, retrying = retrying + ? WHERE dst_no = ?;

-- name: count_purged
-- Dead letters that were thrown away.
UPDATE cursors SET dead_letters = dead_letters - ? WHERE dst_no = ?;

-- name: touch_destination
-- Tell the worker that something about a destination changed.
UPDATE destinations SET revision = ? WHERE dst_no = ?;

-- name: insert_replay
-- A range to be sent once more.
INSERT INTO replays (replay_id, dst_no, first_sequence, last_sequence, cursor, created_at) VALUES (?, ?, ?, ?, ?, ?);

-- name: oldest_of
-- Where an organization's log begins.
SELECT oldest FROM organizations WHERE org_no = ?;

-- name: open_replays
-- Replays that are under way.
SELECT replay_id, first_sequence, cursor, last_sequence FROM replays
WHERE dst_no = ? AND finished_at IS NULL ORDER BY created_at, replay_id LIMIT ?;

-- name: replays_of
-- All replays of a destination, newest first.
SELECT replay_id, first_sequence, cursor, last_sequence, created_at, finished_at FROM replays
WHERE dst_no = ? AND replay_id < ? ORDER BY replay_id DESC LIMIT ?;

-- name: cancel_replay
-- End a replay where it is.
UPDATE replays SET finished_at = ? WHERE dst_no = ? AND replay_id = ? AND finished_at IS NULL;

-- name: replay_over
-- The newest unfinished replay that covers an event, if any.
SELECT cursor FROM replays
WHERE dst_no = ? AND first_sequence <= ? AND last_sequence >= ? ORDER BY created_at DESC LIMIT 1;


-- ─── The attempt log, for people ────────────────────────────────────────────────────────────────────────────────────

-- name: attempts_before
-- Attempts of a destination, newest first.
SELECT attempt_no, first_sequence, last_sequence, attempt, state, status_code, message, latency_us, at FROM attempts
WHERE dst_no = ? AND attempt_no <= ? AND state LIKE ? ORDER BY attempt_no DESC LIMIT ?;

-- name: attempts_of_event
-- Attempts of one event, newest first; runs have a bounded length, so the search has too.
SELECT attempt_no, first_sequence, last_sequence, attempt, state, status_code, message, latency_us, at FROM attempts
WHERE dst_no = ? AND last_sequence BETWEEN ? AND ? AND first_sequence <= ? AND attempt_no <= ? AND state LIKE ?
ORDER BY attempt_no DESC LIMIT ?;

-- name: event_ids
-- Ids of a range of events.
SELECT position, event_id FROM events WHERE position BETWEEN ? AND ? ORDER BY position;


-- ─── Retention ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- name: retention_clock
-- How far retention's own clock has come, who keeps it, and whether that worker is registered.
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
-- Where there may be something to remove: the oldest event is old enough, or it is older than one that is.
SELECT o.org_no, o.oldest, o.head FROM organizations o
WHERE o.head >= o.oldest AND o.org_no > ?2 AND (
    EXISTS (SELECT 1 FROM events e WHERE e.position = o.org_no * 1099511627776 + o.oldest AND e.received_at < ?1)
    OR EXISTS (
        SELECT 1 FROM clock_steps s JOIN events e ON e.position = s.org_no * 1099511627776 + s.sequence
        WHERE s.org_no = o.org_no AND s.sequence > o.oldest AND e.received_at < ?1
    )
)
ORDER BY o.org_no LIMIT ?3;

-- name: last_old_step
-- The newest place where times go back to one that is old enough: all before it is older.
SELECT max(s.sequence) FROM clock_steps s JOIN events e ON e.position = s.org_no * 1099511627776 + s.sequence
WHERE s.org_no = ? AND s.sequence > ? AND e.received_at < ?;

-- name: delete_clock_steps
-- Forget the steps of the part of a log that is gone.
DELETE FROM clock_steps WHERE org_no = ? AND sequence <= ?;

-- name: needed_from
-- The oldest sequence that some destination of the organization has still to send.
SELECT min(needed) FROM (
    SELECT min(c.cursor) + 1 AS needed FROM cursors c JOIN destinations d ON d.dst_no = c.dst_no
    WHERE c.org_no = ? AND d.deleted_at IS NULL
    UNION ALL
    SELECT min(p.cursor) + 1 FROM replays p JOIN destinations d ON d.dst_no = p.dst_no
    WHERE d.org_no = ? AND d.deleted_at IS NULL AND p.finished_at IS NULL
);

-- name: delete_events
-- Remove a prefix of the log, but for the events that retries and dead letters still stand on.
DELETE FROM events WHERE position BETWEEN ? AND ?
    AND position NOT IN (SELECT r.org_no * 1099511627776 + r.sequence FROM retries r WHERE r.org_no = ? AND r.sequence <= ?)
    AND position NOT IN (SELECT d.org_no * 1099511627776 + d.sequence FROM dead_letters d WHERE d.org_no = ? AND d.sequence <= ?);

-- name: advance_oldest
-- Remember where the log now begins.
UPDATE organizations SET oldest = ? WHERE org_no = ?;

-- name: delete_attempts
-- Forget old attempts, a bounded number at a time.
DELETE FROM attempts WHERE attempt_no IN (SELECT attempt_no FROM attempts WHERE at < ? ORDER BY at LIMIT ?);

-- name: deleted_destinations
-- Destinations that are gone for people and still have rows.
SELECT dst_no FROM destinations WHERE deleted_at IS NOT NULL LIMIT ?;

-- name: delete_attempts_of
-- Attempts of a deleted destination, a bounded number at a time.
DELETE FROM attempts WHERE attempt_no IN (SELECT attempt_no FROM attempts WHERE dst_no = ? LIMIT ?);

-- name: delete_retries_of
-- Retries of a deleted destination.
DELETE FROM retries WHERE dst_no = ?;

-- name: delete_dead_letters_of
-- Dead letters of a deleted destination.
DELETE FROM dead_letters WHERE dst_no = ?;

-- name: delete_replays_of
-- Replays of a deleted destination.
DELETE FROM replays WHERE dst_no = ?;

-- name: keep_delivered
-- What a destination that goes had delivered stays in the counter that people watch.
UPDATE meta SET value = value + coalesce((SELECT delivered FROM cursors WHERE dst_no = ?), 0) WHERE name = 'delivered_by_deleted';

-- name: keep_failed_attempts
-- Its failed attempts likewise.
UPDATE meta SET value = value + coalesce((SELECT failed_attempts FROM cursors WHERE dst_no = ?), 0)
WHERE name = 'failed_attempts_by_deleted';

-- name: delete_cursor
-- The cursor of a deleted destination.
DELETE FROM cursors WHERE dst_no = ?;

-- name: delete_destination
-- The last of a deleted destination.
DELETE FROM destinations WHERE dst_no = ?;


-- ─── Totals, for metrics ────────────────────────────────────────────────────────────────────────────────────────────

-- name: totals
-- Sums over all destinations; counters keep what deleted destinations had counted.
SELECT coalesce(sum(CASE WHEN d.deleted_at IS NULL THEN 1 ELSE 0 END), 0),
       coalesce(sum(c.delivered), 0) + (SELECT value FROM meta WHERE name = 'delivered_by_deleted'),
       coalesce(sum(c.failed_attempts), 0) + (SELECT value FROM meta WHERE name = 'failed_attempts_by_deleted'),
       coalesce(sum(CASE WHEN d.deleted_at IS NULL THEN c.retrying ELSE 0 END), 0),
       coalesce(sum(CASE WHEN d.deleted_at IS NULL THEN c.dead_letters ELSE 0 END), 0),
       coalesce(sum(CASE WHEN d.deleted_at IS NULL THEN o.head - c.cursor ELSE 0 END), 0),
       coalesce(sum(CASE WHEN d.deleted_at IS NULL AND c.failures_in_row > 0 THEN 1 ELSE 0 END), 0),
       coalesce(sum(CASE WHEN d.deleted_at IS NULL AND c.failures_in_row > 0 AND c.last_error_message LIKE ? THEN 1 ELSE 0 END), 0)
FROM cursors c JOIN organizations o ON o.org_no = c.org_no JOIN destinations d ON d.dst_no = c.dst_no;
