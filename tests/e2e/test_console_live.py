"""The stream of the console's pages in a running service: it tells of changes, and ends with its session or its service."""

import json
from urllib.parse import urlencode

import httpx
import pytest

from support.arrival import audit_events
from support.processes import Client
from support.service import running_service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A running service."""
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


def cookie_of(service, key):
    """Sign in; returns the cookie."""
    answer = httpx.post(
        f"{service.url}/console",
        content=urlencode({"key": key}),
        headers={"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"},
        trust_env=False,
    )
    assert answer.status_code == 303, answer.text
    return answer.headers["set-cookie"].partition(";")[0]


def streaming(service, org_id, cookie):
    """Open the stream of an organization's pages."""
    url = f"{service.url}/console/o/{org_id}/live"
    headers = {"Cookie": cookie, "Accept": "text/event-stream"}
    return httpx.stream("GET", url, headers=headers, trust_env=False, timeout=30)


def messages(lines):
    """Yield the JSON of each message."""
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line[6:])


def cell(following, key, text):
    """Read until a cell has a text; returns how many messages were read."""
    for number, one in enumerate(following, 1):
        if one.get("cells", {}).get(key, {}).get("text") == text:
            return number
    raise AssertionError(f"the stream ended before {key} was {text}")


def test_a_stream_tells_all_and_then_changes(service):
    """The first message holds every cell, one after a change only what differs; a stream beside others begins with what is now."""
    organization = service.make_organization()
    cookie = cookie_of(service, organization.key)
    with streaming(service, organization.org_id, cookie) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        following = messages(answer.iter_lines())
        first = next(following)
        Client(service.url, organization).record(list(audit_events(organization.org_id).values())[:3])
        with streaming(service, organization.org_id, cookie) as other:
            assert next(messages(other.iter_lines()))["cells"]["total.head"]["text"] == "3"
        changed = next(one for one in following if "cells" in one)

    assert first["cells"]["total.head"]["text"] == "0"
    assert changed["cells"]["total.head"]["text"] == "3"
    assert "total.delivered" not in changed["cells"]


def test_a_revoked_key_ends_the_stream(service):
    """After the key of the session was revoked the stream ends, and another one is refused."""
    organization = service.make_organization()
    client = Client(service.url, organization)
    made = client.request("POST", "/api-keys", json={"name": "watcher", "scope": "read"})
    cookie = cookie_of(service, made["api_key"])
    with streaming(service, organization.org_id, cookie) as answer:
        following = messages(answer.iter_lines())
        next(following)
        client.request("DELETE", f"/api-keys/{made['id']}")
        list(following)  # it ends; the time limit of the connection would raise

    with streaming(service, organization.org_id, cookie) as answer:
        assert answer.status_code == 401


def test_another_organization_is_not_found(service):
    """The stream of an organization that is not the session's is 404."""
    organization, other = service.make_organization(), service.make_organization()
    with streaming(service, other.org_id, cookie_of(service, organization.key)) as answer:
        assert answer.status_code == 404


def test_an_open_page_hears_that_the_service_is_there(service):
    """While nothing changes there is a sign of life."""
    organization = service.make_organization()
    with streaming(service, organization.org_id, cookie_of(service, organization.key)) as answer:
        assert ":" in answer.iter_lines()
