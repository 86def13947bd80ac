-- batch_bytes_max: bytes of events in a request that the destination was found to take at most, by its 413s. NULL for not found.
ALTER TABLE cursors ADD COLUMN batch_bytes_max INTEGER;
