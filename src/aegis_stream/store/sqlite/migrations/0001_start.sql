-- The first schema. Types are SQLite's: INTEGER (64 bits), TEXT, BLOB, REAL; times are microseconds since 1970 UTC.

-- One row a setting of the database itself: 'revision' counts changes to destinations, the
-- others what deleted destinations had counted.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO meta (name, value) VALUES ('revision', 0), ('delivered_by_deleted', 0), ('failed_attempts_by_deleted', 0);

-- head: sequence of the newest event. oldest: sequence of the oldest event not yet removed by retention.
-- last_received_at never goes back, so that a time maps to one place in the log.
CREATE TABLE organizations (
    org_no INTEGER PRIMARY KEY,
    org_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    head INTEGER NOT NULL DEFAULT 0,
    oldest INTEGER NOT NULL DEFAULT 1,
    last_received_at INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    key_id TEXT PRIMARY KEY,
    org_no INTEGER NOT NULL,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    hint TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;
CREATE INDEX api_keys_by_organization ON api_keys (org_no, key_id);

-- The log. position = org_no * 2^40 + sequence: one number, so that appending, and reading on from a cursor, are
-- each one walk along the table itself.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    org_no INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    dataset TEXT NOT NULL,
    decision TEXT,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_id ON events (org_no, event_id);

-- url and auth_value are sealed by the vault; spec is the rest of what the user wrote, as JSON.
CREATE TABLE destinations (
    dst_no INTEGER PRIMARY KEY,
    dst_id TEXT NOT NULL UNIQUE,
    org_no INTEGER NOT NULL,
    url BLOB NOT NULL,
    auth_value BLOB,
    spec TEXT NOT NULL,
    paused INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE INDEX destinations_by_organization ON destinations (org_no, dst_no);
CREATE INDEX destinations_by_revision ON destinations (revision);

-- How far a destination has come, who serves it, how it fares. Written at every settlement, so kept narrow.
CREATE TABLE cursors (
    dst_no INTEGER PRIMARY KEY,
    org_no INTEGER NOT NULL,
    start_sequence INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    lease_owner TEXT,
    lease_epoch INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    failed_attempts INTEGER NOT NULL DEFAULT 0,
    retrying INTEGER NOT NULL DEFAULT 0,
    dead_letters INTEGER NOT NULL DEFAULT 0,
    failures_in_row INTEGER NOT NULL DEFAULT 0,
    window_size REAL NOT NULL DEFAULT 0,
    p50_ms REAL,
    p99_ms REAL,
    last_success_at INTEGER,
    last_error_at INTEGER,
    last_error_status INTEGER,
    last_error_message TEXT,
    last_error_sequence INTEGER
) STRICT;
CREATE INDEX cursors_by_owner ON cursors (lease_owner);
CREATE INDEX cursors_by_organization ON cursors (org_no);

-- The attempt log. A run of first attempts that succeeded alike is one row (first_sequence to last_sequence); every
-- failed attempt has a row of its own.
CREATE TABLE attempts (
    attempt_no INTEGER PRIMARY KEY,
    dst_no INTEGER NOT NULL,
    first_sequence INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    status_code INTEGER,
    message TEXT,
    latency_us INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX attempts_by_destination ON attempts (dst_no, attempt_no);
CREATE INDEX attempts_by_sequence ON attempts (dst_no, last_sequence);
CREATE INDEX attempts_by_time ON attempts (at);

-- The exceptions: events the cursor has passed that still have attempts to come.
CREATE TABLE retries (
    dst_no INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    org_no INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    status_code INTEGER,
    message TEXT,
    PRIMARY KEY (dst_no, sequence)
) STRICT;
CREATE INDEX retries_by_due ON retries (dst_no, due_at);
CREATE INDEX retries_by_organization ON retries (org_no, sequence);

-- Events that used up their attempts. Retention leaves the events of retries and dead letters in the log, so that they
-- can be redriven for as long as they stand here.
CREATE TABLE dead_letters (
    dst_no INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    org_no INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    scope TEXT NOT NULL,
    status_code INTEGER,
    message TEXT NOT NULL,
    dead_at INTEGER NOT NULL,
    PRIMARY KEY (dst_no, sequence)
) STRICT;
CREATE INDEX dead_letters_by_event ON dead_letters (dst_no, event_id);
CREATE INDEX dead_letters_by_organization ON dead_letters (org_no, sequence);

-- Ranges of the log on their way to a destination once more, each with a cursor of its own.
CREATE TABLE replays (
    replay_id TEXT PRIMARY KEY,
    dst_no INTEGER NOT NULL,
    first_sequence INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX replays_by_destination ON replays (dst_no, finished_at);

-- Living workers. A lease holds while its owner's row is here and expires_at lies ahead.
CREATE TABLE workers (
    worker_id TEXT PRIMARY KEY,
    started_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
