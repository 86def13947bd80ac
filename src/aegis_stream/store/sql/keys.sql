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
