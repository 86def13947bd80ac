"""One attempt, as a channel keeps it until its answer comes."""

from collections.abc import Callable
from typing import Any

import msgspec

from aegis_stream.domain.attempt import Answer, Request


class Exchange(msgspec.Struct, gc=False):
    """One attempt in progress.

    Args:
        began: clock reading at the start, for the latency.
        deadline: loop time.
        ended: called with `token` and the answer.
        fresh: a reused connection failed, so the next one must be new.
        waits_until_s: loop time until which it waits for a limit of our own; None while it has not waited.
    """

    request: Request
    began: float
    deadline: float
    ended: Callable[[Any, Answer], None]
    token: Any
    fresh: bool = False
    waits_until_s: float | None = None
