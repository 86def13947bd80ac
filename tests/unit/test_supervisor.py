"""Promises about the supervisor: whatever keeps a child from starting or from being cleared, the rest of the service goes on."""

import asyncio
import errno
import os

import pytest

from aegis_stream import supervisor
from aegis_stream.supervisor import Child, supervise


class FakeProcess:
    """A child that ends when told to."""

    pid, returncode = 4711, -9

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def wait(self) -> int:
        await self.over.wait()
        return self.returncode

    def terminate(self) -> None:
        self.over.set()


class FakeLog:
    """Remembers names of lines."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def info(self, name, **_):
        self.names.append(name)

    warning = error = info


@pytest.fixture
def starts(monkeypatch):
    """What each start comes to: an error, or a process; after the last one every start succeeds."""
    monkeypatch.setattr(supervisor, "RESTART_FIRST_S", 0.001)
    outcomes: list = []
    processes: list[FakeProcess] = []

    async def start(*_, **__):
        if outcomes:
            raise outcomes.pop(0)
        processes.append(FakeProcess())
        return processes[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    return outcomes, processes


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN, errno.ENOMEM])
async def test_a_child_that_cannot_be_started_is_tried_again(starts, number):
    """No descriptor, process or memory: the supervisor logs it, waits and tries again, and ends nothing."""
    outcomes, processes = starts
    outcomes += [OSError(number, os.strerror(number))] * 3
    log, stop = FakeLog(), asyncio.Event()

    running = asyncio.ensure_future(supervise(Child("worker", 0, ()), log, stop))
    async with asyncio.timeout(10):
        while not processes:
            await asyncio.sleep(0.001)
    stop.set()
    await running

    assert log.names == ["supervisor.start_failed"] * 3 + ["supervisor.worker_started"]


async def test_what_cannot_be_cleared_keeps_no_child_from_starting_again(starts):
    """A child that ended is started again even when its remains cannot be cleared for want of a descriptor."""
    _, processes = starts

    async def clear() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    log, stop = FakeLog(), asyncio.Event()
    running = asyncio.ensure_future(supervise(Child("worker", 0, (), clear=clear), log, stop))
    async with asyncio.timeout(10):
        while not processes:
            await asyncio.sleep(0.001)
        processes[0].over.set()
        while len(processes) < 2:
            await asyncio.sleep(0.001)
    stop.set()
    await running

    assert log.names.count("supervisor.worker_started") == 2


async def test_a_child_is_started_once_it_is_needed(starts, monkeypatch):
    """It is asked again and again whether it is needed; one that never is ends with the service, unstarted."""
    monkeypatch.setattr(supervisor, "NEEDED_S", 0.001)
    _, processes = starts
    answers, asked = [False, False, True], asyncio.Event()

    async def needed() -> bool:
        return answers.pop(0)

    async def never() -> bool:
        asked.set()
        return False

    log, stop = FakeLog(), asyncio.Event()
    running = [
        asyncio.ensure_future(supervise(Child("sealer", 0, (), needed=one), log, stop))
        for one in (needed, never)
    ]
    async with asyncio.timeout(10):
        await asked.wait()
        while not processes:
            await asyncio.sleep(0.001)
    stop.set()
    await asyncio.gather(*running)

    assert not answers
    assert log.names == ["supervisor.sealer_started"]
