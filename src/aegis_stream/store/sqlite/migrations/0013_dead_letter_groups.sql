-- Dead letters by their cause, and jobs that redrive or purge many of them.

-- group_id: '' for what an older version has written; a worker gives it its group.
ALTER TABLE dead_letters ADD COLUMN group_id TEXT NOT NULL DEFAULT '';
CREATE INDEX dead_letters_by_group ON dead_letters (org_no, dst_no, group_id, sequence);
CREATE INDEX dead_letters_ungrouped ON dead_letters (org_no, dst_no, sequence) WHERE group_id = '';

-- letters: how many dead letters. message: of the newest one. first_at: when the first of them died; last_at: when the newest one did.
CREATE TABLE dead_letter_groups (
    org_no INTEGER NOT NULL,
    dst_no INTEGER NOT NULL,
    group_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    status_code INTEGER,
    message TEXT NOT NULL,
    letters INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (org_no, dst_no, group_id)
) STRICT, WITHOUT ROWID;

-- action: redrive or purge. about, error, before_at: the filter; '' and NULL for any. total: how many dead letters it may concern.
-- cursor: the last sequence that was looked at. moved_at: when the last part was done. started_by: who, and the destination's name, JSON.
CREATE TABLE dead_letter_jobs (
    org_no INTEGER NOT NULL,
    dst_no INTEGER NOT NULL,
    job_id TEXT NOT NULL,
    action TEXT NOT NULL,
    about TEXT NOT NULL,
    error TEXT NOT NULL,
    before_at INTEGER,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    cursor INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    moved_at INTEGER NOT NULL DEFAULT 0,
    finished_at INTEGER,
    cancelled INTEGER NOT NULL DEFAULT 0,
    started_by TEXT NOT NULL,
    PRIMARY KEY (org_no, dst_no, job_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_letter_jobs_open ON dead_letter_jobs (org_no, dst_no, job_id) WHERE finished_at IS NULL;
