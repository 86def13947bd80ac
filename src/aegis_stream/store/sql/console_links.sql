-- Links that open the console once, and the sessions that began with them.

-- name: insert_console_link
-- Insert a link; only the digest of its token is stored.
INSERT INTO console_links (org_no, link_id, org_id, scope, digest, made_by, return_url, created_at, expires_at, ends_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: open_console_link
-- The link with this digest that nobody has used, at a time before which it does not expire, while the key that made it is valid.
SELECT l.org_no, l.link_id, l.org_id, l.scope, l.made_by, l.return_url, l.created_at, l.expires_at, l.used_at FROM console_links l
WHERE l.digest = ?1 AND l.used_at IS NULL AND l.expires_at > ?2 AND (
    l.made_by = '' OR EXISTS (
        SELECT 1 FROM api_keys k WHERE k.org_no = l.org_no AND k.key_id = l.made_by AND (k.expires_at IS NULL OR k.expires_at > ?2)
    )
);

-- name: use_console_link
-- Use a link up; who comes second changes nothing.
UPDATE console_links SET used_at = ?, ends_at = ? WHERE org_no = ? AND link_id = ? AND used_at IS NULL;

-- name: used_console_link
-- The link that a session began with, at a time before which the session does not end, while the key that made the link is valid.
SELECT l.org_no, l.link_id, l.org_id, l.scope, l.made_by, l.return_url, l.created_at, l.expires_at, l.used_at FROM console_links l
WHERE l.org_no = ?1 AND l.link_id = ?2 AND l.used_at IS NOT NULL AND l.ends_at > ?3 AND (
    l.made_by = '' OR EXISTS (
        SELECT 1 FROM api_keys k WHERE k.org_no = l.org_no AND k.key_id = l.made_by AND (k.expires_at IS NULL OR k.expires_at > ?3)
    )
);

-- name: console_link
-- One link of an organization.
SELECT l.org_no, l.link_id, l.org_id, l.scope, l.made_by, l.return_url, l.created_at, l.expires_at, l.used_at FROM console_links l
WHERE l.org_no = ? AND l.link_id = ?;

-- name: console_links
-- Links of an organization that are open, or whose session has not ended, oldest first.
SELECT l.org_no, l.link_id, l.org_id, l.scope, l.made_by, l.return_url, l.created_at, l.expires_at, l.used_at FROM console_links l
WHERE l.org_no = ? AND l.link_id > ? AND l.ends_at > ? ORDER BY l.link_id LIMIT ?;

-- name: count_console_links
-- How many links an organization has, and how many of them nobody has used.
SELECT count(*), count(*) - count(used_at) FROM console_links WHERE org_no = ?;

-- name: delete_console_link
-- Delete a link, which ends the session that began with it.
DELETE FROM console_links WHERE org_no = ? AND link_id = ?;

-- name: delete_ended_console_links_of
-- Delete links of an organization that nothing needs any more, at most so many.
DELETE FROM console_links WHERE org_no = ?1 AND link_id IN (
    SELECT l.link_id FROM console_links l WHERE l.org_no = ?1 AND l.ends_at <= ?2 ORDER BY l.ends_at, l.link_id LIMIT ?3
);

-- name: delete_ended_console_links
-- Delete links of all organizations that nothing needs any more, at most so many.
DELETE FROM console_links WHERE digest IN (SELECT l.digest FROM console_links l WHERE l.ends_at < ? ORDER BY l.ends_at, l.digest LIMIT ?);
