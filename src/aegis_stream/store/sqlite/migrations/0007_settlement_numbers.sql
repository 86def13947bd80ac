-- settlement_no: number of the newest settlement under the present lease; one with this number or a lower one is stored already.
ALTER TABLE cursors ADD COLUMN settlement_no INTEGER NOT NULL DEFAULT 0;
