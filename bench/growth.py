"""The workloads about size: S7 (a backlog), S8 (many idle destinations), S11 (a long log)."""

import contextlib
import http.client
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .events import event_body
from .latency import clocked, quantile
from .load import NO_LIMIT, LoadPlan, wrk
from .measure import measure
from .processes import Cpu, memory_mib, scratch, wait_until
from .receiver import Receiver, nginx
from .service import Service, aegis
from .workloads import BATCHED, Options, Round, Workload, check_counters, tuned

FILL = LoadPlan(connections=8, backlog_max=NO_LIMIT)
FILL_S = 3600.0
ORGANIZATIONS, DESTINATIONS_EACH = 1_000, 10
OPERATOR_KEY = "aegis_op_benchmark-operator-key-0123456789"
SAMPLE = 20
"""Organizations that get an event in S8."""


def fill(folder: Path, service: Service, events: int, run: str) -> int:
    """Record at least `events` events as fast as ingest goes; return how many."""
    with wrk(folder, service.port, service.key, FILL, run) as load:
        wait_until(f"{events} events in the log", lambda: load.acknowledged >= events, FILL_S, 0.01)
        load.stop()
        return load.acknowledged


def backlog(options: Options) -> Round:
    """S7: a paused destination is resumed; in the middle of the backlog the service is stopped and started again."""
    with scratch("ours") as folder, nginx(folder / "nginx") as receiver:
        data = folder / "data"
        with aegis(data) as service:
            key = service.key
            destination = service.add_destination(receiver.url)
            path = f"/api/orgs/org_abc/forwarding-destinations/{destination}"
            service.call("POST", path + "/pause", {})
            events = fill(folder, service, options.backlog_events, "fil")
            before, began_s = Cpu.of({**service.pids, "nginx": receiver.pid}), time.monotonic()
            service.call("POST", path + "/resume", {})
            first = _drain(receiver, int(events * 0.6))
            took_s = time.monotonic() - began_s
            used = Cpu.of({**service.pids, "nginx": receiver.pid}).since(before)
            worker_mib = memory_mib(service.worker_pid, "VmHWM")
        stopped_at, began_s = receiver.received(), time.monotonic()
        with aegis(data, key=key) as service:
            # `aegis` returns when the API answers; the worker is at work by then, or soon after.
            wait_until("the first POST", lambda: receiver.received() > stopped_at, 60, 0.002)
            restart_s = time.monotonic() - began_s
            _drain(receiver, events)
            worker_mib = max(worker_mib, memory_mib(service.worker_pid, "VmHWM"))
            check_counters(service, [destination], events)
        repeated = receiver.received() - events
        if repeated != 0:
            raise RuntimeError(f"reconciliation failed: {repeated} more received than recorded")
        return Round(
            {"rate": first / took_s, "worker MiB": worker_mib, "restart to first POST s": restart_s},
            {name: 1e6 * seconds / first for name, seconds in used.items()},
            notes={"events": events},
        )


def _drain(receiver: Receiver, wanted: int) -> int:
    """Wait until at least `wanted` events have arrived. Raises: RuntimeError when nothing arrives for 30 s."""
    arrived, last_s = receiver.received(), time.monotonic()
    while arrived < wanted:
        time.sleep(0.01)
        now = receiver.received()
        if now != arrived:
            arrived, last_s = now, time.monotonic()
        elif time.monotonic() - last_s > 30:
            raise RuntimeError(f"{arrived} of {wanted} have arrived, and nothing more for 30 s")
    return arrived


