-- Redrives and purges of many dead letters, which are worked off in small transactions.

-- name: insert_dead_letter_job
-- Start a job.
INSERT INTO dead_letter_jobs (org_no, dst_no, job_id, action, about, error, before_at, total, started_at, started_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: any_open_dead_letter_job
-- Whether any job is running.
SELECT 1 FROM dead_letter_jobs WHERE finished_at IS NULL LIMIT 1;

-- name: open_dead_letter_job
-- The running job that was moved on longest ago.
SELECT org_no, dst_no, job_id FROM dead_letter_jobs WHERE finished_at IS NULL ORDER BY moved_at, org_no, dst_no, job_id LIMIT 1;

-- name: count_open_dead_letter_jobs
-- How many jobs of a destination are running.
SELECT count(*) FROM dead_letter_jobs WHERE org_no = ? AND dst_no = ? AND finished_at IS NULL;

-- name: dead_letter_job
-- One job.
SELECT job_id, action, about, error, before_at, total, done, cursor, started_at, moved_at, finished_at, cancelled, started_by
FROM dead_letter_jobs WHERE org_no = ? AND dst_no = ? AND job_id = ?;

-- name: dead_letter_jobs_of
-- Jobs of a destination, newest first.
SELECT job_id, action, about, error, before_at, total, done, cursor, started_at, moved_at, finished_at, cancelled, started_by
FROM dead_letter_jobs WHERE org_no = ? AND dst_no = ? AND job_id < ? ORDER BY job_id DESC LIMIT ?;

-- name: advance_dead_letter_job
-- A part of a job is done.
UPDATE dead_letter_jobs SET cursor = ?, done = done + ?, moved_at = ?, finished_at = ? WHERE org_no = ? AND dst_no = ? AND job_id = ?;

-- name: cancel_dead_letter_job
-- Stop a running job where it is.
UPDATE dead_letter_jobs SET finished_at = ?, cancelled = 1 WHERE org_no = ? AND dst_no = ? AND job_id = ? AND finished_at IS NULL;

-- name: delete_old_dead_letter_jobs
-- Forget all finished jobs of a destination but the newest.
DELETE FROM dead_letter_jobs WHERE org_no = ?1 AND dst_no = ?2 AND finished_at IS NOT NULL AND job_id NOT IN (
    SELECT k.job_id FROM dead_letter_jobs k WHERE k.org_no = ?1 AND k.dst_no = ?2 ORDER BY k.job_id DESC LIMIT ?3
);

-- name: delete_dead_letter_jobs_of
-- Remove the jobs of a deleted destination.
DELETE FROM dead_letter_jobs WHERE org_no = ? AND dst_no = ?;

-- name: task_owner
-- Which worker does a task for all, and whether that worker is registered.
SELECT owner, EXISTS (SELECT 1 FROM workers w WHERE w.worker_id = owner) FROM housekeeping WHERE task = ?;

-- name: own_task
-- A worker takes a task over.
INSERT INTO housekeeping (task, owner, counted_at) VALUES (?, ?, 0)
ON CONFLICT (task) DO UPDATE SET owner = excluded.owner;
