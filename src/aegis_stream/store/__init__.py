"""The store: everything that outlives a process.

log.py         the event log: append, pages            (port EventLog)
ledger.py      leases, settlements, retries, dead letters, replays   (port Ledger)
organizations.py, keys.py, destinations.py, dead_letters.py, replays.py, attempts.py   what people govern: functions of a unit
directory.py   the same as methods                     (port Directory)
secrets.py     under which master key the sealed records stand
inspection.py  a look that changes nothing
database.py    the seam: the protocols Database and Unit
sql/           every statement by name, one file a topic, shared by every database
sqlite/        the database that there is: driver, writer, schema
opening.py     picks the database
"""
