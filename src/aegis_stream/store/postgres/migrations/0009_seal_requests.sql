-- expands: a version that does not know the table neither reads nor writes it.
-- Logs that somebody wants to have sealed now; a seal removes the row. up_to: sequence. refused: why the sealer will not, "" while it is asked.
CREATE TABLE seal_requests (
    org_no BIGINT NOT NULL PRIMARY KEY,
    up_to BIGINT NOT NULL,
    refused TEXT COLLATE "C" NOT NULL DEFAULT ''
);
