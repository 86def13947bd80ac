"""Our service with destinations at nginx: loads on it, and their results."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from .events import Sent
from .load import NO_LIMIT, Load, LoadPlan, wrk
from .measure import Run, measure
from .plan import WARM_UP_S, Options
from .processes import memory_mib, need_disk, wait_until
from .receiver import Receiver
from .reconcile import Reconciliation, check_contents, check_counters, check_head, together
from .service import Service, aegis
from .turns import by_turns, turn_s

FILL = LoadPlan(per_request=1_000, connections=4, backlog_max=NO_LIMIT)
"""Large requests, with which ingest is fastest."""
FILL_S = 3600.0
DISK_BYTES_AN_EVENT = 1_100
"""Disk space of an event, with its row, its index entries and its share of the write-ahead log: 0.8 KB and a third."""


@dataclass(slots=True)
class Deployment:
    """A running service whose destinations all send to one nginx.

    Args:
        destinations: ids of those that must receive everything.
        recorded: events in its log so far, the last sequence.
        delivered: how many of them each destination has received.
        generator: starts a load.
    """

    folder: Path
    service: Service
    receiver: Receiver
    destinations: list[str]
    recorded: int = 0
    delivered: int = 0
    generator: Callable[[Path, int, str, LoadPlan, str], AbstractContextManager[Load]] = wrk
    _sent: list[Sent] = field(default_factory=list)
    _runs: list[Run] = field(default_factory=list)

    def warm_up(self, plan: LoadPlan, seconds: float) -> None:
        """Run a load that is not measured."""
        self._load(plan, "wrm", seconds)

    def load(self, plan: LoadPlan, seconds: float) -> Run:
        """Run a load and measure it. Raises: RuntimeError when an event did not arrive once, or with another length."""
        run, sent = self._load(plan, f"r{len(self._runs):02d}", seconds)
        self._runs.append(run)
        self._sent.append(sent)
        return run

    def _load(self, plan: LoadPlan, name: str, seconds: float) -> tuple[Run, Sent]:
        base, bytes_before = self.receiver.received(), self.receiver.body_bytes()
        with self.generator(self.folder, self.service.port, self.service.key, plan, name) as load:
            run = measure(
                load,
                self.receiver.received,
                base=base,
                seconds=seconds,
                ours=self.service.pids,
                others={"nginx": self.receiver.pid, **self.service.others},
                fan_out=len(self.destinations),
                counters=self.service.counters,
            )
            sent = load.sent
        wanted = run.received * self.receiver.bytes_an_event
        if (found := self.receiver.body_bytes() - bytes_before) != wanted:
            raise RuntimeError(f"reconciliation failed: {wanted:,} bytes of bodies sent, {found:,} received")
        self.recorded += run.events
        self.delivered += run.events
        return run, sent

    def latencies(self) -> bytes:
        """Return the latencies that the generator wrote for the last load."""
        return (self.folder / f"r{len(self._runs) - 1:02d}.latencies").read_bytes()

    def reconcile(self, checked_max: int) -> Reconciliation:
        """Compare what all measured loads sent and what arrived, including contents. Raises: RuntimeError, TimeoutError on any difference."""
        check_counters(self.service, self.destinations, self.delivered)
        check_head(self.service, self.recorded)
        acknowledged = sum(one.events for one in self._runs)
        received = sum(one.received for one in self._runs)
        first = self.recorded - acknowledged + 1
        compared = check_contents(self.service, self._sent, first, checked_max)
        return Reconciliation(
            acknowledged,
            received,
            len(self.destinations),
            duplicates=received - acknowledged * len(self.destinations),
            body_bytes=received * self.receiver.bytes_an_event,
            ids_compared=compared,
            checksums_compared=compared,
        )


@contextlib.contextmanager
def deployed(
    folder: Path,
    receiver: Receiver,
    options: Options,
    *,
    destinations: int = 1,
    fields: Mapping[str, object] | None = None,
    preload: int = 0,
    api_processes: int = 1,
) -> Iterator[Deployment]:
    """Run our service with destinations at nginx until the block ends.

    Args:
        fields: fields of each destination besides its URL.
        preload: at least this many events are in the log before the first destination is created.
        api_processes: used unless the options set it.
    """
    folder.mkdir(exist_ok=True)
    with serving(folder / "data", options, api_processes=api_processes) as service:
        recorded = fill(folder, service, preload, options).count if preload else 0
        written = dict(fields or {})
        if receiver.ca_certificate is not None:
            written["ca_certificate"] = receiver.ca_certificate.read_text()
        ids = [service.add_destination(receiver.url, **written) for _ in range(destinations)]
        service.settle()
        yield Deployment(folder, service, receiver, ids, recorded)


def serving(
    data: Path,
    options: Options,
    *,
    key: str | None = None,
    api_processes: int = 1,
    extra: Mapping[str, str] | None = None,
) -> AbstractContextManager[Service]:
    """Run our service, on the database of the options.

    Args:
        key, extra: as for `aegis`.
        api_processes: used unless the options set it.
    """
    return aegis(
        data,
        key=key,
        workers=options.workers,
        api_processes=options.api_processes or api_processes,
        extra=extra,
        program=options.program,
        database=options.database,
    )


def need_log(events: int) -> None:
    """Check that the disk has room for a log. Raises: RuntimeError with the space that is missing."""
    need_disk(events * DISK_BYTES_AN_EVENT, f"a log of {events:,} events")


def fill(folder: Path, service: Service, events: int, options: Options) -> Sent:
    """Record at least `events` events through ingest, as fast as possible."""
    plan = replace(FILL, scattered=options.scattered)
    with wrk(folder, service.port, service.key, plan, "fil") as load:
        wait_until(f"{events:,} events in the log", lambda: load.acknowledged >= events, FILL_S, 0.01)
        load.stop()
        return load.sent


def memory_now(service: Service) -> dict[str, dict[str, float]]:
    """Return the memory of all processes of the service, MiB."""
    return {
        name: {"first": memory_mib(pid), "last": memory_mib(pid), "peak": memory_mib(pid, "VmHWM")}
        for name, pid in service.pids.items()
    }


def drain(receiver: Receiver, wanted: int) -> int:
    """Wait until at least `wanted` events have arrived. Raises: RuntimeError when nothing arrives for 30 s."""
    arrived, last_s = receiver.received(), time.monotonic()
    while arrived < wanted:
        time.sleep(0.01)
        now = receiver.received()
        if now != arrived:
            arrived, last_s = now, time.monotonic()
        elif time.monotonic() - last_s > 30:
            raise RuntimeError(f"{arrived} of {wanted} events have arrived, and no more for 30 s")
    return arrived


def tuned(plan: LoadPlan, options: Options) -> LoadPlan:
    """Return a plan with the values of the command line."""
    return replace(
        plan,
        connections=options.connections or plan.connections,
        backlog_max=options.backlog_max or plan.backlog_max,
        scattered=options.scattered or plan.scattered,
    )


def side_by_side(
    one: Deployment, other: Deployment, plan: LoadPlan, options: Options
) -> tuple[list[tuple[Run, Run]], Reconciliation]:
    """Load two services in turns, after a warm-up of both.

    Returns: the pairs of runs, and the sum of both reconciliations.
    """
    seconds = turn_s(options.seconds)
    for deployment in (one, other):
        deployment.warm_up(plan, WARM_UP_S)
    pairs = by_turns(lambda: one.load(plan, seconds), lambda: other.load(plan, seconds))
    return pairs, together([deployment.reconcile(options.checked_max) for deployment in (one, other)])
