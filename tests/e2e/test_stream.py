"""The stream of a running service: it tells of changes, and ends when its key or its service does."""

import json
import time

import httpx
import pytest

from support.arrival import audit_events
from support.processes import Client
from support.service import running_service

pytestmark = pytest.mark.slow


def messages(lines):
    """Yield the JSON of each message."""
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line[6:])


def streaming(service, organization, key=None):
    """Open the stream of an organization."""
    return httpx.stream(
        "GET",
        f"{service.url}/api/orgs/{organization.org_id}/stream",
        headers={"Authorization": f"Bearer {key or organization.key}"},
        trust_env=False,
        timeout=30,
    )


def test_a_stream_tells_of_changes_and_ends_with_its_key(tmp_path):
    """The first message comes at once, an event brings another one; a revoked key ends the stream within two seconds."""
    with running_service(tmp_path) as service:
        organization = service.make_organization()
        client = Client(service.url, organization)
        made = client.request("POST", "/api-keys", json={"name": "watcher", "scope": "read"})
        with streaming(service, organization, made["api_key"]) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            following = messages(answer.iter_lines())
            first = next(following)
            client.record(list(audit_events(organization.org_id).values())[:3])
            second = next(following)
            while second["head_sequence"] < 3:
                second = next(following)
            client.request("DELETE", f"/api-keys/{made['id']}")
            revoked_s = time.monotonic()
            rest = list(following)

        assert (first["head_sequence"], first["destinations"]) == (0, [])
        assert second["head_sequence"] == 3
        assert len(rest) <= 3
        assert time.monotonic() - revoked_s < 10


def test_a_service_that_stops_ends_its_streams(tmp_path):
    """A stream ends in good order when the service stops, and does not hold it up."""
    with running_service(tmp_path) as service:
        organization = service.make_organization()
        with streaming(service, organization) as answer:
            following = messages(answer.iter_lines())
            next(following)
            service.process.terminate()
            assert list(following) is not None
        assert service.process.wait(20) == 0


def test_reads_go_on_beside_streams(tmp_path):
    """Streams of an organization hold up none of its calls."""
    with running_service(tmp_path) as service:
        organization = service.make_organization()
        with streaming(service, organization) as one, streaming(service, organization) as other:
            next(messages(one.iter_lines()))
            next(messages(other.iter_lines()))
            found = Client(service.url, organization).request("GET", "/events")

        assert found["data"] == []
