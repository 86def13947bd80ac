"""A delivery worker: claims destinations by lease, serves each with a forwarder, settles for all of them.

worker   the worker: starts and stops everything
answers  what keeps the answers to failed attempts
leases   which destinations are this worker's, and for how long
roster   one record for each of them
loader   reads a destination when there is something to do, and makes its forwarder
wakeups  what tells the worker that there is something to do
"""

from .loader import BUG_PAUSE_S
from .worker import IDLE_KEPT_S, STOP_GRACE_S, Worker, WorkerDeps

__all__ = ["BUG_PAUSE_S", "IDLE_KEPT_S", "STOP_GRACE_S", "Worker", "WorkerDeps"]
