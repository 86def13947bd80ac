-- Who uses a key: how many events it recorded in each five minutes of the last hour, and when and from where it was used last.
-- place: which five minutes, counted round; a row is written over when its turn comes again. began_at: when they began.
CREATE TABLE key_uses (
    org_no INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    place INTEGER NOT NULL,
    began_at INTEGER NOT NULL,
    events INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    last_used_from TEXT,
    PRIMARY KEY (org_no, key_id, place)
) STRICT, WITHOUT ROWID;
