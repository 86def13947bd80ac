"""The workloads on PostgreSQL, P1 to P7: those of SQLite on a server of the benchmark's own, on this machine.

What is compared takes turns in one run (A B, B A): every turn has a new service, and a new server. All processes share the cores,
so a rate says what one machine can do with everything on it; the CPU an event says what each part costs.
"""

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from .deployment import serving, tuned
from .events import ORG_ID, Sent
from .growth import OPERATOR_KEY, idle_crowd
from .latency import ack_to_arrival
from .load import NO_LIMIT, Load, LoadPlan, answer_times, ingest_request, wrk
from .measure import measure
from .plan import Options, Round, Workload
from .postgres import postgres
from .processes import Pids, scratch
from .reconcile import Reconciliation, check_contents, check_head, together
from .service import Service
from .turns import by_turns
from .workloads import BATCH, BATCHED, FANNED, INGEST_PROCESSES, MANY, Shape, deliver, ingest_alone

Measure = Callable[[Options], Round]
PAIRS = 2
"""Pairs of turns in a round."""
SENDERS = 4
"""Load generators, and API processes, of P6."""


def on_postgres(measured: Measure, *, standby: bool = False) -> Measure:
    """Return a measurement on a new server.

    Args:
        standby: commits wait for a standby on the same machine.
    """

    def run(options: Options) -> Round:
        with scratch("postgres") as folder, postgres(folder / "server", standby=standby) as server:
            found = measured(replace(options, database=server.new_database()))
        if (written := found.notes.pop("WAL bytes", None)) is not None:
            found.notes["WAL bytes an event"] = written / found.reconciliation.acknowledged
        return found

    return run


@dataclass(frozen=True, slots=True)
class Compared:
    """Two measurements that took turns.

    Args:
        names: of the first and the second, for notes.
    """

    names: tuple[str, str]
    pairs: Sequence[tuple[Round, Round]]

    def ratio(self, value: Callable[[Round], float]) -> float:
        """Return the median of the pairs' ratios, second to first."""
        return statistics.median([value(second) / value(first) for first, second in self.pairs])

    def difference(self, figure: str) -> float:
        """Return the median of the pairs' differences, second minus first."""
        return statistics.median(
            [second.figures[figure] - first.figures[figure] for first, second in self.pairs]
        )

    def second(self, figure: str) -> float:
        """Return the median of a figure of the second."""
        return statistics.median([second.figures[figure] for _, second in self.pairs])

    def round(self, figures: dict[str, float]) -> Round:
        """Return a round with these figures; what each side measured besides is in its notes."""
        notes: dict[str, float] = {}
        for side, name in enumerate(self.names):
            ran = [pair[side] for pair in self.pairs]
            notes |= {f"{name} {figure}": value for figure, value in _medians(ran).items()}
        seconds = [second for _, second in self.pairs]
        cpu = {name: statistics.median([one.cpu_us[name] for one in seconds]) for name in seconds[0].cpu_us}
        # The sides may send to a different number of destinations, so only what both acknowledged adds up.
        counts = together(
            [replace(one.reconciliation, destinations=1) for pair in self.pairs for one in pair]
        )
        return Round(figures, counts, cpu, seconds[-1].memory_mib, notes)


def compared(first: tuple[str, Measure], second: tuple[str, Measure], options: Options) -> Compared:
    """Run two measurements in turns."""
    pairs = by_turns(lambda: first[1](options), lambda: second[1](options), PAIRS)
    return Compared((first[0], second[0]), pairs)


