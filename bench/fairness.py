"""The workload about fairness, S16: what other clients lose by two that hold connections, bodies and answers without end."""

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .events import ORG_ID, event_body
from .latency import quantile
from .plan import Options, Round, Workload
from .processes import memory_mib, running, scratch, wait_until
from .reconcile import Reconciliation, together
from .service import Service, aegis, tail
from .turns import by_turns, ratio

OPERATOR_KEY = "aegis_op_benchmark-operator-key-0123456789"
CLIENTS = 20
PAIRS = 4
LISTED = 2_000
"""Events of the attacker's organization, so that its lists are large."""
HOLD_S = 20.0
"""Longest time for the attackers to open their connections once, seconds."""
ATTACKS = (("unread", 4_200), ("bodies", 300), ("lists", 100))
"""What the attackers send, and how many connections each holds: more together than the service has places."""
PLACES = {"other addresses": True, "one address": False}
"""Where the clients are, seen from the attackers: each at an address of its own, or all at the attackers'."""


@dataclass(slots=True)
class Scene:
    """A service, its well-behaved clients, and the address from which the others come.

    Args:
        clients: source address, organization and key of each.
        sent: how many events of each client were acknowledged so far.
        failed: what went wrong for each client.
        mib: most memory that the API's processes have had.
    """

    folder: Path
    service: Service
    clients: list[tuple[str, str, str]]
    attacker: str
    sent: list[int] = field(default_factory=lambda: [0] * CLIENTS)
    failed: list[set[str]] = field(default_factory=lambda: [set() for _ in range(CLIENTS)])
    runs: int = 0
    mib: float = 0.0

    def turn(self, seconds: float) -> list[float]:
        """Let the clients send for a while; return the milliseconds of all answers."""
        self.runs += 1
        listed, out, log = self.folder / "clients.txt", self.folder / "seen.json", self.folder / "clients.log"
        listed.write_text("".join(f"{' '.join(one)}\n" for one in self.clients))
        run = f"r{self.runs:02d}"
        command = [
            sys.executable,
            "-m",
            "bench.clients",
            str(self.service.port),
            listed,
            str(seconds),
            run,
            out,
        ]
        with running(command, log=log) as process:
            deadline = time.monotonic() + seconds + 60
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
        if process.returncode != 0:
            raise RuntimeError(f"the clients failed: {tail(log)}")
        self.mib = memory_mib(tuple(self.service.api_pids), "VmHWM")
        seen = json.loads(out.read_text())
        for number, one in enumerate(seen):
            self.sent[number] += len(one["ms"])
            self.failed[number].update(one["failed"])
        return [ms for one in seen for ms in one["ms"]]

    def attacked(self, seconds: float, kinds: Sequence[tuple[str, int]]) -> list[float]:
        """Do the same while attackers hold what they can."""
        with contextlib.ExitStack() as stack:
            logs = []
            for kind, count in kinds:
                log = self.folder / f"attack-{kind}.log"
                log.unlink(missing_ok=True)
                command = [sys.executable, "-m", "bench.attack", kind, str(self.service.port), self.attacker]
                stack.enter_context(running([*command, self.service.key, str(count)], log=log))
                logs.append(log)
            wait_until("the attack", lambda: all("holds" in log.read_text() for log in logs), HOLD_S)
            return self.turn(seconds)


@contextlib.contextmanager
def scene(folder: Path, options: Options, *, apart: bool) -> Iterator[Scene]:
    """Run a service with its clients until the block ends.

    Args:
        apart: each client has an address of its own; otherwise all of them share the attackers'.
    """
    folder.mkdir()
    extra = {"AEGIS_OPERATOR_KEY": OPERATOR_KEY}
    processes = options.api_processes or 1
    with aegis(folder / "data", program=options.program, api_processes=processes, extra=extra) as service:
        clients = []
        for number in range(CLIENTS):
            org_id = f"org_{number:03d}"
            made = service.call("POST", "/api/orgs", {"name": org_id, "id": org_id}, OPERATOR_KEY)
            clients.append((f"127.0.0.{2 + number}" if apart else "127.0.0.1", org_id, made["api_key"]))
        for start in range(0, LISTED, 1_000):
            events = [json.loads(event_body("lst", number)) for number in range(start, start + 1_000)]
            service.call("POST", f"/api/orgs/{ORG_ID}/events", events)
        yield Scene(folder, service, clients, "127.0.0.99" if apart else "127.0.0.1")


def reconcile(one: Scene) -> Reconciliation:
    """Compare the log of every client's organization with what was acknowledged. Raises: RuntimeError on any difference."""
    for number, (_, org_id, key) in enumerate(one.clients):
        events = one.sent[number]
        path = f"/api/orgs/{org_id}/events?after_sequence={events - 1}&limit=2"
        found = [each["sequence"] for each in one.service.call("GET", path, key=key)["data"]]
        if found != [events] and not one.failed[number]:
            raise RuntimeError(
                f"reconciliation failed: {events} events of {org_id} were acknowledged, and its log ends with {found}"
            )
    return Reconciliation(sum(one.sent), sum(one.sent))


def beside_attackers(options: Options) -> Round:
    """S16: 20 clients beside attackers from another address, and from their own."""
    figures: dict[str, float] = {}
    notes: dict[str, float] = {}
    counts: list[Reconciliation] = []
    seconds = max(1.0, options.seconds / PAIRS)
    with scratch("ours") as folder:
        for place, apart in PLACES.items():
            with scene(folder / place.partition(" ")[0], options, apart=apart) as one:
                one.turn(options.warm_up_s)
                pairs = by_turns(
                    lambda one=one: quantile(one.turn(seconds), 0.99),
                    lambda one=one: quantile(one.attacked(seconds, ATTACKS), 0.99),
                    PAIRS,
                )
                counts.append(reconcile(one))
            figures |= {
                f"{place}: clients without an answer": sum(map(bool, one.failed)),
                f"{place}: p99 × alone": ratio(pairs),
                f"{place}: api MiB": one.mib,
            }
            notes |= {
                f"{place}: p99 ms alone": statistics.median([alone for alone, _ in pairs]),
                f"{place}: p99 ms": statistics.median([attacked for _, attacked in pairs]),
            }
    return Round(figures, together(counts), notes=notes)


FAIRNESS = (
    Workload(
        "S16",
        "20 clients beside one that holds connections and one that sends unfinished bodies and reads no lists",
        beside_attackers,
        targets={
            f"{place}: {figure}": value
            for place in PLACES
            for figure, value in (
                ("clients without an answer", 0.0),
                ("p99 × alone", 3.0),
                ("api MiB", 300.0),
            )
        },
    ),
)
