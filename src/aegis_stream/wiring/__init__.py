"""The composition root: the only place that picks a database, the real clock and the real source of random numbers.

It is split by program, so that each process imports only what it runs. What every program needs is here:

process         the clock, random numbers, the log
stores          the data directory: database, master key, operator key
administration  organizations, keys, rotation of the master key
outbound        the sender

`service` (the API) and `worker` are imported by their programs alone.
"""

from .administration import make_rotation, make_store_deps
from .outbound import USER_AGENT, make_sender
from .process import SystemClock, SystemRandom, make_log
from .stores import Stores, database_location, key_source, open_stores, remove_dead_workers

__all__ = [
    "USER_AGENT",
    "Stores",
    "SystemClock",
    "SystemRandom",
    "database_location",
    "key_source",
    "make_log",
    "make_rotation",
    "make_sender",
    "make_store_deps",
    "open_stores",
    "remove_dead_workers",
]
