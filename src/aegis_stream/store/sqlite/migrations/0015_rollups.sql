-- What each destination did over time: its settlements added up, in rows of a minute, a quarter of an hour and an hour.
-- step_s: which of these, in seconds; began_at: when the step began. failed_...: attempts that failed, by the status answered.
-- latency_0: requests that were delivered in less than 1 ms; each further one has twice the limit; the last one has none.
-- waiting_max: the most events that waited when something was settled.
CREATE TABLE rollups (
    org_no INTEGER NOT NULL,
    dst_no INTEGER NOT NULL,
    step_s INTEGER NOT NULL,
    began_at INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    failed_3xx INTEGER NOT NULL,
    failed_4xx INTEGER NOT NULL,
    failed_429 INTEGER NOT NULL,
    failed_5xx INTEGER NOT NULL,
    failed_network INTEGER NOT NULL,
    failed_other INTEGER NOT NULL,
    latency_0 INTEGER NOT NULL,
    latency_1 INTEGER NOT NULL,
    latency_2 INTEGER NOT NULL,
    latency_3 INTEGER NOT NULL,
    latency_4 INTEGER NOT NULL,
    latency_5 INTEGER NOT NULL,
    latency_6 INTEGER NOT NULL,
    latency_7 INTEGER NOT NULL,
    latency_8 INTEGER NOT NULL,
    latency_9 INTEGER NOT NULL,
    latency_10 INTEGER NOT NULL,
    latency_11 INTEGER NOT NULL,
    latency_12 INTEGER NOT NULL,
    latency_13 INTEGER NOT NULL,
    latency_14 INTEGER NOT NULL,
    latency_15 INTEGER NOT NULL,
    latency_16 INTEGER NOT NULL,
    waiting_max INTEGER NOT NULL,
    PRIMARY KEY (org_no, dst_no, step_s, began_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollups_by_time ON rollups (step_s, began_at);
