"""What a delivery worker is made of; imports nothing of the API."""

import time
from functools import partial

from aegis_stream.control.kept_answers import shown_answer
from aegis_stream.pipeline.route import route_of
from aegis_stream.settings import Settings
from aegis_stream.store.nodes import new_worker_id
from aegis_stream.store.opening import open_listener
from aegis_stream.telemetry import Log
from aegis_stream.worker import Worker, WorkerDeps

from .outbound import make_sender
from .process import SystemClock, SystemRandom
from .stores import Stores

REST_S = 0.001
"""How long the thread that cuts secrets out of answers rests after each step of about a millisecond, seconds.

Without a rest it holds the interpreter's lock, and the event loop waits up to 5 ms for it after every call to a socket.
"""


def make_worker(settings: Settings, stores: Stores, telemetry: Log) -> Worker:
    """Return a worker on these stores."""
    clock, random = SystemClock(), SystemRandom()
    return Worker(
        WorkerDeps(
            log=stores.log,
            ledger=stores.ledger,
            directory=stores.directory,
            retention=stores.retention,
            dead_letters=stores.dead_letters,
            sender=make_sender(settings),
            clock=clock,
            random=random,
            telemetry=telemetry,
            listen=lambda worker_id, on_wake: open_listener(stores.location, worker_id, on_wake, random),
            route_of=lambda destination: route_of(destination.spec, settings, destination.org_id),
            new_worker_id=lambda: new_worker_id(stores.node, clock.now(), random),
            settings=settings,
            redact=partial(shown_answer, rest=partial(time.sleep, REST_S)),
        )
    )
