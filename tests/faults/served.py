"""A service under load for faults that it must live through without a restart: what it delivers, and how it is judged.

with served(run) as one:
    ...                                  # faults, while `one.load` records
    one.end()
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from faults.frame import Run
from faults.oracles import (
    Delivered,
    await_quiet,
    expect_no_blame,
    judge_delivery,
    judge_log,
    measure,
    problems_of_doctor,
    read_stored,
)
from support.injected import Injected
from support.load import Load
from support.processes import (
    Client,
    RecordingReceiver,
    ServiceGroup,
    children,
    make_client,
    recording_receiver,
    service_group,
)
from support.service import service_environment, wait_until

QUIET_S = 40.0
RECOVERY_S = 15.0
"""Longest time from the end of a fault to the next acknowledgement: a client repeats every 20 ms."""


@dataclass
class Served:
    """A service, a receiver that accepts everything, and a load."""

    run: Run
    group: ServiceGroup
    receiver: RecordingReceiver
    injected: Injected
    client: Client = field(init=False)
    dst_id: str = field(init=False)
    load: Load = field(init=False)
    pids: set[int] = field(init=False)

    def begin(self, **load: object) -> None:
        """Start everything."""
        self.group.start()
        self.client = make_client(self.group)
        self.dst_id = self.client.add_destination(self.receiver.url)
        self.load = Load(self.client, self.run.random, **load)
        self.wait_for_acks(20)
        self.pids = self.processes()

    def processes(self) -> set[int]:
        """Return the processes of the service."""
        return {self.group.pid, *children(self.group.pid)}

    def wait_for_acks(self, more: int) -> None:
        """Wait until so many further events are acknowledged."""
        goal = len(self.load.acked) + more
        wait_until(lambda: len(self.load.acked) >= goal, seconds=RECOVERY_S)

    def recover(self) -> None:
        """Wait until events are acknowledged after a fault, and note how long it took."""
        began_s, before = time.monotonic(), len(self.load.acked)
        while len(self.load.acked) <= before and time.monotonic() < began_s + RECOVERY_S:
            time.sleep(0.01)  # between two looks
        took_s = time.monotonic() - began_s
        self.run.recovered(took_s)
        self.run.expect(took_s < RECOVERY_S, f"nothing was acknowledged {RECOVERY_S:g} s after the fault")

    def doctor(self) -> list[str]:
        """Return what doctor calls a problem, under the same faults."""
        return problems_of_doctor(service_environment(self.run.folder, **self.group.environment))

    def end(self, *, repeats_max: int = 0, blame: bool = True, told: tuple[str, ...] = ()) -> None:
        """Stop the load, wait until all is quiet without a new event, and judge.

        Args:
            repeats_max: most events that may have arrived twice.
            blame: the receiver must have no failed attempts.
            told: checks of which doctor may still call the result a problem.
        """
        self.load.stop()
        await_quiet(self.run, self.client, [self.dst_id], QUIET_S)
        if blame:
            expect_no_blame(self.run, self.client, [self.dst_id])
        found = [line for line in self.doctor() if line.partition(":")[0] not in told]
        self.run.expect(not found, f"doctor after the fault: {found}")
        measure(self.run, self.processes(), self.group.database)
        status = self.group.terminate()
        self.run.expect(status == 0, f"the service ended with status {status}")
        stored = read_stored(self.run, self.group.database, self.client.organization.org_id)
        judge_log(self.run, self.load.sent, self.load.acked, stored.events)
        dead = stored.dead.get(self.dst_id, {})
        delivered = Delivered("receiver", self.receiver.bodies(), dead, repeats_max)
        judge_delivery(self.run, stored.events, delivered)
        self._expect_no_bugs()

    def _expect_no_bugs(self) -> None:
        """The log has no traceback."""
        log = self.group.log()
        self.run.expect(
            "Traceback" not in log, f"a traceback in the log: {log.partition('Traceback')[2][:800]}"
        )


@contextmanager
def served(run: Run, **environment: str) -> Iterator[Served]:
    """Make a service whose disk and clock the test controls; `begin` starts it."""
    injected = Injected(run.folder)
    with (
        service_group(run.folder, **injected.environment, **environment) as group,
        recording_receiver(run.folder) as receiver,
    ):
        yield Served(run, group, receiver, injected)