def idle_crowd(options: Options) -> Round:
    """S8: 10,000 destinations of 1,000 organizations with nothing to do; then an event to some of them."""
    with (
        scratch("ours") as folder,
        clocked(folder, "receiver") as receiver,
        _with_operator(folder) as service,
    ):
        keys = _populate(service, receiver.url("ok", 0))
        time.sleep(3)
        before, began_s = Cpu.of(service.pids), time.monotonic()
        time.sleep(max(options.seconds, 5))
        used, took_s = Cpu.of(service.pids).since(before), time.monotonic() - began_s
        memory = {name: memory_mib(pid) for name, pid in service.pids.items()}
        delays_from: dict[int, int] = {}
        chosen = random.Random(7).sample(sorted(keys), SAMPLE)
        for number, org_id in enumerate(chosen, 1):
            event = json.loads(event_body("run0", number, "org_abc"))
            event["organization"]["id"] = org_id
            service.call("POST", f"/api/orgs/{org_id}/events", event, key=keys[org_id])
            delays_from[number] = time.monotonic_ns()
            time.sleep(0.1)
        time.sleep(2)
        arrivals = receiver.arrivals().get(0, {})
        delays = []
        for number, acked_ns in delays_from.items():
            times = arrivals.get(number, [])
            if len(times) != DESTINATIONS_EACH:
                raise RuntimeError(
                    f"reconciliation failed: event {number} arrived {len(times)} times, not 10"
                )
            delays += [(at_ns - acked_ns) / 1e6 for at_ns in times]
        return Round(
            {
                "idle % of a core": 100 * sum(used.values()) / took_s,
                "api + worker MiB": sum(memory.values()),
                "wake p50 ms": quantile(delays, 0.5),
                "wake max ms": max(delays),
            },
            notes={f"{name} idle %": 100 * seconds / took_s for name, seconds in used.items()}
            | {f"{name} MiB": value for name, value in memory.items()},
        )


def _with_operator(folder: Path) -> contextlib.AbstractContextManager[Service]:
    return aegis(folder / "data", extra={"AEGIS_OPERATOR_KEY": OPERATOR_KEY})


def _populate(service: Service, url: str) -> dict[str, str]:
    """Make the organizations and their destinations through REST; return the organizations' keys."""
    numbers = range(ORGANIZATIONS)
    with ThreadPoolExecutor(8) as threads:
        shares = [numbers[start::8] for start in range(8)]
        made = threads.map(lambda share: _populate_some(service.port, share, url), shares)
        return {org_id: key for some in made for org_id, key in some.items()}


def _populate_some(port: int, numbers: range, url: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for number in numbers:
            org_id = f"org_{number:05d}"
            made = _post(connection, "/api/orgs", OPERATOR_KEY, {"name": org_id, "id": org_id})
            keys[org_id] = made["api_key"]
            for _ in range(DESTINATIONS_EACH):
                _post(connection, f"/api/orgs/{org_id}/forwarding-destinations", keys[org_id], {"url": url})
    return keys


def _post(connection: http.client.HTTPConnection, path: str, key: str, body: object) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 201:
        raise RuntimeError(f"POST {path}: {answer.status} {text[:300]!r}")
    found: dict[str, str] = json.loads(text)
    return found


def long_log(options: Options) -> Round:
    """S11: S2 with a twentieth of the events in the log already, and with all of them."""
    small, _ = _preloaded(options, options.backlog_events // 20)
    large, events = _preloaded(options, options.backlog_events)
    return Round(
        {"rate": large, "slower than at a twentieth %": 100 * (1 - large / small)},
        notes={"rate at a twentieth": small, "events": events},
    )


def _preloaded(options: Options, events: int) -> tuple[float, int]:
    with scratch("ours") as folder, nginx(folder / "nginx") as receiver, aegis(folder / "data") as service:
        found = fill(folder, service, events, "fil")
        service.add_destination(receiver.url)
        rate = 0.0
        for name, seconds in (("wrm", 2.0), ("run", options.seconds)):
            with wrk(folder, service.port, service.key, tuned(BATCHED, options), name) as load:
                rate = measure(
                    load,
                    receiver.received,
                    seconds=seconds,
                    ours=service.pids,
                    others={"nginx": receiver.pid},
                ).rate
        return rate, found


SIZES = (
    Workload(
        "S7",
        "a backlog drains (--events)",
        backlog,
        targets={"worker MiB": 200.0, "restart to first POST s": 2.0},
    ),
    Workload(
        "S8",
        "10,000 idle destinations of 1,000 organizations",
        idle_crowd,
        targets={"idle % of a core": 3.0, "api + worker MiB": 200.0, "wake max ms": 50.0},
    ),
    Workload(
        "S11",
        "S2 with a long log (--events; a twentieth of it, and all)",
        long_log,
        targets={"slower than at a twentieth %": 10.0},
    ),
)
