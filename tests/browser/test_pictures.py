"""The pictures of the README: four pages of one story, taken anew by `make screenshots`."""

import os
import time
from pathlib import Path

import httpx
import pytest

from aegis_stream.cli.demo_events import demo_events
from aegis_stream.domain.ids import Micros
from support.browser import LOOKS, visiting
from support.destinations import make_destination, read
from support.picky import picky_receiver
from support.processes import recording_receiver
from support.service import OPERATOR_KEY, Organization, running_service, wait_until

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
BYTES_MAX = 120_000
"""Largest picture, bytes: they are part of every clone."""
FOLDER = ROOT / os.environ.get("AEGIS_PICTURES", "build/pictures")
ROUNDS = 6
"""How often the events of the demonstration are recorded, so that there is something to see over time."""


def organization_of(service):
    """Make the organization that the pictures show."""
    answer = httpx.post(
        f"{service.url}/api/orgs",
        json={"name": "Example", "id": "org_example"},
        headers={"Authorization": f"Bearer {OPERATOR_KEY}"},
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return Organization("org_example", answer.json()["api_key"])


def record(service, organization, name):
    """Record the events of the demonstration under ids of their own."""
    answer = httpx.post(
        f"{service.url}/api/orgs/{organization.org_id}/events",
        content=demo_events(Micros(time.time_ns() // 1000), name),  # people look at these times
        headers={"Authorization": f"Bearer {organization.key}", "Content-Type": "application/x-ndjson"},
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 202, answer.text


def furnish(service, organization, healthy, failing):
    """Make two destinations that take events and one that does not, and record events; returns the id of the failing one."""
    header = {"auth_header_name": "Authorization", "auth_header_value": "ApiKey sample-key"}
    made = [
        make_destination(service, organization, healthy, name=name, format="json", **header)
        for name in ("Splunk", "Cold archive")
    ]
    retry = {"max_attempts": 3, "base_seconds": 60}
    bad = make_destination(
        service, organization, failing, name="Elastic prod", format="json", retry=retry, **header
    )
    for number in range(ROUNDS):
        record(service, organization, f"demo{number}")
    count = ROUNDS * demo_events(Micros(0)).count(b"\n")
    for one in made:
        wait_until(lambda one=one: read(service, organization, one)["stats"]["delivered"] >= count)
    wait_until(lambda: read(service, organization, bad)["status"] == "failing")
    return bad


def take(visitor, name):
    """Take a picture of what the window shows, from its top."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{name}.png"
    visitor.page.screenshot(path=file)
    assert file.stat().st_size <= BYTES_MAX, f"{file}: {file.stat().st_size} bytes"


def test_pictures(browser, tmp_path, storage):
    """Overview, a failing destination, the journey of an event, and a test before saving show what the README says of them."""
    with (
        running_service(tmp_path, AEGIS_AUDIT_ACTIONS="true", **storage) as service,
        recording_receiver(tmp_path) as receiver,
        picky_receiver(lambda _: 401) as picky,
        visiting(browser, service.url, LOOKS[0]) as visitor,
    ):
        organization = organization_of(service)
        bad = furnish(service, organization, receiver.url, picky.url)
        page, home = visitor.page, f"/console/o/{organization.org_id}"
        visitor.sign_in(organization.key)
        visitor.open(home)
        page.get_by_text("does not accept the credential").first.wait_for()
        take(visitor, "overview")
        visitor.open(f"{home}/d/{bad}")
        page.get_by_role("link", name="1 h", exact=True).click()
        page.get_by_role("heading", name="Causes of failures").wait_for()
        take(visitor, "destination")
        visitor.open(f"{home}/events/pflt_demo0_03")
        page.get_by_text("Elastic prod").first.wait_for()
        take(visitor, "event")
        visitor.open(f"{home}/new?kind=generic-https")
        page.get_by_label("URL", exact=True).fill(picky.url)
        page.get_by_label("Bearer token").fill("sample-token")
        page.get_by_role("button", name="Test", exact=True).click()
        page.get_by_role("heading", name="The test event was not taken").wait_for()
        take(visitor, "test")
