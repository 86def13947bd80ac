-- Groups of dead letters with the same cause: how many, since when. Counted with every dead letter that comes or goes.

-- name: grow_dead_letter_group
-- More dead letters of a known group; the group shows the text of the newest one.
UPDATE dead_letter_groups SET letters = letters + ?, message = ?, first_at = min(first_at, ?), last_at = max(last_at, ?)
WHERE org_no = ? AND dst_no = ? AND group_id = ?;

-- name: insert_dead_letter_group
-- The first dead letters of a group.
INSERT INTO dead_letter_groups (org_no, dst_no, group_id, scope, status_code, message, letters, first_at, last_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: shrink_dead_letter_group
-- Dead letters of a group were redriven or purged.
UPDATE dead_letter_groups SET letters = letters - ? WHERE org_no = ? AND dst_no = ? AND group_id = ?;

-- name: delete_empty_dead_letter_groups
-- Remove the groups of a destination that have no dead letters left.
DELETE FROM dead_letter_groups WHERE org_no = ? AND dst_no = ? AND letters <= 0;

-- name: delete_vanished_dead_letter_groups
-- Remove groups without a dead letter, whatever was counted: a version without groups counts none that it removes.
DELETE FROM dead_letter_groups WHERE org_no = ?1 AND dst_no = ?2 AND NOT EXISTS (
    SELECT 1 FROM dead_letters d WHERE d.org_no = ?1 AND d.dst_no = ?2 AND d.group_id = dead_letter_groups.group_id
);

-- name: delete_dead_letter_groups_of
-- Remove all groups of a destination.
DELETE FROM dead_letter_groups WHERE org_no = ? AND dst_no = ?;

-- name: dead_letter_group
-- Whether a destination has a group.
SELECT 1 FROM dead_letter_groups WHERE org_no = ? AND dst_no = ? AND group_id = ?;

-- name: count_dead_letter_groups
-- How many groups a destination has.
SELECT count(*) FROM dead_letter_groups WHERE org_no = ? AND dst_no = ?;

-- name: dead_letter_groups_of
-- The groups of a destination, the largest first.
SELECT group_id, scope, status_code, message, letters, first_at, last_at FROM dead_letter_groups
WHERE org_no = ? AND dst_no = ? ORDER BY letters DESC, group_id LIMIT ?;

-- name: any_ungrouped_dead_letter
-- Whether there are dead letters without a group: those that a version without groups has written.
SELECT 1 FROM dead_letters WHERE group_id = '' LIMIT 1;

-- name: ungrouped_dead_letters
-- Dead letters without a group, some of them, by destination.
SELECT org_no, dst_no, sequence, scope, status_code, message, dead_at FROM dead_letters
WHERE group_id = '' ORDER BY org_no, dst_no, sequence LIMIT ?;

-- name: set_dead_letter_group
-- Give a dead letter its group.
UPDATE dead_letters SET group_id = ? WHERE org_no = ? AND dst_no = ? AND sequence = ? AND group_id = '';
