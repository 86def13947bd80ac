"""The store: everything that outlives a process.

log.py         the event log: append, pages            (port EventLog)
pages.py       pages of a log, verified by the checksums of their events
recorded_head.py  the number of acknowledged events, noted outside the database
health.py      whether it takes writes
append.py      how events get into it
leases.py      workers, and the leases by which they serve
nodes.py       which node a worker runs on
ledger.py      settlements, retries, replays under way  (port Ledger)
organizations.py, keys.py, destinations.py, dead_letters.py, replays.py, attempts.py   what people govern: functions of a unit
directory.py   what a worker looks up about destinations           (port Directory)
records.py     a destination ↔ its row
audit_writer.py  the event of an administrative action
retention.py   deletes what nobody needs any more
sealed_row.py  the sealed columns of a row, and to whom each may go
secrets.py     under which master key the sealed records stand
inspection.py  a look that changes nothing
database.py    the seam: the protocols Database and Unit
statements.py  loads the statements
sql/           every statement by name, one file a topic, shared by every database
sqlite/        the database that there is: driver, writer, schema
opening.py     picks the database
"""
