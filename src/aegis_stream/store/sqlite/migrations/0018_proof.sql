-- Proof: a Merkle tree over the events of each organization, and the keys that sign its checkpoints.
-- proof: whether and how an organization's log is sealed: off, sealed or stream.
ALTER TABLE organizations ADD COLUMN proof TEXT NOT NULL DEFAULT 'sealed';
-- A log that is sealed. base: sequences before it begins; a log that begins again, after an old backup was restored, has a row of its own
-- with a higher base. origin: its name, for as long as it lives. frontier: roots of its full subtrees, 32 bytes each. note: signed checkpoint.
-- own: checkpoint events that the last seal appended.
CREATE TABLE trees (
    org_no INTEGER NOT NULL,
    base INTEGER NOT NULL,
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    frontier BLOB NOT NULL,
    note TEXT NOT NULL,
    sealed_at INTEGER NOT NULL,
    own INTEGER NOT NULL,
    PRIMARY KEY (org_no, base)
) STRICT, WITHOUT ROWID;
-- Hashes of every eighth level of a tree, 256 neighbours to a row, 32 bytes each; the last row of a level has fewer.
CREATE TABLE tree_tiles (
    org_no INTEGER NOT NULL,
    base INTEGER NOT NULL,
    level INTEGER NOT NULL,
    tile INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (org_no, base, level, tile)
) STRICT;
-- Ed25519 keys of an organization, counted from 1. seed: sealed by the vault.
CREATE TABLE proof_keys (
    org_no INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    public BLOB NOT NULL,
    seed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER,
    PRIMARY KEY (org_no, epoch)
) STRICT, WITHOUT ROWID;
-- Stands in the names of sealed logs where the operator has chosen no name.
INSERT INTO meta (name, value) VALUES ('proof_instance', abs(random() % 4294967296));
