"""What this process connects to and looks up, as reported by the interpreter: the proof that nothing was sent.

    with wiretap.listening() as tap:
        answer = await channel.post(request)
    assert tap.connects == []

The reports come from the audit hooks of the socket module, below everything that the sender does. Where a tap is listening,
a connect beyond loopback is not only noted but stopped: a guard that fails in a test must not reach into anybody's network.
Asyncio's own event loop is audited; uvloop is not.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any


@dataclass
class Tap:
    """What was seen.

    Args:
        connects: (address, port) of every connect begun.
        look_ups: every name given to the system's resolver.
    """

    connects: list[tuple[str, int]] = field(default_factory=list)
    look_ups: list[str] = field(default_factory=list)


_taps: list[Tap] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _taps:
        return
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        address = (str(arguments[1][0]), int(arguments[1][1]))
        for tap in _taps:
            tap.connects.append(address)
        if not ip_address(address[0].partition("%")[0]).is_loopback:
            raise PermissionError(f"a test reached for {address}")
    elif event == "socket.getaddrinfo":
        for tap in _taps:
            tap.look_ups.append(str(arguments[0]))


sys.addaudithook(_hear)  # for the life of the process: a hook cannot be taken out again


@contextmanager
def listening() -> Iterator[Tap]:
    """Listen until the block ends."""
    tap = Tap()
    _taps.append(tap)
    try:
        yield tap
    finally:
        _taps.remove(tap)
