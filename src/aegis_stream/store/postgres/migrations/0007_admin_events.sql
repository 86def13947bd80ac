-- expands: a version that does not know the index keeps it up to date all the same.
-- Administrative actions are few among many events, and are read without looking at the others. labels of the log name this dataset.
CREATE INDEX events_of_admin ON events (org_no, sequence) WHERE dataset = 'aegis.audit_stream.admin';
