"""Keeps child processes running: restarts them when they crash, and ends them with the process that started them.

Called by `serving` for workers and further API processes. A child's standard input is a pipe from us, and the child ends when the
kernel closes it: so no child outlives us, however we end.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .telemetry import Log

RESTART_FIRST_S, RESTART_LONGEST_S = 0.2, 5.0
"""Pause before a crashed child is restarted, seconds; it doubles from the first to the longest."""
NEEDED_S = 1.0
"""Pause between two looks whether a child is needed, seconds."""
CHILD_EXIT_S = 10.0
"""How long a child may take to end before it is killed, seconds."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process to be kept running.

    Args:
        kind: its command, and what the log calls it.
        number: which of its kind.
        options: of its command.
        fds: descriptors that it inherits.
        clear: called when it has ended by itself.
        needed: asked before the first start, again and again; the process is started once it says True.
    """

    kind: str
    number: int
    options: tuple[str, ...]
    fds: tuple[int, ...] = ()
    clear: Callable[[], Awaitable[None]] | None = None
    needed: Callable[[], Awaitable[bool]] | None = None


async def supervise(child: Child, telemetry: Log, stop: asyncio.Event) -> None:
    """Keep one child running until asked to stop."""
    pause_s = RESTART_FIRST_S
    command = (sys.executable, "-m", "aegis_stream", child.kind, *child.options)
    # Only the API needs the operator's key, so nobody else gets it.
    hidden = {"AEGIS_OPERATOR_KEY"} if child.kind != "api" else set()
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    while child.needed is not None and not stop.is_set() and not await child.needed():
        await _pause(stop, NEEDED_S)
    while not stop.is_set():
        began_s = asyncio.get_running_loop().time()
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, pass_fds=child.fds, env=environment
            )
        except (
            OSError
        ) as error:  # no descriptor, memory or process is free at the moment: the rest of the service goes on
            telemetry.error(
                "supervisor.start_failed", kind=child.kind, number=child.number, reason=error.strerror
            )
            pause_s = await _pause(stop, pause_s)
            continue
        telemetry.info(f"supervisor.{child.kind}_started", number=child.number, pid=process.pid)
        ended = asyncio.ensure_future(process.wait())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            await _end(process, ended)
            return
        telemetry.warning(
            f"supervisor.{child.kind}_exited",
            number=child.number,
            pid=process.pid,
            status=process.returncode,
        )
        if child.clear is not None:
            with contextlib.suppress(OSError):  # likewise; what it clears ends by itself after a while
                await child.clear()
        if asyncio.get_running_loop().time() - began_s > RESTART_LONGEST_S:
            pause_s = RESTART_FIRST_S
        pause_s = await _pause(stop, pause_s)


async def _pause(stop: asyncio.Event, pause_s: float) -> float:
    """Wait before another start, unless asked to stop; returns how long the next pause is, seconds."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), pause_s)
    return min(pause_s * 2, RESTART_LONGEST_S)


async def _end(process: asyncio.subprocess.Process, ended: "asyncio.Future[int]") -> None:
    """End a child: SIGTERM, and after a while SIGKILL."""
    process.terminate()
    try:
        await asyncio.wait_for(ended, CHILD_EXIT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
