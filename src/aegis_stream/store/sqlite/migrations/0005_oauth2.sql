-- oauth2: where the tokens of a destination come from, sealed by the vault in one record: token_url, client_id, client_secret and
-- scope as JSON. NULL for none.
ALTER TABLE destinations ADD COLUMN oauth2 BLOB;
