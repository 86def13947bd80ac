-- Sealed logs: trees, their tiles, and the keys that sign.

-- name: newest_tree
-- The tree that an organization's log grows: the one that began last.
SELECT base, origin, size, frontier, note, sealed_at, own FROM trees WHERE org_no = ? ORDER BY base DESC LIMIT 1;

-- name: ended_trees
-- The sealed logs of an organization that ended, because another one began: the last that ended first.
SELECT base, origin, size, frontier, note, sealed_at, own FROM trees
WHERE org_no = ? AND note <> '' AND base < (SELECT max(n.base) FROM trees n WHERE n.org_no = trees.org_no) ORDER BY base DESC LIMIT ?;

-- name: insert_tree
-- A log is sealed for the first time, or begins again; changes nothing when another process was faster.
INSERT INTO trees (org_no, base, origin, size, frontier, note, sealed_at, own) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: advance_tree
-- A tree has grown, or was signed again, from the state that the caller saw; changes nothing when another process was faster.
UPDATE trees SET size = ?, frontier = ?, note = ?, sealed_at = ?, own = ?
WHERE org_no = ? AND base = ? AND size = ? AND sealed_at = ?;

-- name: tile
-- The hashes of one tile.
SELECT hashes FROM tree_tiles WHERE org_no = ? AND base = ? AND level = ? AND tile = ?;

-- name: any_tile
-- Whether an organization has tiles.
SELECT 1 FROM tree_tiles WHERE org_no = ? LIMIT 1;

-- name: store_tile
-- Store a tile, or more of it than before.
INSERT INTO tree_tiles (org_no, base, level, tile, hashes, stored_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (org_no, base, level, tile) DO UPDATE SET hashes = excluded.hashes, stored_at = excluded.stored_at;

-- name: seal_states
-- Organizations whose log is sealed, in order: how far the log goes, and how far the newest tree, NULL without a tree; and whether
-- checkpoint events travel to a destination.
SELECT o.org_no, o.org_id, o.proof, o.oldest, o.head, t.base, t.size, t.sealed_at, t.own,
    CASE WHEN o.proof = 'stream'
        AND EXISTS (SELECT 1 FROM destinations d WHERE d.org_no = o.org_no AND d.deleted_at IS NULL) THEN 1 ELSE 0 END
FROM organizations o LEFT JOIN trees t ON t.org_no = o.org_no
    AND t.base = (SELECT max(n.base) FROM trees n WHERE n.org_no = o.org_no)
WHERE o.proof <> 'off' AND o.head > 0 AND o.org_no > ? ORDER BY o.org_no LIMIT ?;

-- name: asked_states
-- Organizations as in seal_states that somebody wants to have sealed further, up to which sequence, without those that are refused.
SELECT r.up_to, o.org_no, o.org_id, o.proof, o.oldest, o.head, t.base, t.size, t.sealed_at, t.own, 0
FROM seal_requests r JOIN organizations o ON o.org_no = r.org_no LEFT JOIN trees t ON t.org_no = r.org_no
    AND t.base = (SELECT max(n.base) FROM trees n WHERE n.org_no = r.org_no)
WHERE r.refused = '' AND o.proof <> 'off' AND o.head > 0 AND (t.base IS NULL OR r.up_to > t.base + t.size) ORDER BY r.org_no LIMIT ?;

-- name: ask_seal
-- Somebody wants a log to be sealed up to a sequence, which only grows; a refusal is judged anew.
INSERT INTO seal_requests (org_no, up_to) VALUES (?, ?)
ON CONFLICT (org_no) DO UPDATE SET refused = '',
    up_to = CASE WHEN excluded.up_to > seal_requests.up_to THEN excluded.up_to ELSE seal_requests.up_to END;

-- name: refuse_seal
-- The sealer does not seal a log that it was asked to seal.
UPDATE seal_requests SET refused = ? WHERE org_no = ?;

-- name: seal_refusal
-- Why the sealer does not seal a log that it was asked to seal.
SELECT refused FROM seal_requests WHERE org_no = ? AND refused <> '';

-- name: end_seal_request
-- A log is sealed as far as was asked.
DELETE FROM seal_requests WHERE org_no = ? AND up_to <= ?;

-- name: set_proof
-- Store whether and how an organization's log is sealed.
UPDATE organizations SET proof = ? WHERE org_no = ?;

-- name: proof_instance
-- The number in the names of sealed logs, where the operator has chosen no name.
SELECT value FROM meta WHERE name = 'proof_instance';

-- name: proof_keys_of
-- The keys of an organization, the newest first.
SELECT epoch, public, seed, created_at, retired_at, announced FROM proof_keys WHERE org_no = ? ORDER BY epoch DESC;

-- name: insert_proof_key
-- A new key; changes nothing when another process was faster.
INSERT INTO proof_keys (org_no, epoch, public, seed, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: retire_proof_keys
-- All keys of an organization but the newest sign until a time at most.
UPDATE proof_keys SET retired_at = ?1 WHERE org_no = ?2 AND epoch < ?3 AND (retired_at IS NULL OR retired_at > ?1);

-- name: announce_proof_key
-- An event of the log, at this sequence, tells of a key.
UPDATE proof_keys SET announced = ? WHERE org_no = ? AND epoch = ?;

-- name: proof_keys_over
-- Retired keys that sign no more and still have a seed: the event that tells of the next key is sealed, or there is none.
SELECT k.org_no, k.epoch FROM proof_keys k WHERE octet_length(k.seed) > 0 AND k.retired_at <= ?
    AND NOT EXISTS (
        SELECT 1 FROM proof_keys n WHERE n.org_no = k.org_no AND n.epoch = k.epoch + 1
            AND n.announced > coalesce((SELECT max(t.base + t.size) FROM trees t WHERE t.org_no = k.org_no), 0)
    )
ORDER BY k.org_no, k.epoch LIMIT ?;
