"""Names to addresses, on our own threads.

Called by `dial`. We do not use the event loop's resolver: in uvloop it has four threads for everything, so four
destinations with a dead name server would block the connections of all others.
"""

import asyncio
import functools
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

THREADS_MAX = 32
"""Most look-ups at the same time. A channel has at most one, and a waiting thread costs next to nothing."""


class Resolver(Protocol):
    """Source of addresses."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the IP addresses of a name as text, best first; an empty list if there are none.

        Raises: OSError (also socket.gaierror) if the name does not resolve; CancelledError at the deadline.
        """
        ...


class ThreadResolver:
    """Asks the system's resolver (hosts file, DNS) on a bounded number of threads.

    Args:
        threads_max: most look-ups at the same time; others wait, at most until the deadline of their attempt.
    """

    def __init__(self, *, threads_max: int = THREADS_MAX) -> None:
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="aegis-resolve")

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name in the order of RFC 6724, each once.

        Raises: OSError if the name does not resolve. After cancellation the thread runs to its end.
        """
        look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        """End the threads; look-ups that have not started are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
