-- What some failed attempts were answered: headers and the beginning of the body, without our secrets. One for many failures alike.
-- at: when the attempt ended, as in its rows of the attempt log. sequences: what its request had, as ranges; '' where that is too long.
-- headers: a line each. A destination keeps its newest 200.
CREATE TABLE answers (
    org_no INTEGER NOT NULL,
    dst_no INTEGER NOT NULL,
    at INTEGER NOT NULL,
    first_sequence INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL,
    sequences TEXT NOT NULL,
    status_code INTEGER,
    message TEXT NOT NULL,
    headers TEXT NOT NULL,
    excerpt TEXT NOT NULL,
    PRIMARY KEY (org_no, dst_no, at, first_sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_by_time ON answers (at);
