-- Every table of the hot path is keyed by organization first, so that a distributed database can keep an organization's rows
-- together. The log is already: its position holds organization and sequence, and no row of it is touched here.

-- What the shared statements call an event's sequence; computed, not stored.
ALTER TABLE events ADD COLUMN sequence INTEGER GENERATED ALWAYS AS (position & 1099511627775) VIRTUAL;

CREATE TABLE new_cursors (
    org_no INTEGER NOT NULL,
    dst_no INTEGER NOT NULL,
    start_sequence INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    lease_owner TEXT,
    lease_epoch INTEGER NOT NULL DEFAULT 0,
    settlement_no INTEGER NOT NULL DEFAULT 0,
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
    last_error_sequence INTEGER,
    batch_bytes_max INTEGER,
    PRIMARY KEY (org_no, dst_no)
) STRICT, WITHOUT ROWID;
INSERT INTO new_cursors (org_no, dst_no, start_sequence, cursor, lease_owner, lease_epoch, settlement_no, delivered,
    failed_attempts, retrying, dead_letters, failures_in_row, window_size, p50_ms, p99_ms, last_success_at, last_error_at,
    last_error_status, last_error_message, last_error_sequence, batch_bytes_max)
SELECT org_no, dst_no, start_sequence, cursor, lease_owner, lease_epoch, settlement_no, delivered,
    failed_attempts, retrying, dead_letters, failures_in_row, window_size, p50_ms, p99_ms, last_success_at, last_error_at,
    last_error_status, last_error_message, last_error_sequence, batch_bytes_max
FROM cursors ORDER BY org_no, dst_no;
DROP TABLE cursors;
ALTER TABLE new_cursors RENAME TO cursors;
CREATE INDEX cursors_by_owner ON cursors (lease_owner, dst_no);

-- The attempt log keeps its number as the key of its rows: SQLite counts it up. Its indexes begin with the organization.
ALTER TABLE attempts ADD COLUMN org_no INTEGER NOT NULL DEFAULT 0;
UPDATE attempts SET org_no = d.org_no FROM destinations d WHERE d.dst_no = attempts.dst_no;
DROP INDEX attempts_by_destination;
DROP INDEX attempts_by_sequence;
CREATE INDEX attempts_by_destination ON attempts (org_no, dst_no, attempt_no);
CREATE INDEX attempts_by_sequence ON attempts (org_no, dst_no, last_sequence);

CREATE TABLE new_retries (
    org_no INTEGER NOT NULL,
    dst_no INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    status_code INTEGER,
    message TEXT,
    PRIMARY KEY (org_no, dst_no, sequence)
) STRICT, WITHOUT ROWID;
INSERT INTO new_retries (org_no, dst_no, sequence, attempts, due_at, status_code, message)
SELECT org_no, dst_no, sequence, attempts, due_at, status_code, message FROM retries ORDER BY org_no, dst_no, sequence;
DROP TABLE retries;
ALTER TABLE new_retries RENAME TO retries;
CREATE INDEX retries_by_due ON retries (org_no, dst_no, due_at);
CREATE INDEX retries_by_organization ON retries (org_no, sequence);

CREATE TABLE new_dead_letters (
    org_no INTEGER NOT NULL,
    dst_no INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    scope TEXT NOT NULL,
    status_code INTEGER,
    message TEXT NOT NULL,
    dead_at INTEGER NOT NULL,
    PRIMARY KEY (org_no, dst_no, sequence)
) STRICT, WITHOUT ROWID;
INSERT INTO new_dead_letters (org_no, dst_no, sequence, event_id, attempts, scope, status_code, message, dead_at)
SELECT org_no, dst_no, sequence, event_id, attempts, scope, status_code, message, dead_at FROM dead_letters
ORDER BY org_no, dst_no, sequence;
DROP TABLE dead_letters;
ALTER TABLE new_dead_letters RENAME TO dead_letters;
CREATE INDEX dead_letters_by_event ON dead_letters (org_no, dst_no, event_id);
CREATE INDEX dead_letters_by_organization ON dead_letters (org_no, sequence);

CREATE TABLE new_replays (
    org_no INTEGER NOT NULL,
    dst_no INTEGER NOT NULL,
    replay_id TEXT NOT NULL,
    first_sequence INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (org_no, dst_no, replay_id)
) STRICT, WITHOUT ROWID;
INSERT INTO new_replays (org_no, dst_no, replay_id, first_sequence, last_sequence, cursor, created_at, finished_at)
SELECT d.org_no, r.dst_no, r.replay_id, r.first_sequence, r.last_sequence, r.cursor, r.created_at, r.finished_at
FROM replays r JOIN destinations d ON d.dst_no = r.dst_no ORDER BY d.org_no, r.dst_no, r.replay_id;
DROP TABLE replays;
ALTER TABLE new_replays RENAME TO replays;
CREATE INDEX replays_open ON replays (org_no, dst_no, finished_at);
