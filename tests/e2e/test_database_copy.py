"""A service that was killed in the middle of its work, moved to another database, goes on there."""

import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support.postgres import shared_server
from support.processes import Client, kill, make_client, make_events, runs, service_group
from support.service import service_environment, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
FIRST = 30
"""Events of the first half, which are delivered before the copy."""
DEAD, RETRIED = "evt_000031", "evt_000032"
SECRET = "Bearer s3cret"


class Receiver(ThreadingHTTPServer):
    """Accepts the first half; rejects one event, fails another, and answers nothing about the rest until it is open."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.open = threading.Event()
        self.accepted: Counter[str] = Counter()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address) -> None:
        """Say nothing: the service was killed."""

    def status(self, event_id: str, authorization: str | None) -> int:
        """Decide about an event."""
        if authorization != SECRET:
            return 401
        if not self.open.is_set():
            if event_id in (DEAD, RETRIED):
                return 422 if event_id == DEAD else 500
            if int(event_id.removeprefix("evt_")) > FIRST:
                self.open.wait(60)
                return 0
        return 200


class Handler(BaseHTTPRequestHandler):
    """One request with one event."""

    protocol_version = "HTTP/1.1"
    server: Receiver

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event_id = json.loads(body)["event"]["id"]
        status = self.server.status(event_id, self.headers["Authorization"])
        if status == 0:  # the sender is gone
            self.close_connection = True
            return
        if status == 200:
            with self.server.lock:
                self.server.accepted[event_id] += 1
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run a receiver."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.open.set()
            server.shutdown()
            thread.join()


@pytest.fixture(params=["sqlite", "postgres"])
def target(request, tmp_path):
    """Return the URL of an empty database, and the settings of a service on it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/moved/data/aegis.db", {}
    else:
        with shared_server().database() as url:
            yield url, {"AEGIS_DATABASE_URL": url}


def status_of(client: Client, dst_id: str) -> tuple[int, int, int]:
    """Return how many events a destination delivered, has in retries, and in dead letters."""
    stats = client.stats(dst_id)
    return stats["delivered"], stats["retrying"], stats["dead_letters"]


def test_a_service_on_the_copy_delivers_exactly_the_rest(tmp_path, target):
    """Half delivered, a retry, a dead letter, a replay under way: what was settled is not sent again, everything else is."""
    url, settings = target
    moved = tmp_path / "moved"
    (moved / "data").mkdir(mode=0o700, parents=True)
    with (
        receiver() as main,
        receiver() as other,
        service_group(tmp_path, AEGIS_RETRY_BASE_SECONDS="1", AEGIS_AUTO_REDRIVE="false") as group,
    ):
        group.start()
        client = make_client(group)
        access = {"auth_header_name": "Authorization", "auth_header_value": SECRET}
        events = make_events(client.organization.org_id, 1, 60)
        dst_id = client.add_destination(main.url, **access)
        client.record(list(events.values())[:FIRST])
        wait_until(lambda: status_of(client, dst_id) == (FIRST, 0, 0))
        late = client.add_destination(other.url, **access)
        client.record([events[DEAD]])
        wait_until(lambda: status_of(client, dst_id) == (FIRST, 0, 1))
        client.record(list(events.values())[FIRST + 1 :])
        client.request("POST", f"/forwarding-destinations/{late}/replay", json={"from_sequence": FIRST + 1})
        wait_until(lambda: client.stats(dst_id)["retrying"] >= 1)
        before = Counter(main.accepted)
        worker = group.worker_pid()
        group.kill()
        kill(worker)
        wait_until(lambda: not runs(worker, "worker"))

        run_copy(tmp_path, url)
        shutil.copy(tmp_path / "data" / "master.key", moved / "data" / "master.key")
        main.open.set()
        other.open.set()
        with service_group(moved, AEGIS_AUTO_REDRIVE="false", **settings) as second:
            second.start()
            client = Client(second.url, client.organization)
            wait_until(lambda: len(main.accepted) == 59, seconds=60)
            wait_until(lambda: len(other.accepted) == 30 and not replaying(client, late), seconds=60)
            path = f"/forwarding-destinations/{dst_id}/dead-letters"
            letters = client.request("GET", path)["data"]
            redriven = client.request("POST", f"{path}/redrive", json={})
            wait_until(lambda: len(main.accepted) == 60)
            client.record(make_events(client.organization.org_id, 61, 1).values())
            wait_until(lambda: "evt_000061" in main.accepted and "evt_000061" in other.accepted)

    again = main.accepted - before
    assert [one["event_id"] for one in letters] == [DEAD]
    assert redriven == {"redriven": 1}
    assert set(again) == {f"evt_{no:06d}" for no in range(FIRST + 1, 62)}, (
        "nothing that was settled is sent again"
    )
    assert max(again.values()) == 1


def replaying(client: Client, dst_id: str) -> bool:
    """Tell whether a destination has a replay under way."""
    found = client.request("GET", f"/forwarding-destinations/{dst_id}/replays")["data"]
    return any(one["finished_at"] is None for one in found)


def run_copy(tmp_path, url: str) -> None:
    """Copy the database of the killed service."""
    done = subprocess.run(
        [sys.executable, "-m", "aegis_stream", "database", "copy", "--to-env", "TARGET"],
        env=service_environment(tmp_path, TARGET=url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all rows are equal" in done.stdout
