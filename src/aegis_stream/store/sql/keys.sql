-- API keys.

-- name: insert_key
-- Insert a key; only its digest is stored.
INSERT INTO api_keys (key_id, org_no, name, scope, digest, hint, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: key_by_digest
-- The key whose text has this SHA-256.
SELECT k.key_id, k.org_no, o.org_id, k.name, k.scope, k.digest, k.hint, k.created_at, k.expires_at, o.ingest_bytes_per_second
FROM api_keys k JOIN organizations o ON o.org_no = k.org_no WHERE k.digest = ?;

-- name: keys_of
-- Keys of one organization, oldest first.
SELECT k.key_id, k.org_no, o.org_id, k.name, k.scope, k.digest, k.hint, k.created_at, k.expires_at, o.ingest_bytes_per_second
FROM api_keys k JOIN organizations o ON o.org_no = k.org_no WHERE k.org_no = ? AND k.key_id > ? ORDER BY k.key_id LIMIT ?;

-- name: key_by_id
-- One key of an organization.
SELECT k.key_id, k.org_no, o.org_id, k.name, k.scope, k.digest, k.hint, k.created_at, k.expires_at, o.ingest_bytes_per_second
FROM api_keys k JOIN organizations o ON o.org_no = k.org_no WHERE k.org_no = ? AND k.key_id = ?;

-- name: delete_key
-- Revoke a key at once.
DELETE FROM api_keys WHERE org_no = ? AND key_id = ?;

-- name: expire_key
-- Let a key expire at a time, unless it expires before.
UPDATE api_keys SET expires_at = min(coalesce(expires_at, ?), ?) WHERE org_no = ? AND key_id = ?;

-- name: add_key_use
-- Add what a key was used for to its five minutes; a key that was revoked meanwhile gets no row.
INSERT INTO key_uses (org_no, key_id, place, began_at, events, last_used_at, last_used_from)
SELECT k.org_no, k.key_id, CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS TEXT)
FROM api_keys k WHERE k.org_no = ? AND k.key_id = ?
ON CONFLICT (org_no, key_id, place) DO UPDATE SET
    events = CASE WHEN key_uses.began_at = excluded.began_at THEN key_uses.events ELSE 0 END + excluded.events,
    last_used_at = CASE WHEN excluded.last_used_at >= key_uses.last_used_at THEN excluded.last_used_at ELSE key_uses.last_used_at END,
    last_used_from = CASE WHEN excluded.last_used_at >= key_uses.last_used_at THEN excluded.last_used_from ELSE key_uses.last_used_from END,
    began_at = excluded.began_at;

-- name: key_uses
-- What the keys of one organization were used for, of a range of key ids.
SELECT key_id, began_at, events, last_used_at, last_used_from FROM key_uses
WHERE org_no = ? AND key_id >= ? AND key_id <= ? ORDER BY key_id, last_used_at;

-- name: delete_key_uses
-- Forget what a key was used for.
DELETE FROM key_uses WHERE org_no = ? AND key_id = ?;
