"""Promises of compressed bodies and further headers: through real processes, to the reference receiver and to a small server."""

import base64
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
import zstandard

from support.arrival import QUICK, audit_events, forward
from support.processes import Client, recording_receiver
from support.service import running_service, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

UNDO = {
    None: bytes,
    "gzip": lambda body: zlib.decompress(body, 31),
    "zstd": zstandard.decompress,
}
EVENTS_OF = {
    "json": lambda body: [body],
    "ndjson": lambda body: body.split(b"\n")[:-1],
    "json_array": lambda body: map(bytes, msgspec.json.decode(body, type=list[msgspec.Raw])),
}
HEADERS = {"X-Webhook-Access-Key": "synthetic access key", "X-Scope-OrgID": "tenant-1"}


@dataclass
class Seen:
    """What a receiver got: headers and raw body of each request."""

    requests: list[tuple[Message, bytes]] = field(default_factory=list)
    url: str = ""

    def encodings(self) -> set[str | None]:
        """Return the values of Content-Encoding that arrived."""
        return {headers["Content-Encoding"] for headers, _ in self.requests}

    def lines(self) -> list[bytes]:
        """Return the lines of all bodies, decompressed as their headers say."""
        return [line for request in self.requests for line in lines_of(*request)]


def lines_of(headers: Message, body: bytes) -> list[bytes]:
    """Return the lines of a body."""
    return [one for one in UNDO[headers["Content-Encoding"]](body).split(b"\n") if one]


@contextmanager
def seeing(status: int = 200) -> Iterator[Seen]:
    """Run a receiver that answers like Axiom and keeps what it got."""
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.requests.append((self.headers, body))
            count = len(lines_of(self.headers, body))
            answer = json.dumps({"ingested": count, "failed": 0}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    seen.url = f"http://127.0.0.1:{server.server_address[1]}/in"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A running service."""
    with running_service(tmp_path_factory.mktemp("service"), **QUICK) as made:
        yield made


@pytest.mark.parametrize("format_", ["json", "ndjson", "json_array"])
def test_every_event_arrives_through_gzip(service, tmp_path, format_):
    """The reference receiver decompresses gzip bodies, and has every event once, as it was recorded."""
    client = Client(service.url, service.make_organization())
    events = audit_events(client.organization.org_id)

    with recording_receiver(tmp_path) as receiver:
        stats = forward(client, events, receiver.url, format=format_, compression="gzip")["stats"]
        counts = receiver.counts()
    records = [json.loads(line) for line in receiver.file.read_text().splitlines()]
    bodies = [zlib.decompress(base64.b64decode(one["body_base64"]), 31) for one in records]

    assert (stats["delivered"], stats["failed_attempts"]) == (len(events), 0)
    assert (counts["received"], counts["duplicates"]) == (len(events), 0)
    assert {one["headers"]["content-encoding"] for one in records} == {"gzip"}
    assert sorted(one for body in bodies for one in EVENTS_OF[format_](body)) == sorted(events.values())


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_large_batches_arrive_whatever_they_are_compressed_by(service, compression):
    """Batches of a megabyte are compressed outside the event loop, have Content-Encoding, and decompress to the exact lines."""
    client = Client(service.url, service.make_organization())
    events = audit_events(client.organization.org_id)

    with seeing() as seen:
        stats = forward(
            client,
            events,
            seen.url,
            format="axiom",
            compression=compression,
            batch={"max_events": 1000, "max_wait_ms": 500},
        )["stats"]

    assert (stats["delivered"], stats["failed_attempts"]) == (len(events), 0)
    assert sorted(seen.lines()) == sorted(events.values())
    assert seen.encodings() == {None if compression == "none" else compression}
    plain = sum(len(body) for body in events.values())
    assert (3 * sum(len(body) for _, body in seen.requests) < plain) == (compression != "none")


def test_all_headers_arrive_with_every_request(service):
    """Every request has the auth header and the further headers once, as they were written, in batches and tests."""
    client = Client(service.url, service.make_organization())
    auth = {"auth_header_name": "Authorization", "auth_header_value": "Bearer synthetic"}
    events = audit_events(client.organization.org_id)

    with seeing() as seen:
        made = forward(client, events, seen.url, format="axiom", headers=HEADERS, **auth)
        client.request("POST", f"/forwarding-destinations/{made['id']}/test")

    assert len(seen.requests) > 1
    for headers, _ in seen.requests:
        assert headers.get_all("Authorization") == ["Bearer synthetic"]
        assert {name: headers.get_all(name) for name in HEADERS} == {
            name: [value] for name, value in HEADERS.items()
        }
    assert made["header_names"] == list(HEADERS)


def test_a_refused_compression_says_how_to_turn_it_off(service):
    """A destination that answers 415 is failing, with an error that names compression; without compression, the events arrive."""
    client = Client(service.url, service.make_organization())
    events = dict(list(audit_events(client.organization.org_id).items())[:5])

    with seeing(status=415) as seen:
        dst_id = client.add_destination(
            seen.url, format="ndjson", compression="gzip", retry={"max_attempts": 20, "base_seconds": 0.05}
        )
        client.record(events.values())
        shown = wait_until(
            lambda: (one := client.request("GET", f"/forwarding-destinations/{dst_id}"))["last_error"] and one
        )
    with seeing() as taking:
        client.request(
            "PATCH", f"/forwarding-destinations/{dst_id}", json={"compression": "none", "url": taking.url}
        )
        wait_until(lambda: client.stats(dst_id)["delivered"] == len(events))

    assert shown["last_error"]["message"].endswith(
        "; if the destination does not support gzip, set compression to none"
    )
    assert taking.encodings() == {None}
    assert sorted(taking.lines()) == sorted(events.values())
