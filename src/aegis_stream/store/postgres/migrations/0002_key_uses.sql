-- expands: a version that does not know the table neither reads nor writes it.
-- Who uses a key: how many events it recorded in each five minutes of the last hour, and when and from where it was used last.
-- place: which five minutes, counted round; a row is written over when its turn comes again. began_at: when they began.
CREATE TABLE key_uses (
    org_no BIGINT NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    place BIGINT NOT NULL,
    began_at BIGINT NOT NULL,
    events BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    last_used_from TEXT COLLATE "C",
    PRIMARY KEY (org_no, key_id, place)
) WITH (fillfactor = 50);
