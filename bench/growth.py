"""The workloads about size: S7 (a backlog), S8 (many idle destinations), S11 (a long log)."""

import contextlib
import hashlib
import http.client
import json
import random
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from .deployment import deployed, drain, fill, memory_now, need_log, serving, side_by_side, tuned
from .events import Sent, event_body
from .latency import Arrival, clocked, quantile
from .plan import Options, Round, Workload, company_of, cpu_of, memory_of
from .processes import Cpu, scratch, wait_until
from .receiver import Receiver, nginx
from .reconcile import Reconciliation, check_contents, check_counters, check_head
from .service import Service
from .turns import ratio, ratio_spread
from .workloads import BATCHED

ORGANIZATIONS, DESTINATIONS_EACH = 1_000, 10
OPERATOR_KEY = "aegis_op_benchmark-operator-key-0123456789"
SAMPLE = 20
"""Organizations that receive an event in S8."""
SETTLE_S = 3.0
SHORT = 20
"""The long log of S11 is this many times as long as the short one."""


def backlog(options: Options) -> Round:
    """S7: resume a paused destination; in the middle of the backlog, stop the service and start it again."""
    need_log(options.backlog_events)
    with scratch("ours") as folder, nginx(folder / "nginx") as receiver:
        data = folder / "data"
        with serving(data, options) as service:
            key, destination = service.key, service.add_destination(receiver.url)
            path = f"/api/orgs/org_abc/forwarding-destinations/{destination}"
            service.call("POST", path + "/pause", {})
            began_s = time.monotonic()
            sent = fill(folder, service, options.backlog_events, options)
            fill_s = time.monotonic() - began_s
            before, began_s = Cpu.of({**service.pids, "nginx": receiver.pid}), time.monotonic()
            service.call("POST", path + "/resume", {})
            first = drain(receiver, int(sent.count * 0.6))
            took_s = time.monotonic() - began_s
            used = Cpu.of({**service.pids, "nginx": receiver.pid}).since(before)
            memory = memory_now(service)
        stopped_at, began_s = receiver.received(), time.monotonic()
        with serving(data, options, key=key) as service:
            # The service is ready when the API answers; the worker may need a moment longer.
            wait_until("the first POST", lambda: receiver.received() > stopped_at, 60, 0.002)
            restart_s = time.monotonic() - began_s
            drain(receiver, sent.count)
            for name, seen in memory_now(service).items():
                memory[name]["last"] = seen["last"]
                memory[name]["peak"] = max(memory[name]["peak"], seen["peak"])
            counts = _reconcile_backlog(service, receiver, destination, sent, options)
        worker_mib = max(seen["peak"] for name, seen in memory.items() if name != "api")
        return Round(
            {"rate": first / took_s, "worker MiB": worker_mib, "restart to first POST s": restart_s},
            counts,
            {name: 1e6 * seconds / first for name, seconds in used.items()},
            memory,
            {"fill events/s": sent.count / fill_s, "seconds": took_s},
        )


def _reconcile_backlog(
    service: Service, receiver: Receiver, destination: str, sent: Sent, options: Options
) -> Reconciliation:
    """Compare the whole backlog, across the restart. Raises: RuntimeError, TimeoutError on any difference."""
    check_counters(service, [destination], sent.count)
    check_head(service, sent.count)
    received, size = receiver.received(), receiver.body_bytes()
    if received != sent.count or size != received * receiver.bytes_an_event:
        raise RuntimeError(
            f"reconciliation failed: {sent.count:,} recorded, {received:,} received in {size:,} bytes"
        )
    compared = check_contents(service, [sent], 1, options.checked_max)
    return Reconciliation(
        sent.count, received, body_bytes=size, ids_compared=compared, checksums_compared=compared
    )


def idle_crowd(options: Options) -> Round:
    """S8: 10,000 idle destinations of 1,000 organizations; then an event to some of them."""
    with (
        scratch("ours") as folder,
        clocked(folder, "receiver") as receiver,
        serving(folder / "data", options, extra={"AEGIS_OPERATOR_KEY": OPERATOR_KEY}) as service,
    ):
        keys = _populate(service, [receiver.url("ok", number) for number in range(DESTINATIONS_EACH)])
        time.sleep(SETTLE_S)
        everyone = {**service.pids, **service.others}
        before, began_s = Cpu.of(everyone), time.monotonic()
        time.sleep(max(options.seconds, 5))
        used, took_s = Cpu.of(everyone).since(before), time.monotonic() - began_s
        memory = memory_now(service)
        chosen = random.Random(7).sample(sorted(keys), SAMPLE)
        acked = _wake(service, {org_id: keys[org_id] for org_id in chosen})
        time.sleep(2)
        for name, seen in memory_now(service).items():
            memory[name]["last"], memory[name]["peak"] = seen["last"], seen["peak"]
        delays = _delays(receiver.arrivals(), acked)
        return Round(
            {
                "idle % of a core": 100 * sum(used.values()) / took_s,
                "all processes MiB": sum(max(seen["first"], seen["last"]) for seen in memory.values()),
                "wake p50 ms": quantile(delays, 0.5),
                "wake max ms": max(delays),
            },
            Reconciliation(
                SAMPLE,
                len(delays),
                DESTINATIONS_EACH,
                ids_compared=len(delays),
                checksums_compared=len(delays),
            ),
            memory_mib=memory,
            notes={f"{name} idle %": 100 * seconds / took_s for name, seconds in used.items()},
        )


