-- expands: a version that does not know the table neither reads nor writes it.
-- What each destination did over time: its settlements added up, in rows of a minute, a quarter of an hour and an hour.
-- step_s: which of these, in seconds; began_at: when the step began. failed_...: attempts that failed, by the status answered.
-- latency_0: requests that were delivered in less than 1 ms; each further one has twice the limit; the last one has none.
-- waiting_max: the most events that waited when something was settled.
CREATE TABLE rollups (
    org_no BIGINT NOT NULL,
    dst_no BIGINT NOT NULL,
    step_s BIGINT NOT NULL,
    began_at BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    failed_3xx BIGINT NOT NULL,
    failed_4xx BIGINT NOT NULL,
    failed_429 BIGINT NOT NULL,
    failed_5xx BIGINT NOT NULL,
    failed_network BIGINT NOT NULL,
    failed_other BIGINT NOT NULL,
    latency_0 BIGINT NOT NULL,
    latency_1 BIGINT NOT NULL,
    latency_2 BIGINT NOT NULL,
    latency_3 BIGINT NOT NULL,
    latency_4 BIGINT NOT NULL,
    latency_5 BIGINT NOT NULL,
    latency_6 BIGINT NOT NULL,
    latency_7 BIGINT NOT NULL,
    latency_8 BIGINT NOT NULL,
    latency_9 BIGINT NOT NULL,
    latency_10 BIGINT NOT NULL,
    latency_11 BIGINT NOT NULL,
    latency_12 BIGINT NOT NULL,
    latency_13 BIGINT NOT NULL,
    latency_14 BIGINT NOT NULL,
    latency_15 BIGINT NOT NULL,
    latency_16 BIGINT NOT NULL,
    waiting_max BIGINT NOT NULL,
    PRIMARY KEY (org_no, dst_no, step_s, began_at)
);
CREATE INDEX rollups_by_time ON rollups (step_s, began_at);
