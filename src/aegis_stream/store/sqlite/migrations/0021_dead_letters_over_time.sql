-- dead_letters: how many events became dead letters in the step; 0 in those of an older version.
ALTER TABLE rollups ADD COLUMN dead_letters INTEGER NOT NULL DEFAULT 0;
