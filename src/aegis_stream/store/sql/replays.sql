-- Replays.

-- name: insert_replay
-- Start a replay.
INSERT INTO replays (org_no, dst_no, replay_id, first_sequence, last_sequence, cursor, created_at) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: advance_replay
-- Move the cursor of a replay on; at the end of its range it is finished.
UPDATE replays SET cursor = max(cursor, ?), finished_at = CASE WHEN ? >= last_sequence THEN coalesce(finished_at, ?) ELSE finished_at END
WHERE org_no = ? AND dst_no = ? AND replay_id = ?;

-- name: open_replays
-- Running replays, oldest first.
SELECT replay_id, first_sequence, cursor, last_sequence FROM replays
WHERE org_no = ? AND dst_no = ? AND finished_at IS NULL ORDER BY created_at, replay_id LIMIT ?;

-- name: replays_of
-- All replays of a destination, newest first.
SELECT replay_id, first_sequence, cursor, last_sequence, created_at, finished_at FROM replays
WHERE org_no = ? AND dst_no = ? AND replay_id < ? ORDER BY replay_id DESC LIMIT ?;

-- name: cancel_replay
-- Stop a replay where it is.
UPDATE replays SET finished_at = ? WHERE org_no = ? AND dst_no = ? AND replay_id = ? AND finished_at IS NULL;

-- name: replay_over
-- The newest replay that covers an event, if any.
SELECT cursor FROM replays
WHERE org_no = ? AND dst_no = ? AND first_sequence <= ? AND last_sequence >= ? ORDER BY created_at DESC LIMIT 1;

-- name: replays_between
-- Replays of all destinations of an organization that cover something between two sequences, the newest first.
SELECT dst_no, first_sequence, last_sequence, cursor FROM replays
WHERE org_no = ? AND first_sequence <= ? AND last_sequence >= ? ORDER BY created_at DESC LIMIT ?;
