"""Threads that work when a test tells them to, so that the test decides what happens during a compression."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any

from support.simulation import Running, Simulation


class HeldThreads(Executor):
    """Takes the place of a worker's threads.

    Args:
        holding: False to work immediately.
    Attributes:
        waiting: work that is started and not done: (future, function to call).
        most: highest number of waiting items.
    """

    def __init__(self, *, holding: bool = True) -> None:
        self.holding = holding
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.most = 0

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: work(*arguments)))
        self.most = max(self.most, len(self.waiting))
        if not self.holding:
            self.release(holding=False)
        return future

    def release(self, count: int = 1 << 30, *, holding: bool = True) -> None:
        """Do the waiting work, oldest first, up to a number of items; afterwards work immediately unless still holding."""
        self.holding = holding
        for future, work in self.waiting[:count]:
            if future.set_running_or_notify_cancel():
                future.set_result(work())
        del self.waiting[:count]


def start_on(sim: Simulation, threads: HeldThreads) -> Running:
    """Start a worker that compresses on these threads."""
    running = sim.start()
    shared = running.worker.loader.shared
    running.worker.loader.shared = replace(shared, outbound=replace(shared.outbound, threads=threads))
    for forwarder in running.worker.roster.forwarders():
        forwarder.shared = running.worker.loader.shared
        forwarder.attempts.outbound = forwarder.shared.outbound
    return running
