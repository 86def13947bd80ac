-- Administrative actions are few among many events, and are read without looking at the others. labels of the log name this dataset.
CREATE INDEX events_of_admin ON events (position) WHERE dataset = 'aegis.audit_stream.admin';
