-- expands: a version that does not know the columns leaves them empty, which is allowed; the tables it neither reads nor writes.
-- Rotation of the keys that sign checkpoints, the age of tiles, and what the sealer says of itself.
-- announced: sequence of the event that tells of the key; NULL where none does. retired_at of a key is from now on the time after which
-- it does not sign any more, which may be yet to come.
ALTER TABLE proof_keys ADD COLUMN announced BIGINT;
-- stored_at: when the tile got its newest hash; NULL for one stored by an older version.
ALTER TABLE tree_tiles ADD COLUMN stored_at BIGINT;
-- The newest look of a sealer at all logs. One row at most: only_row is 1. caught_up_at: the newest look after which nothing was due.
-- lag_events: events that no checkpoint covered then, without the sealer's own.
CREATE TABLE sealing (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    looked_at BIGINT NOT NULL,
    caught_up_at BIGINT NOT NULL,
    lag_events BIGINT NOT NULL
);
-- Logs that the sealer refuses to seal. reason: what is wrong and what to do. since: when it refused first for this reason.
CREATE TABLE seal_refusals (
    org_no BIGINT PRIMARY KEY,
    reason TEXT COLLATE "C" NOT NULL,
    since BIGINT NOT NULL
);
-- How many seals were stored, and how often a log was refused.
INSERT INTO meta (name, value) VALUES ('proof_seals', 0), ('proof_refusals', 0);
