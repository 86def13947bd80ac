"""The store on SQLite, through APSW, which brings a current SQLite along.

database.py    a SQLite file: reads on snapshots; the writer's door
writer.py      one thread that commits what waits together
unit.py        what a unit of work may do on one connection
files.py       notices when the files are removed or replaced
gate.py        one process at a time begins a write
connect.py     opens connections; refuses what SQLite cannot be trusted on
schema.py      migrations, one numbered file a step
checkpoint.py  keeps the write-ahead log short
backup.py      copies the database while it is used, and puts a copy back
copying.py     a SQLite file as the source or the target of a copy
inspect.py     a look that changes nothing, for doctor
overlay.sql    statements that SQLite words differently

Only `store.opening` imports this package from outside: import-linter says so.
"""