def _wake(service: Service, keys: Mapping[str, str]) -> dict[bytes, tuple[int, bytes]]:
    """Send an event to each organization; return the time of its ack and the SHA-256 of its body, by the key of its id."""
    acked: dict[bytes, tuple[int, bytes]] = {}
    for number, (org_id, key) in enumerate(keys.items()):
        event = json.loads(event_body("run", number))
        event["organization"]["id"] = org_id
        service.call("POST", f"/api/orgs/{org_id}/events", event, key=key)
        digest = hashlib.sha256(json.dumps(event).encode()).digest()  # in the spelling of `call`
        acked[Sent("run", 0, SAMPLE).key(number)] = time.monotonic_ns(), digest
        time.sleep(0.1)
    return acked


def _delays(arrivals: Mapping[int, list[Arrival]], acked: Mapping[bytes, tuple[int, bytes]]) -> list[float]:
    """Return the milliseconds from ack to arrival of each event at each destination. Raises: RuntimeError on any difference."""
    delays = []
    for number in range(DESTINATIONS_EACH):
        found = arrivals.get(number, [])
        wanted = sorted((key, digest) for key, (_, digest) in acked.items())
        if sorted((one.key, one.digest) for one in found) != wanted:
            raise RuntimeError(
                f"reconciliation failed: {len(found)} events at the destinations no. {number} of {len(acked)} organizations, "
                "or not the ones that were sent"
            )
        delays += [(one.at_ns - acked[one.key][0]) / 1e6 for one in found]
    return delays


def _populate(service: Service, urls: list[str]) -> dict[str, str]:
    """Create the organizations and their destinations with REST calls; return the organizations' keys."""
    numbers = range(ORGANIZATIONS)
    with ThreadPoolExecutor(8) as threads:
        shares = [numbers[start::8] for start in range(8)]
        made = threads.map(lambda share: _populate_some(service.port, share, urls), shares)
        return {org_id: key for some in made for org_id, key in some.items()}


def _populate_some(port: int, numbers: range, urls: list[str]) -> dict[str, str]:
    keys: dict[str, str] = {}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for number in numbers:
            org_id = f"org_{number:05d}"
            made = _post(connection, "/api/orgs", OPERATOR_KEY, {"name": org_id, "id": org_id})
            keys[org_id] = made["api_key"]
            for url in urls:
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
    """S11: S2 with a long log, and with a log of a twentieth of its length, two services in turns."""
    need_log(options.log_events * (SHORT + 1) // SHORT)
    with (
        scratch("ours") as folder,
        nginx(folder / "nginx") as receiver,
        deployed(folder / "short", receiver, options, preload=max(1, options.log_events // SHORT)) as short,
        deployed(folder / "long", receiver, options, preload=options.log_events) as long,
    ):
        recorded = short.recorded, long.recorded
        pairs, counts = side_by_side(short, long, tuned(BATCHED, options), options)
    rates = [(one.rate, other.rate) for one, other in pairs]
    runs = [run for _, run in pairs]
    return Round(
        {
            "rate": statistics.median([rate for _, rate in rates]),
            "slower than at a twentieth %": 100 * (1 - ratio(rates)),
        },
        counts,
        cpu_of(runs),
        memory_of(runs),
        {
            "rate at a twentieth": statistics.median([rate for rate, _ in rates]),
            "events before, a twentieth": recorded[0],
            "events before": recorded[1],
            **ratio_spread(rates),
            **company_of(runs),
        },
    )


SIZES = (
    Workload(
        "S7",
        "a backlog drains",
        backlog,
        targets={"worker MiB": 200.0, "restart to first POST s": 2.0},
        base="S2",
        base_share=0.9,
    ),
    Workload(
        "S8",
        "10,000 idle destinations of 1,000 organizations",
        idle_crowd,
        targets={"idle % of a core": 3.0, "all processes MiB": 200.0, "wake max ms": 50.0},
    ),
    Workload(
        "S11",
        "as S2, with a long log; and with a twentieth of it",
        long_log,
        targets={"slower than at a twentieth %": 10.0},
    ),
)
