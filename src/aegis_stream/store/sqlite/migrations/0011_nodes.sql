-- What several machines on one database share. SQLite's processes are all on one machine; the tables are the same.

-- Running `aegis serve` processes. place: in the order of registration; the first one reports the sums over the whole store.
-- api_processes: how many answer requests under it, and share the rates with those of all others.
CREATE TABLE processes (
    process_id TEXT PRIMARY KEY,
    place INTEGER NOT NULL UNIQUE,
    api_processes INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- judges_from: when the worker may begin to remove others whose leases have expired. A lease after it returned from an outage:
-- until then the others may be returning too.
ALTER TABLE workers ADD COLUMN judges_from INTEGER NOT NULL DEFAULT 0;

-- SHA-256 of the operator key, where several machines share a database. One row at most: only_row is 1.
CREATE TABLE operator_key (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    digest BLOB NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;
