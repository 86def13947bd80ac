"""How fast the console's pages are where there is much: a million events and 50 destinations. `python -m bench.console`.

The pages are asked for one after the other over one connection, by a client on the same machine. The service has no workers, so
that nothing else runs; every destination has all events waiting. What destinations did over time is written into the store: each step
of two days and of 90, as if they were busy all the time, with a failure in every tenth.
"""

import argparse
import contextlib
import gzip
import http.client
import json
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import apsw

from .latency import quantile
from .processes import scratch
from .service import Service, aegis

EVENTS, DESTINATIONS = 1_000_000, 50
PER_REQUEST = 10_000
ROUNDS = 100
P95_MS = 100.0
"""Target of every page that has one."""
STATIC = Path(__file__).parents[1] / "src" / "aegis_stream" / "console" / "static"
USERS = 997
DECISIONS = ("ALLOWED", "ALLOWED", "ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED")


def main() -> None:
    """Fill a store, and print a table: median, 95th percentile and size of each page."""
    options = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    options.add_argument("--events", type=int, default=EVENTS)
    options.add_argument("--destinations", type=int, default=DESTINATIONS)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = options.parse_args()
    limits = {"AEGIS_KEY_CALLS_PER_SECOND": "10000", "AEGIS_DESTINATIONS_MAX": "1000"}
    with scratch("console") as folder, aegis(folder / "data", workers=0, extra=limits) as service:
        ids = [
            service.add_destination(f"http://127.0.0.1:18099/{number}", name=f"Destination {number}")
            for number in range(chosen.destinations)
        ]
        add_history(folder / "data" / "aegis.db", time.time_ns() // 1000)
        took_s = fill(service, chosen.events)
        print(f"{chosen.events:,} events and {chosen.destinations} destinations; filled in {took_s:.0f} s")
        for line in table(service, ids[0], chosen.rounds):
            print(line)
    for line in sizes():
        print(line)


def fill(service: Service, count: int) -> float:
    """Record events of several kinds; returns seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "application/x-ndjson"}
    began_s = time.monotonic()
    for first in range(0, count, PER_REQUEST):
        body = b"\n".join(event(number) for number in range(first, min(count, first + PER_REQUEST)))
        connection.request("POST", f"/api/orgs/{service.org_id}/events", body, headers)
        answer = connection.getresponse()
        told = answer.read()
        if answer.status != 202:
            raise RuntimeError(f"events were not recorded: {answer.status} {told[:300]!r}")
    connection.close()
    return time.monotonic() - began_s


def add_history(database: Path, now: int) -> None:
    """Write what every destination did over time, up to now, microseconds since 1970."""
    with contextlib.closing(apsw.Connection(str(database))) as raw, raw:
        raw.set_busy_timeout(60_000)
        for organization_no, destination_no in raw.execute(
            "SELECT org_no, dst_no FROM destinations"
        ).fetchall():
            for step_s, kept_s in ((60, 2 * 86_400), (900, 2 * 86_400), (3600, 90 * 86_400)):
                newest = now // (step_s * 1_000_000)
                rows = (
                    (organization_no, destination_no, step_s, number * step_s * 1_000_000, *step(number))
                    for number in range(newest - kept_s // step_s, newest + 1)
                )
                raw.executemany(f"INSERT INTO rollups VALUES ({', '.join('?' * 29)}, 0)", rows)


def step(number: int) -> tuple[int, ...]:
    """Return what a destination did in one step: delivered, failed by class, latencies by place, what waited."""
    failed = (0, 0, 0, number % 10 == 0, 0, 0)
    latencies = [0] * 17
    latencies[3] = latencies[5] = 40
    return (100 + number % 50, *failed, *latencies, number % 30)


def event(number: int) -> bytes:
    """Return one event: a decision, or one of another dataset."""
    common = {"event": {"id": f"e{number:09d}"}, "user": {"id": f"user{number % USERS}"}}
    if number % 3:
        decision = DECISIONS[number % len(DECISIONS)]
        common["event"]["dataset"] = "aegis.preflight"
        text = {"aegis": {"decision": decision, "summary": f"Decision number {number}."}}
    else:
        common["event"] |= {"dataset": f"app.{number % 7}", "action": "login"}
        text = {"message": f"Somebody signed in, number {number}."}
    return json.dumps(common | text, separators=(",", ":")).encode()


def pages(service: Service, destination_id: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the name and the path of each page, and whether it has a target: a search through bodies has none."""
    base = f"/console/o/{service.org_id}"
    destination = f"{base}/d/{quote(destination_id)}"

    def listed(line: str, **more: str) -> str:
        return f"{base}/events?{urlencode({'q': line, **more}, quote_via=quote)}"

    yield "P1 overview", base, True
    yield "P3 health, a day", destination, True
    yield "P3 health, a month", f"{destination}?range=30d", True
    yield "P5 events", listed(""), True
    yield "P5 events, in the middle", listed("", before="500000"), True
    yield "P5 events, last 15 minutes", listed("since:15m"), True
    yield "P5 events of a decision", listed("decision:BLOCKED"), True
    yield "P5 events of a user", listed("user.id:user42"), True
    yield "P5 a text that nothing has, 20,000 events", listed("absent"), False
    yield "P6 one event", f"{base}/events/e000000042", True


def table(service: Service, destination_id: str, rounds: int) -> Iterator[str]:
    """Measure the pages; yield the rows of a table. Raises: RuntimeError when a page is not answered."""
    connection, cookie = signed_in(service)
    yield "| page | median ms | p95 ms | HTML kB | target |"
    yield "| --- | --- | --- | --- | --- |"
    for name, path, has_target in pages(service, destination_id):
        times_ms, size = [], 0
        for number in range(rounds + 3):
            began_s = time.perf_counter()
            connection.request("GET", path, headers={"Cookie": cookie})
            answer = connection.getresponse()
            size = len(answer.read())
            if answer.status != 200:
                raise RuntimeError(f"{path} was answered {answer.status}")
            if number >= 3:  # the first ones compile templates and statements
                times_ms.append((time.perf_counter() - began_s) * 1000)
        p95 = quantile(times_ms, 0.95)
        target = "–" if not has_target else "kept" if p95 <= P95_MS else "missed"
        yield f"| {name} | {statistics.median(times_ms):.1f} | {p95:.1f} | {size / 1000:.0f} | {target} |"
    connection.close()


def signed_in(service: Service) -> tuple[http.client.HTTPConnection, str]:
    """Sign in; returns a connection, and the cookie of the session."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    connection.request("POST", "/console", urlencode({"key": service.key}), headers)
    answer = connection.getresponse()
    answer.read()
    found = re.match(r"[^;]+", answer.getheader("set-cookie") or "")
    if answer.status != 303 or found is None:
        raise RuntimeError(f"signing in was answered {answer.status}")
    return connection, found[0]


def sizes() -> Iterator[str]:
    """Yield what a browser loads beside the page, compressed."""
    for kind in ("js", "css"):
        size = sum(len(gzip.compress(one.read_bytes())) for one in STATIC.glob(f"*.{kind}"))
        yield f"{kind}: {size / 1000:.1f} kB compressed"


if __name__ == "__main__":
    main()
