"""examples/collectors/nginx.conf as it stands, before a receiver in place of the collector."""

import json
import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import httpx
import pytest

from real.front import ALLOWED
from security.certificates import Authority
from support.arrival import QUICK, audit_events, forward
from support.pages import COLLECTORS
from support.processes import Client, RecordingReceiver, by_event_id, free_port, recording_receiver
from support.real import program, running
from support.service import running_service, wait_until

pytestmark = pytest.mark.slow

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
"""Folders that nginx makes below /var/lib, where not everybody may write."""


@dataclass(frozen=True)
class Front:
    """A running nginx of the example: where it listens, the secret it wants, and the authority of its certificate."""

    url: str
    secret: str
    ca_certificate: str
    receiver: RecordingReceiver

    def headers_passed_on(self) -> list[dict[str, str]]:
        """Return the headers of every request that got to the receiver."""
        return [json.loads(line)["headers"] for line in self.receiver.file.read_text().splitlines()]


@contextmanager
def front(tmp_path: Path) -> Iterator[Front]:
    """Run nginx with the example's configuration; only ports and folders are the test's."""
    command = program("nginx")
    folder, certificates = tmp_path / "nginx", tmp_path / "certificates"
    folder.mkdir()
    certificates.mkdir()
    authority, secret, port = Authority(certificates), token_hex(32), free_port()
    authority.server_context("localhost")
    (certificate,) = certificates.iterdir()
    for name in ("server.pem", "server.key"):
        shutil.copy(certificate, folder / name)
    (folder / "collector-secret.conf").write_text(f'set $expected_secret "{secret}";\n')
    with recording_receiver(tmp_path) as receiver:
        text = (COLLECTORS / "nginx.conf").read_text()
        temporary = "".join(f"{one}_temp_path {folder}/{one};" for one in TEMPORARY)
        for ours, theirs in (
            ("listen 8443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
            ("proxy_pass http://127.0.0.1:9880;", f"proxy_pass {receiver.url.rstrip('/')};"),
            ("http {\n", f"http {{\n{temporary}\n"),
        ):
            assert text.count(ours) == 1, ours
            text = text.replace(ours, theirs)
        (folder / "nginx.conf").write_text(text)
        arguments = ["-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
        main = f"daemon off; user root; pid {folder}/nginx.pid;"
        with running([command, *arguments, "-g", main], folder / "nginx.log", ready=lambda: _listens(port)):
            yield Front(f"https://localhost:{port}/aegis.audit", secret, authority.pem, receiver)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_only_the_secret_opens(tmp_path):
    """Without the header, with another, a longer, an empty one or one in capitals the answer is 401, and nothing is passed on."""
    with front(tmp_path) as here:
        trusted = ssl.create_default_context(cadata=here.ca_certificate)
        wrong = (None, "", here.secret.upper(), here.secret + "0", here.secret[:-1], "x" * 64)
        with httpx.Client(verify=trusted, trust_env=False) as client:
            refused = [
                client.post(here.url, content=b"[]", headers={} if one is None else {"X-Shared-Secret": one})
                for one in wrong
            ]
            right = client.post(
                here.url,
                content=b'{"event":{"id":"e-1"}}',
                headers={"X-Shared-Secret": here.secret, "Content-Type": "application/json"},
            )
        passed_on = here.headers_passed_on()

    assert [one.status_code for one in refused] == [401] * len(wrong)
    assert right.status_code == 202
    assert len(passed_on) == 1


def test_events_get_through_when_the_secret_is_right(tmp_path):
    """A wrong secret makes the destination fail and loses nothing: given the right one, every event arrives, and the secret stays
    in nginx.
    """
    settings = QUICK | {"AEGIS_ALLOWED_NETWORKS": ALLOWED}
    with front(tmp_path) as here, running_service(tmp_path, **settings) as service:
        client = Client(service.url, service.make_organization())
        events = audit_events(client.organization.org_id)
        first, *rest = events
        dst_id = client.add_destination(
            here.url,
            ca_certificate=here.ca_certificate,
            auth_header_name="X-Shared-Secret",
            auth_header_value="not the secret",
            retry={"max_attempts": 20, "base_seconds": 0.05},
        )
        client.record([events[first]])
        path = f"/forwarding-destinations/{dst_id}"
        failing = wait_until(lambda: _failing(client, path))
        client.request("PATCH", path, json={"auth_header_value": here.secret})
        client.record([events[one] for one in rest])
        wait_until(lambda: client.stats(dst_id)["delivered"] >= len(events), seconds=60)
        passed_on = here.headers_passed_on()
        arrived, _ = by_event_id(here.receiver.bodies())

    assert failing["last_error"]["status_code"] == 401
    assert arrived == {event_id: {body} for event_id, body in events.items()}
    assert all("x-shared-secret" not in one for one in passed_on)
    assert {one["content-type"] for one in passed_on} == {"application/json"}


def test_batches_get_through(tmp_path):
    """The largest batches that a destination may be told to send are below nginx's limit."""
    settings = QUICK | {"AEGIS_ALLOWED_NETWORKS": ALLOWED}
    with front(tmp_path) as here, running_service(tmp_path, **settings) as service:
        client = Client(service.url, service.make_organization())
        events = audit_events(client.organization.org_id)
        read = forward(
            client,
            events,
            here.url,
            format="json_array",
            batch={"max_events": 10_000, "max_bytes": 10_000_000},
            ca_certificate=here.ca_certificate,
            auth_header_name="X-Shared-Secret",
            auth_header_value=here.secret,
        )
        bodies = [json.loads(body) for body in here.receiver.bodies()]

    assert read["stats"]["failed_attempts"] == 0
    assert [event for body in bodies for event in body] == [json.loads(one) for one in events.values()]


def _failing(client: Client, path: str) -> dict[str, object] | None:
    found: dict[str, object] = client.request("GET", path)
    return found if found["status"] == "failing" else None
