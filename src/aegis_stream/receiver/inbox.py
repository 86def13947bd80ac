"""Tells new events from duplicates: with at-least-once delivery some events arrive twice.

Used by the adapters, the reference receiver and applications. It knows events, and nothing of HTTP.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .body import Event

TEST_DATASET = "aegis.audit_stream.test"
"""`event.dataset` of synthetic test events; reserved, so that no real event has it."""

REMEMBER_MAX = 100_000
"""Event ids that an inbox remembers by default; about 20 MB when full."""


class BusyError(Exception):
    """Another request is handling the same event right now: answer 503, so that the sender retries."""


def event_id(event: Event) -> str | None:
    """Return `event.id`, or None if the event has none."""
    return _text(event, "id")


def is_test(event: Event) -> bool:
    """Return whether this is a synthetic test event, which has the reserved `event.dataset`."""
    return _text(event, "dataset") == TEST_DATASET


def field_of(event: Event, parent: str, name: str) -> Any:
    """Return the field `parent.name`, nested or spelled with a dot (`"event.id"`), or None if the event has neither."""
    inner = event.get(parent)
    value = inner.get(name) if isinstance(inner, dict) else None
    return event.get(f"{parent}.{name}") if value is None else value


def _text(event: Event, name: str) -> str | None:
    value = field_of(event, "event", name)
    return value if isinstance(value, str) else None


class Inbox:
    """Remembers in memory which event ids were handled, and forgets the least recent ones.

    This is enough for one process and for first tries. A real receiver keeps its events in a database: use a unique index
    on `event.id` there, in the transaction that stores the event. It survives restarts, is shared by all processes, and
    never forgets.

    Safe to use from several threads.

    Args:
        remember_max: how many ids to remember, from 1.
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
        """Yield True for an event that was not handled before, False for a duplicate.

        The event is remembered when the block ends without an exception or cancellation. After one it counts as not seen,
        so that the retried event is handled. An event without an id is always new.

        Raises: BusyError when the event is inside another `once` block at this moment: to acknowledge it would lose it if
            that block fails.
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
                raise BusyError(f"another request is handling event {identity!r}")
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
