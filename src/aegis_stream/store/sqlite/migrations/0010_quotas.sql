-- How many bytes the events of an organization have that are in its log: counted with every append and every removal, so that nobody
-- has to add them up. The first sum reads the sizes of all events once.
ALTER TABLE organizations ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE organizations SET stored_bytes = (
    SELECT coalesce(sum(octet_length(body)), 0) FROM events
    WHERE position BETWEEN organizations.org_no * 1099511627776 AND organizations.org_no * 1099511627776 + 1099511627775
);

-- How many events lie before `oldest`: those that were kept for retries and dead letters.
ALTER TABLE organizations ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
UPDATE organizations SET kept = (
    SELECT count(*) FROM events
    WHERE position BETWEEN organizations.org_no * 1099511627776 AND organizations.org_no * 1099511627776 + organizations.oldest - 1
);

-- Quotas that the operator has set for an organization. NULL: the default, which is a setting. 0: no limit.
ALTER TABLE organizations ADD COLUMN stored_bytes_max INTEGER;
ALTER TABLE organizations ADD COLUMN ingest_bytes_per_second INTEGER;
