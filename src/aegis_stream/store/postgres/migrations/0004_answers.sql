-- expands: a version that does not know the table neither reads nor writes it.
-- What some failed attempts were answered: headers and the beginning of the body, without our secrets. One for many failures alike.
-- at: when the attempt ended, as in its rows of the attempt log. sequences: what its request had, as ranges; '' where that is too long.
-- headers: a line each. A destination keeps its newest 200.
CREATE TABLE answers (
    org_no BIGINT NOT NULL,
    dst_no BIGINT NOT NULL,
    at BIGINT NOT NULL,
    first_sequence BIGINT NOT NULL,
    last_sequence BIGINT NOT NULL,
    sequences TEXT COLLATE "C" NOT NULL,
    status_code BIGINT,
    message TEXT COLLATE "C" NOT NULL,
    headers TEXT COLLATE "C" NOT NULL,
    excerpt TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (org_no, dst_no, at, first_sequence)
);
CREATE INDEX answers_by_time ON answers (at);
