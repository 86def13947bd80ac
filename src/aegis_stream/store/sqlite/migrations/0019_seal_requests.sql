-- Logs that somebody wants to have sealed now; a seal removes the row. up_to: sequence. refused: why the sealer will not, "" while it is asked.
CREATE TABLE seal_requests (
    org_no INTEGER NOT NULL PRIMARY KEY,
    up_to INTEGER NOT NULL,
    refused TEXT NOT NULL DEFAULT ''
) STRICT;
