"""Counts what the event loop does for a call, in operations: how much in all, and how much without a pause for others.

An operation is a call of a function, in Python or in C, or so many bytes that a method of a string goes through. Seconds would
tell of the machine and of what else it does; operations are the same everywhere.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

OPERATION_S = 0.35e-6
"""Time of an operation, seconds: measured for the ingest of single events, 115 calls in 40 µs."""
BYTES_PER_OPERATION = 300
"""Bytes that a method of a string goes through in that time."""
STRETCH_MAX = int(0.050 / OPERATION_S)
"""Most operations that a call may take without a pause: 50 ms."""

_WHOLE = frozenset(
    {"decode", "encode", "split", "splitlines", "count", "replace", "translate", "lower", "upper"}
)
"""Methods of strings that go through all of it."""
_CLIENTS = ("/tests/", "/httpx/", "/h11/", "/httpcore/", "/_pytest/")
"""Code of the client, which shares the loop with the service in a test."""


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts, and whose clock goes by what was counted.

    Attributes:
        operations: counted so far.
        longest: most of them in one turn of the loop since `reset`.
    """

    def __init__(self) -> None:
        self.operations = self.longest = 0
        self._is_service: dict[CodeType, bool] = {}
        super().__init__()

    def time(self) -> float:
        return self.operations * OPERATION_S

    def reset(self) -> int:
        """Begin to look for the longest turn anew; returns what was counted so far."""
        self.longest = 0
        return self.operations

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count in this thread until the block ends."""
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _run_once(self) -> None:
        before = self.operations
        super()._run_once()  # type: ignore[misc] # typeshed does not know it
        self.longest = max(self.longest, self.operations - before)

    def _profile(self, frame: FrameType, event: str, function: Any) -> None:
        if event not in ("call", "c_call"):
            return
        code = frame.f_code
        ours = self._is_service.get(code)
        if ours is None:
            ours = self._is_service[code] = not any(part in code.co_filename for part in _CLIENTS)
        if not ours:
            return
        self.operations += 1 + (_bytes_through(function) if event == "c_call" else 0)


def _bytes_through(function: Any) -> int:
    """Return the operations for the bytes that a method of a string goes through."""
    owner = getattr(function, "__self__", None)
    through = type(owner) in (bytes, str, bytearray) and function.__name__ in _WHOLE
    return len(owner) // BYTES_PER_OPERATION if through else 0


def operations_of(work: Callable[[], object]) -> int:
    """Return how many operations a function takes."""
    count = 0

    def profile(_: FrameType, event: str, function: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1 + (_bytes_through(function) if event == "c_call" else 0)

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
