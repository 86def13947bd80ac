-- A checksum of each event's bytes, verified whenever they are read. NULL: recorded by a version without checksums.
ALTER TABLE events ADD COLUMN checksum INTEGER;

-- How often an event was found damaged or missing, and set aside by a destination.
INSERT INTO meta (name, value) VALUES ('damaged_events', 0);
