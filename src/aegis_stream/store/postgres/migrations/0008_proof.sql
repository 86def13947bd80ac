-- expands: a version that does not know the tables neither reads nor writes them; organizations that it makes get the default.
-- Proof: a Merkle tree over the events of each organization, and the keys that sign its checkpoints.
-- proof: whether and how an organization's log is sealed: off, sealed or stream.
ALTER TABLE organizations ADD COLUMN proof TEXT COLLATE "C" NOT NULL DEFAULT 'sealed';
-- A log that is sealed. base: sequences before it begins; a log that begins again, after an old backup was restored, has a row of its own
-- with a higher base. origin: its name, for as long as it lives. frontier: roots of its full subtrees, 32 bytes each. note: signed checkpoint.
-- own: checkpoint events that the last seal appended.
CREATE TABLE trees (
    org_no BIGINT NOT NULL,
    base BIGINT NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    frontier BYTEA NOT NULL,
    note TEXT COLLATE "C" NOT NULL,
    sealed_at BIGINT NOT NULL,
    own BIGINT NOT NULL,
    PRIMARY KEY (org_no, base)
);
-- Hashes of every eighth level of a tree, 256 neighbours to a row, 32 bytes each; the last row of a level has fewer.
-- Stored as they are: hashes do not compress.
CREATE TABLE tree_tiles (
    org_no BIGINT NOT NULL,
    base BIGINT NOT NULL,
    level BIGINT NOT NULL,
    tile BIGINT NOT NULL,
    hashes BYTEA NOT NULL,
    PRIMARY KEY (org_no, base, level, tile)
);
ALTER TABLE tree_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;
-- Ed25519 keys of an organization, counted from 1. seed: sealed by the vault.
CREATE TABLE proof_keys (
    org_no BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    public BYTEA NOT NULL,
    seed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT,
    PRIMARY KEY (org_no, epoch)
);
-- Stands in the names of sealed logs where the operator has chosen no name.
INSERT INTO meta (name, value) VALUES ('proof_instance', floor(random() * 4294967296)::bigint);
