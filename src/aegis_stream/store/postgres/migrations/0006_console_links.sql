-- expands: a version that does not know the table neither reads nor writes it.
-- Links that open the console once, and the sessions that began with them. Only the SHA-256 of a link's token is kept.
-- org_no, org_id: 0 and '' for links of the operator. made_by: the key that made it, '' for the command line and the service itself.
-- ends_at: from then on nothing needs the row: the link has expired, or the session that began with it is over.
CREATE TABLE console_links (
    org_no BIGINT NOT NULL,
    link_id TEXT COLLATE "C" NOT NULL,
    org_id TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL UNIQUE,
    made_by TEXT COLLATE "C" NOT NULL,
    return_url TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    ends_at BIGINT NOT NULL,
    PRIMARY KEY (org_no, link_id)
);
CREATE INDEX console_links_by_end ON console_links (ends_at);
