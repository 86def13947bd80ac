"""The last while of a service that was asked to stop: it answers, and tells load balancers to send elsewhere.

Its workers do not wait for that: they hand their destinations over at once.
"""

import asyncio
import contextlib

from aegis_stream.api.standing import ServiceStanding

LOOK_S = 0.1
"""Pause between two looks of a further API process, seconds."""


async def drain(standing: ServiceStanding, seconds: float, at_once: asyncio.Event) -> None:
    """Let `/readyz` of all API processes be 503, for so many seconds or until `at_once` is set."""
    standing.begin_drain()
    with contextlib.suppress(TimeoutError):
        if seconds:
            await asyncio.wait_for(at_once.wait(), seconds)
    standing.end_drain()


async def follow_drain(standing: ServiceStanding, seconds: float, at_once: asyncio.Event) -> None:
    """Answer in a further API process until the first one drains no more, but no longer than it would.

    A supervisor of services may send its signal to all processes at once. One that was sent by the first process comes after the drain.
    """
    deadline_s = asyncio.get_running_loop().time() + seconds
    while not standing.drained and asyncio.get_running_loop().time() < deadline_s:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(at_once.wait(), LOOK_S)
            return
