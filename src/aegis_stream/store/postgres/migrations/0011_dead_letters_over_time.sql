-- expands: a column with a default; nodes of the version before leave it at 0.
-- dead_letters: how many events became dead letters in the step; 0 in those of an older version.
ALTER TABLE rollups ADD COLUMN dead_letters BIGINT NOT NULL DEFAULT 0;
