"""A person looks at what a destination did over time: the drawing, its table and the API tell what the receiver saw."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support.browser import LOOKS
from support.destinations import OrganizationApi
from support.processes import free_port
from support.service import wait_until
from support.serving import serving

PLAN = [503, 429, 404, 302] * 3
"""What the receiver answers first; then it takes everything."""
CLASSES = {302: "3xx", 404: "4xx", 429: "429", 503: "5xx"}
EVENTS = 40


class Ledger:
    """A receiver that counts each event by what it answered."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                with outer.lock:
                    number = outer.answers.total()
                    status = PLAN[number] if number < len(PLAN) else 202
                    outer.answers[status] += 1
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/in"

    def counted(self) -> dict[str, int]:
        """Return events taken, and failed attempts by class."""
        with self.lock:
            failed = {CLASSES[status]: count for status, count in self.answers.items() if status != 202}
            return {"delivered": self.answers[202], **failed}


@contextmanager
def ledger() -> Iterator[Ledger]:
    """Run such a receiver until the block ends."""
    one = Ledger()
    with serving(one.server):
        yield one


class Api(OrganizationApi):
    """The organization's API, and what these tests do by it."""

    def destination(self, url: str) -> str:
        """Make a destination that gets each event in a request of its own; return its id."""
        body = {
            "url": url,
            "name": "Elastic prod",
            "format": "json",
            "retry": {"max_attempts": 20, "base_seconds": 0.05, "max_seconds": 0.5},
        }
        return str(self.call("POST", "/forwarding-destinations", json=body)["id"])

    def send(self, count: int) -> None:
        """Record so many events."""
        for number in range(count):
            self.call("POST", "/events", json={"event": {"id": f"evt_{number}"}})

    def timeline(self, dst_id: str) -> dict[str, int]:
        """Return the totals of the last day."""
        total = self.call("GET", f"/forwarding-destinations/{dst_id}/timeline")["total"]
        return {
            "delivered": total["delivered"],
            **{name: count for name, count in total["failed"].items() if count},
        }


def number_of(text: str) -> int:
    """Read a number as the console writes it."""
    return int(text.replace(",", ""))


def shown(visitor) -> dict[str, int]:
    """Return the totals beside the drawing."""
    found = {
        one.get_attribute("data-total"): number_of(one.inner_text())
        for one in visitor.page.locator("li:not(.none) > [data-total]").all()
    }
    return {"delivered" if name == "good" else name.removeprefix("c"): count for name, count in found.items()}


def drawn(visitor) -> dict[str, int]:
    """Return what the titles of the bars say, added up."""
    added: Counter[str] = Counter()
    for title in visitor.page.locator(".bars a:not(.none) > title").all_text_contents():
        for part in title.split(" UTC: ")[1].split(", "):
            count, name = part.split(" × " if " × " in part else " ", 1)
            added[name] += number_of(count)
    return dict(added)


def tabled(visitor) -> dict[str, int]:
    """Return the rows of the table, added up; its last row is compared with them."""
    visitor.page.get_by_text("The same as a table").click()
    added: Counter[str] = Counter()
    rows = visitor.page.locator("table.twin tbody tr").all()
    read = []
    for row in rows:
        counts = Counter({"delivered": number_of(row.locator('[data-label="Delivered"]').inner_text())})
        of_these = row.locator('[data-label="Of these"]').inner_text()
        for part in of_these.split(", ") if of_these != "–" else ():
            count, name = part.split(" × ")
            counts[name] += number_of(count)
        read.append(counts)
    for counts in read[:-1]:
        added.update(counts)
    assert +read[-1] == +added, "the last row is the sum of the others"
    return dict(added)


@pytest.mark.stores
@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_totals_are_what_the_receiver_counted(service, organization, visitor):
    """Acceptance 17: drawing, table twin, overview and API hold the receiver's own numbers, by class of answer."""
    api = Api(service, organization)
    with ledger() as receiver:
        dst_id = api.destination(receiver.url)
        api.send(EVENTS)
        wait_until(lambda: receiver.counted()["delivered"] == EVENTS)
        wait_until(lambda: api.timeline(dst_id)["delivered"] == EVENTS)
        expected = receiver.counted()

        assert api.timeline(dst_id) == expected
        visitor.open(f"/console/o/{organization.org_id}")
        visitor.page.get_by_text(f"{EVENTS} delivered, {len(PLAN)} failed", exact=True).wait_for()
        visitor.look_over("overview-strip")
        visitor.page.get_by_role("rowheader", name="Elastic prod").get_by_role("link").click()
        visitor.page.get_by_role("heading", name="Over time").wait_for()
        assert shown(visitor) == drawn(visitor) == expected
        visitor.look_over("health-history")
        visitor.page.get_by_role("link", name="1 h", exact=True).click()
        visitor.page.wait_for_url("**range=1h")
        assert shown(visitor) == tabled(visitor) == expected
        visitor.look_over("health-history-table")


def test_without_scripts_a_span_is_a_link(service, organization, open_window):
    """The spans, the bars and the table work without JavaScript; a cell of the overview leads to its quarter of an hour in minutes."""
    api = Api(service, organization)
    dst_id = api.destination(f"http://127.0.0.1:{free_port()}/in")
    api.send(1)
    wait_until(lambda: api.timeline(dst_id).get("network", 0) >= 1)
    visitor = open_window(scripts=False)
    visitor.sign_in(organization.key)

    cell = visitor.page.locator(".strip a:not(.none)").last
    visitor.open(cell.get_attribute("href"))
    visitor.page.get_by_role("heading", name="Over time").wait_for()
    steps = drawn(visitor)
    visitor.page.get_by_text("The same as a table").click()
    visitor.page.locator("table.twin th a").first.click()
    visitor.page.wait_for_url("**/attempts?state=failed&since=**")

    assert steps["no answer"] >= 1
    assert visitor.page.get_by_text("connection refused").count() >= 1
