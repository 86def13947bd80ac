"""The notifier: who rings is heard, rings of one moment travel together, the dead are told from the living."""

import asyncio
import socket
import subprocess
import sys

import pytest

from aegis_stream.store.local_wakeups import (
    PAIRS_PER_MESSAGE_MAX,
    UNIX_PATH_MAX,
    WakeListener,
    WakeNotifier,
    is_alive,
)


class Ear:
    """Remembers rings, and lets a test wait for as many as it wants."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []
        self._more = asyncio.Event()

    def __call__(self, organization_no: int, head: int) -> None:
        self.heard.append((organization_no, head))
        self._more.set()

    async def hears(self, count: int) -> list[tuple[int, int]]:
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                self._more.clear()
                await self._more.wait()
        return self.heard


def names(folder):
    """Return the names of the sockets there are."""
    return [one.name for one in folder.iterdir()]


@pytest.fixture
def folder(tmp_path):
    """Choose where the sockets are."""
    return tmp_path / "notifier"


@pytest.fixture
async def ear(folder):
    """Let a worker listen."""
    ear = Ear()
    listener = WakeListener(folder, "wrk_1", ear)
    yield ear
    listener.close()


@pytest.fixture
def notifier(folder):
    """Make the ringing side."""
    notifier = WakeNotifier(folder)
    yield notifier
    notifier.close()


async def test_a_ring_reaches_every_worker(folder, ear, notifier):
    """Each worker of the data directory learns which log has grown, and how far."""
    second = Ear()
    listener = WakeListener(folder, "wrk_2", second)

    notifier.notify(3, 42)

    assert await ear.hears(1) == await second.hears(1) == [(3, 42)]
    listener.close()


async def test_rings_of_one_moment_travel_together(ear, notifier):
    """Between two turns of the loop only the newest head of each organization is told, in one message."""
    for head in range(1, 100):
        notifier.notify(1, head)
    notifier.notify(2, 7)

    assert await ear.hears(2) == [(1, 99), (2, 7)]


async def test_many_organizations_take_several_messages(ear, notifier):
    """What does not fit into one message goes into the next, and none is forgotten."""
    rings = {number: number + 1 for number in range(1, PAIRS_PER_MESSAGE_MAX + 10)}

    for number, head in rings.items():
        notifier.notify(number, head)

    assert dict(await ear.hears(len(rings))) == rings


async def test_a_change_reaches_a_worker_that_has_just_started(folder, ear, notifier):
    """The list of workers is believed for a moment only; a change of destinations looks for new ones at once."""
    notifier.notify(1, 1)
    await ear.hears(1)
    late = Ear()
    listener = WakeListener(folder, "wrk_late", late)

    notifier.notify_changes()

    assert await late.hears(1) == [(0, 0)]
    listener.close()


async def test_ringing_the_dead_hurts_nobody(folder, ear, notifier):
    """A socket without a process behind it is passed over; the living hear all the same."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(folder / "wrk_dead.sock"))

    notifier.notify(1, 1)

    assert await ear.hears(1) == [(1, 1)]


async def test_ringing_nobody_is_fine(notifier):
    """Without workers a ring goes nowhere."""
    notifier.notify(1, 1)
    await asyncio.sleep(0)


async def test_a_listener_that_is_full_loses_rings_and_blocks_nobody(folder, notifier):
    """Whoever does not listen for a while loses rings; the ringing side never waits."""
    ear = Ear()
    listener = WakeListener(folder, "wrk_1", ear)

    for head in range(1, 2000):
        notifier.notify(1, head)
        notifier._send()

    heard = await ear.hears(1)
    assert 0 < len(heard) < 2000
    listener.close()


async def test_garbage_is_ignored(folder, ear, notifier):
    """A message that is no list of pairs rings nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"x" * 17, str(folder / "wrk_1.sock"))
    notifier.notify(1, 1)

    assert await ear.hears(1) == [(1, 1)]


async def test_a_worker_is_alive_while_it_listens(folder, ear):
    """The open socket is the sign of life; the socket of a closed notifier is gone."""
    alive = is_alive(folder, "wrk_1")
    listener = WakeListener(folder, "wrk_2", Ear())
    listener.close()

    assert alive
    assert not is_alive(folder, "wrk_2")
    assert names(folder) == ["wrk_1.sock"]


def test_a_killed_worker_is_found_dead(folder):
    """The kernel closes the socket of a process that was killed; what it left is removed."""
    program = (
        "import asyncio, os, sys, signal\n"
        "from pathlib import Path\n"
        "from aegis_stream.store.local_wakeups import WakeListener\n"
        "async def main():\n"
        "    WakeListener(Path(sys.argv[1]), 'wrk_1', print)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=False, timeout=60)
    left = names(folder)

    assert left == ["wrk_1.sock"]
    assert not is_alive(folder, "wrk_1")
    assert names(folder) == []


async def test_a_long_path_is_no_obstacle(tmp_path):
    """A data directory deeper than a socket address can hold works like any other."""
    folder = tmp_path / ("deep" * 20) / ("er" * 30) / "notifier"
    assert len(str(folder)) > UNIX_PATH_MAX
    ear, notifier = Ear(), WakeNotifier(folder)
    listener = WakeListener(folder, "wrk_01m82xk9rj9fdqxy70tasw9fhs", ear)

    notifier.notify(1, 5)

    assert await ear.hears(1) == [(1, 5)]
    assert is_alive(folder, "wrk_01m82xk9rj9fdqxy70tasw9fhs")
    listener.close()
    notifier.close()
