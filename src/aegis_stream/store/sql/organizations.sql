-- Organizations.

-- name: insert_organization
-- Insert an organization.
INSERT INTO organizations (org_id, name, created_at) VALUES (?, ?, ?) RETURNING org_no;

-- name: organization_by_id
-- One organization.
SELECT org_no, org_id, name, head, created_at, oldest FROM organizations WHERE org_id = ?;

-- name: organization_id
-- The id of an organization, by its number.
SELECT org_id FROM organizations WHERE org_no = ?;

-- name: oldest_of
-- Where an organization's log begins.
SELECT oldest FROM organizations WHERE org_no = ?;
