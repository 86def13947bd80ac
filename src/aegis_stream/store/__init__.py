"""The store: everything that outlives a process.

log.py         the event log: append, pages            (port EventLog)
event_states.py  what became of the events of a page
log_shape.py   how many events of which kinds a log has in each step of time
pages.py       pages of a log, verified by the checksums of their events
tree.py        sealed logs: trees, tiles, signed notes
sealing_state.py  what the sealer says of itself, and which logs it refuses
proof_keys.py  the keys that sign an organization's checkpoints
checkpoint_log.py  the checkpoints that were signed here, noted outside the database
recorded_head.py  the number of acknowledged events, noted outside the database
health.py      whether it takes writes
fleet.py       how all organizations stand, and what runs
append.py      how events get into it
leases.py      workers, and the leases by which they serve
jobs.py        units of work that wait to be written
local_wakeups.py  wakes the workers of this machine, and tells the living from the dead
processes.py   running `aegis serve` processes
nodes.py       which node a worker runs on
ledger.py      settlements, retries, replays under way  (port Ledger)
organizations.py, keys.py, key_uses.py, console_links.py, destinations.py, dead_letters.py, replays.py, resending.py, attempts.py, attempt_lists.py, answers.py, rollups.py   what people govern: functions of a unit
dead_letter_rows.py, dead_letter_jobs.py   how dead letters come and go, each counted in its group; jobs on many
directory.py   what a worker looks up about destinations           (port Directory)
records.py     a destination ↔ its row
audit_writer.py  the event of an administrative action
retention.py   deletes what nobody needs any more
tile_retention.py  removes leaf hashes of events that are long gone
sealed_row.py  the sealed columns of a row, and to whom each may go
secrets.py     under which master key the sealed records stand
copying.py     copies a database into another one, and compares the two
copy_tables.py  the tables that a copy holds
inspection.py  a look that changes nothing
suitability.py   whether a database is fit to keep events, row by row
database.py    the seam: the protocols Database and Unit
statements.py  loads the statements
sql/           every statement by name, one file a topic, shared by every database
postgres/      the store on PostgreSQL
sqlite/        the store on SQLite
opening.py     picks the database
"""
