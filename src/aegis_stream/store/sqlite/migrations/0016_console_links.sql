-- Links that open the console once, and the sessions that began with them. Only the SHA-256 of a link's token is kept.
-- org_no, org_id: 0 and '' for links of the operator. made_by: the key that made it, '' for the command line and the service itself.
-- ends_at: from then on nothing needs the row: the link has expired, or the session that began with it is over.
CREATE TABLE console_links (
    org_no INTEGER NOT NULL,
    link_id TEXT NOT NULL,
    org_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    made_by TEXT NOT NULL,
    return_url TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    ends_at INTEGER NOT NULL,
    PRIMARY KEY (org_no, link_id)
) STRICT;
CREATE INDEX console_links_by_end ON console_links (ends_at);
