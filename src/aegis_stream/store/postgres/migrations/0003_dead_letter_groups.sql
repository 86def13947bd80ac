-- expands: the version before writes dead letters without a group, and leaves groups and jobs alone.
-- Dead letters by their cause, and jobs that redrive or purge many of them.

-- group_id: '' for what an older version has written; a worker gives it its group.
ALTER TABLE dead_letters ADD COLUMN group_id TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX dead_letters_by_group ON dead_letters (org_no, dst_no, group_id, sequence);
CREATE INDEX dead_letters_ungrouped ON dead_letters (org_no, dst_no, sequence) WHERE group_id = '';

-- letters: how many dead letters. message: of the newest one. first_at: when the first of them died; last_at: when the newest one did.
CREATE TABLE dead_letter_groups (
    org_no BIGINT NOT NULL,
    dst_no BIGINT NOT NULL,
    group_id TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    status_code BIGINT,
    message TEXT COLLATE "C" NOT NULL,
    letters BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (org_no, dst_no, group_id)
);

-- action: redrive or purge. about, error, before_at: the filter; '' and NULL for any. total: how many dead letters it may concern.
-- cursor: the last sequence that was looked at. moved_at: when the last part was done. started_by: who, and the destination's name, JSON.
CREATE TABLE dead_letter_jobs (
    org_no BIGINT NOT NULL,
    dst_no BIGINT NOT NULL,
    job_id TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    about TEXT COLLATE "C" NOT NULL,
    error TEXT COLLATE "C" NOT NULL,
    before_at BIGINT,
    total BIGINT NOT NULL,
    done BIGINT NOT NULL DEFAULT 0,
    cursor BIGINT NOT NULL DEFAULT 0,
    started_at BIGINT NOT NULL,
    moved_at BIGINT NOT NULL DEFAULT 0,
    finished_at BIGINT,
    cancelled BIGINT NOT NULL DEFAULT 0,
    started_by TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (org_no, dst_no, job_id)
);
CREATE INDEX dead_letter_jobs_open ON dead_letter_jobs (org_no, dst_no, job_id) WHERE finished_at IS NULL;
