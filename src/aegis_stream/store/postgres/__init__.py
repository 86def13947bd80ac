"""The store on PostgreSQL, through psycopg 3: for more than one machine.

database.py    a PostgreSQL database: reads on snapshots; one lane of writes beside the other
lanes.py       a thread and a connection for each kind of write
readers.py     a connection for every thread that reads
statement.py   runs statements with values, prepared, by one call of libpq each
unit.py        what a unit of work may do on one connection
connect.py     opens connections, and sets what every session needs
dialect.py     the shared statements as PostgreSQL takes them
schema.py      migrations, one numbered file a step
inspect.py     a database opened for reading alone; the check before each start
durability.py  refuses a server that loses what it acknowledges
facts.py       what a server says of itself
replication.py, conditions.py   the other rules on that
watch.py       notices that somebody has committed
wakeups.py     wakes the workers of other machines
silent.py      ends sessions whose client fell silent in the middle of a request
watchdog.py   cuts connections on which a server is silent
sharded.py     a unit of work where tables are sharded by organization
distribution.py  shards them, with Citus
copying.py     a database as the source or the target of a copy
overlay.sql    statements that PostgreSQL words differently

Only `store.opening` imports this package from outside: import-linter says so.
"""
