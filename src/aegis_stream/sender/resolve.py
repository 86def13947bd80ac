"""Names to addresses, on threads of our own.

Called by `dial`. The event loop's own resolver is not used: uvloop's runs on four threads shared by everybody, so
that four destinations with a dead name server would stop the connections of all others.
"""

import asyncio
import functools
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

THREADS_MAX = 32
"""Look-ups at the same time; a channel has at most one under way, and a thread that waits costs next to nothing."""


class Resolver(Protocol):
    """Where addresses come from."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the IP addresses of a name as text, best first; empty when there are none.

        Raises: OSError (socket.gaierror among them) when the name does not resolve; CancelledError at the deadline.
        """
        ...


class ThreadResolver:
    """Asks the system's resolver (hosts file, DNS) on a bounded number of threads.

    Args:
        threads_max: look-ups at the same time; further ones wait, within the deadline of their attempt.
    """

    def __init__(self, *, threads_max: int = THREADS_MAX) -> None:
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="aegis-resolve")

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name in the order of RFC 6724, each once.

        Raises: OSError when the name does not resolve. After cancellation the thread finishes by itself.
        """
        look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        """Let the threads end; look-ups that have not begun are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
