-- headers: further headers of a destination beside the auth header, sealed by the vault in one record: names and values as
-- JSON, in the order in which they are sent. NULL for none.
ALTER TABLE destinations ADD COLUMN headers BLOB;
