-- last_received_at may go back when the clock was set back far. step_sequence: the newest sequence before whose event it did.
ALTER TABLE organizations ADD COLUMN step_sequence INTEGER NOT NULL DEFAULT 0;

-- Where the times of a log go back: the event with this sequence has an earlier time than the one before it. Between two
-- steps times never go back, so that halving finds a time.
CREATE TABLE clock_steps (
    org_no INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (org_no, sequence)
) STRICT;

-- Work that one worker does for all, by the name of the task. counted_at: retention's own clock, which follows the wall
-- clock only as fast as time passes.
CREATE TABLE housekeeping (
    task TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    counted_at INTEGER NOT NULL
) STRICT;
