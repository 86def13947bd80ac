"""Use cases: everything that people govern, for the API, the command line and whatever comes next.

A use case takes what it needs (`deps.py`), who asks (`caller.py`) and domain values, and returns domain values; it knows no
HTTP and no schema. Whoever calls it has authenticated the caller and checked its right (`access.py`).

caller.py        who asks
deps.py          what use cases need
access.py        API key → principal, its rights and limits
turns.py         reads of one organization take turns
audit.py         an action and the event that tells of it, in one transaction
destinations.py  create, list, change, pause, resume, delete
checks.py        is a destination's configuration acceptable?
testing.py       the test button
redaction.py     what may be shown of an answer
spellings.py     whether a text repeats a secret in another spelling
replays.py       start, list, cancel
dead_letters.py  list, redrive, purge
deliveries.py    attempts, one by one
events.py        list events, and what became of one
preflight.py     preflight decisions
rejected.py      rejected events → the error that says so
organizations.py  create, look up
keys.py          create, list, revoke, rotate
"""
