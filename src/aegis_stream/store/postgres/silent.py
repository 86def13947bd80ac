"""Ends sessions whose client fell silent in the middle of a request, and whose locks would never be released.

A client that is stopped, or cut off, after the first packets of a request leaves a session that has run some statements and waits
for the rest. For the server it is at work: no time-out of its transaction applies, and what it has locked stays locked.
"""

import contextlib

import psycopg

from .connect import Session

SILENT_S = 5
"""How long such a session may have waited for its client, seconds: what is on its way needs a moment."""
_END = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
    AND state = 'active' AND wait_event = 'ClientRead' AND query NOT ILIKE 'copy %'
    AND query_start < clock_timestamp() - make_interval(secs => $1)
"""


def end_silent(session: Session) -> int:
    """End such sessions of our own role in this database, on a connection that is in no transaction; returns how many."""
    with contextlib.suppress(psycopg.Error):
        row = session.run(_END, (SILENT_S,)).first
        return int(row[0]) if row is not None else 0
    return 0
