-- Master keys, the sealed columns of destinations, and the operator key.

-- name: sealing_key
-- The current master key.
SELECT key_id, sentinel, rewrapped_at FROM master_keys ORDER BY key_no DESC LIMIT 1;

-- name: master_key_by_id
-- One row if this master key is or was registered.
SELECT 1 FROM master_keys WHERE key_id = ?;

-- name: insert_master_key
-- Register a master key; it is the current one from now on.
INSERT INTO master_keys (key_id, sentinel, created_at, rewrapped_at) VALUES (?, ?, ?, ?);

-- name: finish_rewrapping
-- Note that no record is sealed with an older master key any more.
UPDATE master_keys SET rewrapped_at = ? WHERE key_id = ?;

-- name: master_keys_in_use
-- Ids of the master keys that records are sealed with.
SELECT substr(url, 2, 4) FROM destinations WHERE deleted_at IS NULL
UNION SELECT substr(auth_value, 2, 4) FROM destinations WHERE deleted_at IS NULL AND auth_value IS NOT NULL
UNION SELECT substr(headers, 2, 4) FROM destinations WHERE deleted_at IS NULL AND headers IS NOT NULL
UNION SELECT substr(oauth2, 2, 4) FROM destinations WHERE deleted_at IS NULL AND oauth2 IS NOT NULL
UNION SELECT substr(seed, 2, 4) FROM proof_keys WHERE octet_length(seed) > 0;

-- name: records_to_rewrap
-- Destinations with a record that does not begin like those sealed now.
SELECT d.dst_no, d.org_no, o.org_id, d.dst_id, d.spec, d.url, d.auth_value, d.headers, d.oauth2
FROM destinations d JOIN organizations o ON o.org_no = d.org_no
WHERE d.deleted_at IS NULL AND d.dst_no > ?
    AND (substr(d.url, 1, 5) <> ? OR substr(d.auth_value, 1, 5) <> ? OR substr(d.headers, 1, 5) <> ?
        OR substr(d.oauth2, 1, 5) <> ?)
ORDER BY d.dst_no LIMIT ?;

-- name: count_records_to_rewrap
-- How many destinations have such a record.
SELECT count(*) FROM destinations
WHERE deleted_at IS NULL
    AND (substr(url, 1, 5) <> ? OR substr(auth_value, 1, 5) <> ? OR substr(headers, 1, 5) <> ? OR substr(oauth2, 1, 5) <> ?);

-- name: rewrap_destination
-- The same secrets, sealed with another master key; workers need not know.
UPDATE destinations SET url = ?, auth_value = ?, headers = ?, oauth2 = ? WHERE dst_no = ?;

-- name: proof_keys_after
-- The next proof keys that have a seed.
SELECT k.org_no, k.epoch, o.org_id, k.seed FROM proof_keys k JOIN organizations o ON o.org_no = k.org_no
WHERE (k.org_no, k.epoch) > (?, ?) AND octet_length(k.seed) > 0
ORDER BY k.org_no, k.epoch LIMIT ?;

-- name: rewrap_proof_key
-- The same seed, sealed with another master key.
UPDATE proof_keys SET seed = ? WHERE org_no = ? AND epoch = ?;

-- name: forget_proof_key
-- A seed that nobody can open is gone; the public key stays, so that what it signed can still be verified.
UPDATE proof_keys SET seed = ?, retired_at = coalesce(retired_at, ?) WHERE org_no = ? AND epoch = ?;

-- name: operator_key
-- SHA-256 of the operator key.
SELECT digest FROM operator_key;

-- name: record_operator_key
-- Record the SHA-256 of the operator key, in place of an older one.
INSERT INTO operator_key (only_row, digest, recorded_at) VALUES (1, ?, ?)
ON CONFLICT (only_row) DO UPDATE SET digest = excluded.digest, recorded_at = excluded.recorded_at;
