-- Statements that PostgreSQL words differently.

-- name: lock_log
-- differs because: appends of other processes must wait.
SELECT stored_bytes, stored_bytes_max FROM organizations WHERE org_no = ? FOR NO KEY UPDATE;

-- name: insert_event
-- differs because: one statement moves the head on and writes the events behind it, so that no row is locked while the caller has
-- the turn. ?1 organization, ?2 number of events, ?3 bytes of all, ?4 clock step, ?5 default quota, 0 for none; ?6 to ?9 ids, datasets,
-- decisions and bodies, each joined by a record separator, a byte that none of them can hold; ?10 checksums as an array; ?11 0 ignores
-- the quota. No row comes back where the quota has no room. An empty append still writes the head row: its commit waits for all that was seen.
WITH moved AS (
    UPDATE organizations SET head = head + ?2, stored_bytes = stored_bytes + ?3,
        step_sequence = CASE
            WHEN last_received_at > n.now + ?4 AND (SELECT counted_at FROM housekeeping WHERE task = 'retention')
                <= n.now + greatest(?4, least((last_received_at - n.now) / 10, 86400000000))
            THEN head + 1 ELSE step_sequence END,
        last_received_at = CASE
            WHEN last_received_at > n.now + ?4 AND (SELECT counted_at FROM housekeeping WHERE task = 'retention')
                <= n.now + greatest(?4, least((last_received_at - n.now) / 10, 86400000000))
            THEN n.now ELSE greatest(last_received_at, n.now) END
    FROM (SELECT aegis_now() AS now) n
    WHERE org_no = ?1 AND (?11 = 0 OR ?3 = 0 OR coalesce(stored_bytes_max, ?5) = 0 OR stored_bytes + ?3 <= coalesce(stored_bytes_max, ?5))
    RETURNING head, last_received_at, step_sequence, stored_bytes, stored_bytes_max
), written AS (
    INSERT INTO events (org_no, sequence, event_id, received_at, dataset, decision, body, checksum)
    SELECT ?1, moved.head - ?2 + new.place, new.event_id, moved.last_received_at, coalesce(new.dataset, ''), nullif(new.decision, ''),
        new.body, new.checksum
    FROM moved, unnest(string_to_array(?6, chr(30)), string_to_array(?7, chr(30)), string_to_array(?8, chr(30)),
        string_to_array(?9, chr(30)), ?10::bigint[]) WITH ORDINALITY AS new(event_id, dataset, decision, body, checksum, place)
), stepped AS (
    INSERT INTO clock_steps (org_no, sequence)
    SELECT ?1, moved.step_sequence FROM moved WHERE moved.step_sequence = moved.head - ?2 + 1 ON CONFLICT DO NOTHING
)
SELECT head, last_received_at, step_sequence, stored_bytes, stored_bytes_max FROM moved;

-- name: page_bodies
-- differs because: plain rows cost the server half of what joining them does.
SELECT convert_to(body, 'UTF8'), checksum FROM events WHERE org_no = ?1 AND sequence BETWEEN ?2 AND ?3
AND (?2 = ?3 OR (SELECT sum(octet_length(body)) FROM events WHERE org_no = ?1 AND sequence BETWEEN ?2 AND ?3) <= ?4) ORDER BY sequence;

-- name: lock_cursor
-- differs because: other processes must wait, so that nobody can take the destination over before this transaction ends; and after a
-- standby took over, what a worker knows of the log may be undone.
SELECT c.lease_owner, c.lease_epoch,
       (SELECT 1 FROM workers w WHERE w.worker_id = c.lease_owner AND w.timeline = aegis_timeline()),
       c.settlement_no, c.retrying, c.dead_letters
FROM cursors c WHERE c.org_no = ? AND c.dst_no = ? FOR NO KEY UPDATE OF c;

-- name: renew_worker
-- differs because: after a standby took over, a worker must register and read anew.
UPDATE workers SET judges_from = CASE WHEN expires_at <= ? OR expires_at > ? THEN ? ELSE judges_from END, expires_at = ?
WHERE worker_id = ? AND timeline = aegis_timeline();

-- name: worker_term
-- differs because: after a standby took over, a worker must register and read anew.
SELECT judges_from, expires_at FROM workers WHERE worker_id = ? AND timeline = aegis_timeline();

-- name: delete_impossible_workers
-- differs because: after a standby took over, nobody waits for leases from before it to expire.
DELETE FROM workers WHERE (expires_at > ? OR timeline <> aegis_timeline()) AND worker_id <> ?;
