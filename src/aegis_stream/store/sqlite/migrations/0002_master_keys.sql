-- Which master keys the sealed records stand under. The newest row seals; whoever does not have that key seals nothing.
-- sentinel: a record that only its own key opens, so that a wrong master key is noticed at the start.
-- rewrapped_at: when no record stood under an older key any more; NULL while `aegis vault rotate` has still to do.
CREATE TABLE master_keys (
    key_no INTEGER PRIMARY KEY,
    key_id BLOB NOT NULL UNIQUE,
    sentinel BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    rewrapped_at INTEGER
) STRICT;
