"""Which events are new: at-least-once delivery means that some come twice.

Called by the adapters, the reference receiver and applications. It knows events, and nothing of HTTP.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .body import Event

TEST_DATASET = "aegis.audit_stream.test"
"""`event.dataset` of synthetic test events; reserved, so that no real event carries it."""

REMEMBER_MAX = 100_000
"""Event ids an inbox remembers by default; about 20 MB when full."""


class BusyError(Exception):
    """The same event is being handled by another request right now: answer 503, so that the sender tries again."""


def event_id(event: Event) -> str | None:
    """Return `event.id`, or None where the event has none."""
    return _text(event, "id")


def is_test(event: Event) -> bool:
    """Return whether this is a synthetic test event: its `event.dataset` is the reserved one."""
    return _text(event, "dataset") == TEST_DATASET


def field_of(event: Event, parent: str, name: str) -> Any:
    """Return the field `parent.name`, nested or spelled with a dot (`"event.id"`), or None where the event has neither."""
    inner = event.get(parent)
    value = inner.get(name) if isinstance(inner, dict) else None
    return event.get(f"{parent}.{name}") if value is None else value


def _text(event: Event, name: str) -> str | None:
    value = field_of(event, "event", name)
    return value if isinstance(value, str) else None


class Inbox:
    """Remembers which event ids were handled, in the memory of this process, and forgets the least recent ones.

    Good for one process and for trying things out. A real receiver keeps its events in a database: there, let a
    unique index on `event.id` decide, in the transaction that stores the event. It survives restarts, is shared by
    all processes, and never forgets.

    Safe to use from several threads.

    Args:
        remember_max: how many handled ids are remembered, from 1.
    """

    def __init__(self, *, remember_max: int = REMEMBER_MAX) -> None:
        if remember_max < 1:
            raise ValueError("remember_max must be at least 1")
        self._remember_max = remember_max
        self._handled: OrderedDict[str, None] = OrderedDict()
        self._handling: set[str] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._handled)

    @contextmanager
    def once(self, event: Event) -> Iterator[bool]:
        """Enter with True for an event not handled before, with False for a duplicate.

        The event is remembered when the block ends, and only then: after an exception (also a cancellation) it
        counts as never seen, so that the repeated delivery is handled. An event without an id is always new.

        Raises: BusyError when the event is inside of another `once` at this moment. Acknowledging it would lose it
            should that other block fail.
        """
        identity = event_id(event)
        if identity is None:
            yield True
            return
        if not self._begin(identity):
            yield False
            return
        try:
            yield True
        except BaseException:
            self._forget(identity)
            raise
        self._remember(identity)

    def _begin(self, identity: str) -> bool:
        with self._lock:
            if identity in self._handled:
                self._handled.move_to_end(identity)
                return False
            if identity in self._handling:
                raise BusyError(f"event {identity!r} is being handled by another request")
            self._handling.add(identity)
            return True

    def _forget(self, identity: str) -> None:
        with self._lock:
            self._handling.discard(identity)

    def _remember(self, identity: str) -> None:
        with self._lock:
            self._handling.discard(identity)
            self._handled[identity] = None
            if len(self._handled) > self._remember_max:
                self._handled.popitem(last=False)
