-- Organizations.

-- name: insert_organization
-- Insert an organization.
INSERT INTO organizations (org_id, name, created_at) VALUES (?, ?, ?) RETURNING org_no;

-- name: organization_by_id
-- One organization.
SELECT org_no, org_id, name, head, created_at, stored_bytes, stored_bytes_max, ingest_bytes_per_second, proof
FROM organizations WHERE org_id = ?;

-- name: set_quotas
-- Store the quotas of an organization; NULL for the default.
UPDATE organizations SET stored_bytes_max = ?, ingest_bytes_per_second = ? WHERE org_no = ?;

-- name: storage_totals
-- How much all organizations store together, and how many are near their quota: at four fifths of it or beyond.
SELECT coalesce(sum(stored_bytes), 0),
       coalesce(sum(CASE WHEN coalesce(stored_bytes_max, ?1) > 0 AND stored_bytes * 5 >= coalesce(stored_bytes_max, ?1) * 4 THEN 1 ELSE 0 END), 0)
FROM organizations;

-- name: storage_use
-- How much each organization stores, and its quota: its own or the given default. Without those that have no limit.
SELECT org_id, stored_bytes, coalesce(stored_bytes_max, ?1) FROM organizations
WHERE coalesce(stored_bytes_max, ?1) > 0 ORDER BY org_no;

-- name: organization_id
-- The id of an organization, by its number.
SELECT org_id FROM organizations WHERE org_no = ?;

-- name: oldest_of
-- Where an organization's log begins.
SELECT oldest FROM organizations WHERE org_no = ?;
