"""What pages cost that somebody leaves open: the CPU of the service for ten live tabs. `python -m bench.live`.

The tabs are streams of the console's overview over as many connections, read by a client whose CPU is not counted. A second part
of the time one event a second is recorded, so that every tab is told something else each second. The service has no workers;
what its destinations did is written into the store, so that every cell of every strip is drawn.
"""

import argparse
import http.client
import json
import threading
import time

from .console import add_history, signed_in
from .processes import cpu_seconds, scratch
from .service import Service, aegis

TABS, DESTINATIONS, SECONDS = 10, 10, 30
SHARE_MAX = 0.02
"""Target: ten tabs cost at most so much of a core."""


def main() -> None:
    """Measure the service alone and with tabs open, while nothing happens and while events come; print a table."""
    options = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    options.add_argument("--tabs", type=int, default=TABS)
    options.add_argument("--destinations", type=int, default=DESTINATIONS)
    options.add_argument("--seconds", type=float, default=SECONDS)
    chosen = options.parse_args()
    with scratch("live") as folder, aegis(folder / "data", workers=0) as service:
        for number in range(chosen.destinations):
            service.add_destination(f"http://127.0.0.1:18099/{number}", name=f"Destination {number}")
        add_history(folder / "data" / "aegis.db", time.time_ns() // 1000)
        service.settle()
        alone = [share(service, chosen.seconds, events=with_events) for with_events in (False, True)]
        tabs = [Tab(service) for _ in range(chosen.tabs)]
        together = [share(service, chosen.seconds, events=with_events) for with_events in (False, True)]
        told = sum(tab.messages for tab in tabs)
        for tab in tabs:
            tab.close()
    print(
        f"{chosen.tabs} tabs, {chosen.destinations} destinations, {chosen.seconds:.0f} s each; {told:,} messages"
    )
    print("| | no tab, % of a core | with the tabs | the tabs | target |")
    print("| --- | --- | --- | --- | --- |")
    for name, without, beside in zip(("nothing happens", "an event a second"), alone, together, strict=True):
        cost = beside - without
        verdict = "kept" if cost <= SHARE_MAX else "missed"
        print(f"| {name} | {without:.2%} | {beside:.2%} | {cost:.2%} | {SHARE_MAX:.0%}: {verdict} |")


def share(service: Service, seconds: float, *, events: bool) -> float:
    """Return the share of a core that the service uses during some seconds; with an event recorded in each, if wanted."""
    before, began_s = cpu_seconds(tuple(service.api_pids)), time.monotonic()
    number = 0
    while time.monotonic() - began_s < seconds:
        if events:
            record(service, f"live{began_s:.0f}-{number}")
        number += 1
        time.sleep(max(0.0, began_s + number - time.monotonic()))
    return (cpu_seconds(tuple(service.api_pids)) - before) / (time.monotonic() - began_s)


def record(service: Service, name: str) -> None:
    """Record one event. Raises: RuntimeError when it is not accepted."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "application/json"}
    body = json.dumps({"event": {"id": name}, "message": "Somebody signed in."})
    connection.request("POST", f"/api/orgs/{service.org_id}/events", body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 202:
        raise RuntimeError(f"an event was answered {answer.status}")


class Tab:
    """One open page: a stream that a thread reads.

    `messages` counts what it was told.
    """

    def __init__(self, service: Service) -> None:
        signing, cookie = signed_in(service)
        signing.close()
        self.messages = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        headers = {"Cookie": cookie, "Accept": "text/event-stream"}
        self._connection.request("GET", f"/console/o/{service.org_id}/live?drawn=day", headers=headers)
        self._answer = self._connection.getresponse()
        if self._answer.status != 200:
            raise RuntimeError(f"a stream was answered {self._answer.status}")
        self._over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the page."""
        self._over = True
        self._thread.join(30)
        self._connection.close()

    def _read(self) -> None:
        while not self._over:
            line = self._answer.readline()
            if not line:
                raise RuntimeError("a stream ended while it was measured")
            self.messages += line.startswith(b"data: ")


if __name__ == "__main__":
    main()
