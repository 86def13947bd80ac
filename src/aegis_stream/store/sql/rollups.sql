-- What destinations did over time: settlements added up, in rows of a minute, a quarter of an hour and an hour.

-- name: add_rollup
-- Add one settlement to its minute, its quarter of an hour and its hour, without reading any of them before.
-- ?3 to ?5: when these began.
INSERT INTO rollups (
    org_no, dst_no, step_s, began_at, delivered, failed_3xx, failed_4xx, failed_429, failed_5xx, failed_network,
    failed_other, latency_0, latency_1, latency_2, latency_3, latency_4, latency_5, latency_6, latency_7, latency_8,
    latency_9, latency_10, latency_11, latency_12, latency_13, latency_14, latency_15, latency_16, waiting_max, dead_letters
) VALUES
    (?1, ?2, 60, ?3, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31),
    (?1, ?2, 900, ?4, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31),
    (?1, ?2, 3600, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31)
ON CONFLICT (org_no, dst_no, step_s, began_at) DO UPDATE SET
    delivered = rollups.delivered + excluded.delivered, failed_3xx = rollups.failed_3xx + excluded.failed_3xx,
    failed_4xx = rollups.failed_4xx + excluded.failed_4xx, failed_429 = rollups.failed_429 + excluded.failed_429,
    failed_5xx = rollups.failed_5xx + excluded.failed_5xx, failed_network = rollups.failed_network + excluded.failed_network,
    failed_other = rollups.failed_other + excluded.failed_other, latency_0 = rollups.latency_0 + excluded.latency_0,
    latency_1 = rollups.latency_1 + excluded.latency_1, latency_2 = rollups.latency_2 + excluded.latency_2,
    latency_3 = rollups.latency_3 + excluded.latency_3, latency_4 = rollups.latency_4 + excluded.latency_4,
    latency_5 = rollups.latency_5 + excluded.latency_5, latency_6 = rollups.latency_6 + excluded.latency_6,
    latency_7 = rollups.latency_7 + excluded.latency_7, latency_8 = rollups.latency_8 + excluded.latency_8,
    latency_9 = rollups.latency_9 + excluded.latency_9, latency_10 = rollups.latency_10 + excluded.latency_10,
    latency_11 = rollups.latency_11 + excluded.latency_11, latency_12 = rollups.latency_12 + excluded.latency_12,
    latency_13 = rollups.latency_13 + excluded.latency_13, latency_14 = rollups.latency_14 + excluded.latency_14,
    latency_15 = rollups.latency_15 + excluded.latency_15, latency_16 = rollups.latency_16 + excluded.latency_16,
    waiting_max = max(rollups.waiting_max, excluded.waiting_max),
    dead_letters = rollups.dead_letters + excluded.dead_letters;

-- name: rollups
-- Rollups of one destination and one length in a span, added up to longer steps. ?4: their length, microseconds.
SELECT began_at - began_at % ?4 AS step_began_at,
    sum(delivered), sum(failed_3xx), sum(failed_4xx), sum(failed_429), sum(failed_5xx), sum(failed_network),
    sum(failed_other), sum(latency_0), sum(latency_1), sum(latency_2), sum(latency_3), sum(latency_4), sum(latency_5),
    sum(latency_6), sum(latency_7), sum(latency_8), sum(latency_9), sum(latency_10), sum(latency_11), sum(latency_12),
    sum(latency_13), sum(latency_14), sum(latency_15), sum(latency_16), max(waiting_max), sum(dead_letters)
FROM rollups WHERE org_no = ?1 AND dst_no = ?2 AND step_s = ?3 AND began_at >= ?5 AND began_at < ?6
GROUP BY step_began_at ORDER BY step_began_at;

-- name: rollup_results
-- How many events a destination took, how many attempts failed, and how many events became dead letters, in each step of one length from
-- a time on.
SELECT began_at, delivered,
    failed_3xx + failed_4xx + failed_429 + failed_5xx + failed_network + failed_other, waiting_max, dead_letters
FROM rollups WHERE org_no = ? AND dst_no = ? AND step_s = ? AND began_at >= ? ORDER BY began_at LIMIT ?;

-- name: delete_rollups
-- Remove rollups of one length that began before a time, at most so many.
DELETE FROM rollups WHERE (org_no, dst_no, step_s, began_at) IN (
    SELECT org_no, dst_no, step_s, began_at FROM rollups WHERE step_s = ? AND began_at < ? ORDER BY began_at LIMIT ?
);

-- name: delete_rollups_of
-- Remove rollups of a deleted destination, at most so many.
DELETE FROM rollups WHERE (org_no, dst_no, step_s, began_at) IN (
    SELECT org_no, dst_no, step_s, began_at FROM rollups WHERE org_no = ? AND dst_no = ? LIMIT ?
);