def _medians(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the medians of figures, CPU and notes that all of these rounds have."""
    each = [
        {**one.figures, **{f"{name} µs": used for name, used in one.cpu_us.items()}, **one.notes}
        for one in rounds
    ]
    return {name: statistics.median([one[name] for one in each]) for name in each[0]}


def _rate(one: Round) -> float:
    return one.figures["rate"]


def _api_us(one: Round) -> float:
    return one.cpu_us["api"]


def ingest(options: Options) -> Round:
    """P1: S10 on PostgreSQL and on SQLite."""
    found = compared(("SQLite", ingest_alone), ("PostgreSQL", on_postgres(ingest_alone)), options)
    return found.round(
        {
            "rate": found.second("rate"),
            "rate × SQLite": found.ratio(_rate),
            "API CPU × SQLite": found.ratio(_api_us),
        }
    )


def ingest_with_standby(options: Options) -> Round:
    """P2: P1 with a synchronous standby, and without."""
    with_standby = on_postgres(ingest_alone, standby=True)
    found = compared(("alone", on_postgres(ingest_alone)), ("standby", with_standby), options)
    return found.round({"rate": found.second("rate"), "rate × alone": found.ratio(_rate)})


def end_to_end(options: Options) -> Round:
    """P3: S2 and S3 on PostgreSQL and on SQLite."""
    shapes = {"S2": Shape(BATCHED), "S3": Shape(MANY, BATCH, api_processes=INGEST_PROCESSES)}
    figures: dict[str, float] = {}
    rounds = []
    for name, shape in shapes.items():
        both = ("SQLite", deliver(shape)), ("PostgreSQL", on_postgres(deliver(shape)))
        found = compared(*both, options)
        rounds.append(found.round({}))
        figures |= {f"{name} rate": found.second("rate"), f"{name} rate × SQLite": found.ratio(_rate)}
    return Round(
        figures,
        together([one.reconciliation for one in rounds]),
        notes={
            f"{name} {note}": value
            for name, one in zip(shapes, rounds, strict=True)
            for note, value in one.notes.items()
        },
    )


def latency(options: Options) -> Round:
    """P4: S5 on PostgreSQL and on SQLite."""
    found = compared(("SQLite", ack_to_arrival), ("PostgreSQL", on_postgres(ack_to_arrival)), options)
    return found.round(
        {
            "p50 ms": found.second("p50 ms"),
            "p99 ms": found.second("p99 ms"),
            "p50 ms over SQLite": found.difference("p50 ms"),
            "p99 × SQLite": found.ratio(lambda one: one.figures["p99 ms"]),
            "send to ack p50 ms": found.second("send to ack p50 ms"),
            "send to ack p99 ms": found.second("send to ack p99 ms"),
        }
    )


def fan_out(options: Options) -> Round:
    """P5: S6 and S2, both on PostgreSQL."""
    ten = on_postgres(deliver(Shape(FANNED, destinations=10)))
    found = compared(("S2", on_postgres(deliver(Shape(BATCHED)))), ("S6", ten), options)
    return found.round({"rate": found.second("rate"), "rate × S2": found.ratio(_rate)})


def hot_organization(options: Options) -> Round:
    """P6: one organization from four API processes, and four organizations."""
    four, one = (on_postgres(_ingest_of(organizations)) for organizations in (SENDERS, 1))
    found = compared(("four", four), ("one", one), options)
    return found.round({"rate": found.second("rate"), "rate × four organizations": found.ratio(_rate)})


def idle_on_postgres(options: Options) -> Round:
    """P7: S8 on PostgreSQL."""
    found = on_postgres(idle_crowd)(options)
    idle = sum(found.notes[f"{name} idle %"] for name in ("worker", "database"))
    figures = {"worker and database % of a core": idle, **found.figures}
    return replace(found, figures=figures)


def _ingest_of(organizations: int) -> Measure:
    """Return a measurement of ingest from four load generators, which share one organization or have one each."""

    def run(options: Options) -> Round:
        plan = tuned(LoadPlan(connections=8, backlog_max=NO_LIMIT), options)
        extra = {"AEGIS_OPERATOR_KEY": OPERATOR_KEY}
        with (
            scratch("ours") as folder,
            serving(folder / "data", options, api_processes=SENDERS, extra=extra) as service,
        ):
            service.settle()
            each = [_organization(service, number % organizations) for number in range(SENDERS)]
            with _together(folder / "warm", each, plan, "w") as load:
                measure(load, load.acknowledged_now, base=0, seconds=options.warm_up_s, ours={}, others={})
                warm = load.sent
            with _together(folder / "run", each, plan, "r") as load:
                run = measure(
                    load,
                    load.acknowledged_now,
                    base=0,
                    seconds=options.seconds,
                    ours=service.pids,
                    others=service.others,
                    counters=service.counters,
                )
                sent = load.sent
            run.notes.update(load.answer_times())
            counts = [
                _reconcile(each[number], warm[number::organizations], sent[number::organizations], options)
                for number in range(organizations)
            ]
            return Round.of(replace(run, rate=run.ingest_rate, backlog_peak=0), together(counts))

    return run


def _organization(service: Service, number: int) -> Service:
    """Return the service as an organization sees it, which is created when it is first asked for."""
    if number == 0:
        return service
    org_id = f"org_ab{number}"  # as long as the one in the events, whose place it takes
    assert len(org_id) == len(ORG_ID)
    made = service.call("POST", "/api/orgs", {"name": org_id, "id": org_id}, OPERATOR_KEY)
    return replace(service, org_id=org_id, key=made["api_key"])


def _reconcile(
    service: Service, warm: Sequence[Sent], sent: Sequence[Sent], options: Options
) -> Reconciliation:
    """Compare the log of one organization with what was acknowledged. Raises: RuntimeError on any difference."""
    before, events = (sum(one.count for one in some) for some in (warm, sent))
    check_head(service, before + events)
    compared = check_contents(service, sent, before + 1, options.checked_max // SENDERS)
    return Reconciliation(events, events, ids_compared=compared, checksums_compared=compared)


@dataclass(slots=True)
class _Loads:
    """Several load generators as one (protocol Source)."""

    folders: Sequence[Path]
    loads: Sequence[Load]

    @property
    def pid(self) -> Pids:
        return tuple(one.pid for one in self.loads)

    @property
    def acknowledged(self) -> int:
        return self.acknowledged_now()

    @property
    def sent(self) -> list[Sent]:
        """What each has sent, once it has stopped."""
        return [one.sent for one in self.loads]

    def acknowledged_now(self) -> int:
        """Return how many events were acknowledged so far."""
        return sum(one.acknowledged for one in self.loads)

    def tell_received(self, events: int) -> None:
        """Nothing to tell: ingest alone waits for no arrival."""

    def stop(self) -> None:
        """Stop all."""
        for one in self.loads:
            one.stop()

    def answer_times(self) -> dict[str, float]:
        """Return the times to the answers, medians over the generators; they have ended."""
        each = [answer_times(folder) for folder in self.folders]
        return {name: statistics.median([one[name] for one in each]) for name in each[0]}


@contextlib.contextmanager
def _together(folder: Path, each: Sequence[Service], plan: LoadPlan, run: str) -> Iterator[_Loads]:
    """Run a load generator for each of several services until the block ends."""
    with ExitStack() as stack:
        folders, loads = [], []
        for number, one in enumerate(each):
            folders.append(folder / str(number))
            folders[-1].mkdir(parents=True)

            def request(port: int, key: str, events: list[bytes], org_id: str = one.org_id) -> bytes:
                return ingest_request(port, key, events).replace(ORG_ID.encode(), org_id.encode())

            load = wrk(folders[-1], one.port, one.key, plan, f"{run}{number:02d}", request=request)
            loads.append(stack.enter_context(load))
        yield _Loads(folders, loads)


ON_POSTGRES = (
    Workload(
        "P1",
        "S10 on PostgreSQL, and on SQLite",
        ingest,
        targets={"rate × SQLite": 0.6, "API CPU × SQLite": 0.5},
    ),
    Workload(
        "P2",
        "S10 on PostgreSQL with a quorum standby, and without",
        ingest_with_standby,
        targets={"rate × alone": 0.7},
    ),
    Workload(
        "P3",
        "S2 and S3 on PostgreSQL, and on SQLite",
        end_to_end,
        targets={"S2 rate × SQLite": 0.7, "S3 rate × SQLite": 0.7},
    ),
    Workload(
        "P4",
        "S5 on PostgreSQL, and on SQLite",
        latency,
        targets={"p50 ms over SQLite": 2.0, "p99 × SQLite": 2.0},
    ),
    Workload("P5", "S6 on PostgreSQL, and S2 on PostgreSQL", fan_out, targets={"rate × S2": 0.8}),
    Workload(
        "P6",
        "one organization from 4 API processes on PostgreSQL, and four organizations",
        hot_organization,
        targets={"rate × four organizations": 0.6},
    ),
    Workload("P7", "S8 on PostgreSQL", idle_on_postgres, targets={"worker and database % of a core": 5.0}),
)
