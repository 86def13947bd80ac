"""What the console proposes for sending an event does send one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aegis_stream.console.snippets import further_snippets, snippets
from support.processes import Client
from support.service import running_service

pytestmark = pytest.mark.slow


def test_every_snippet_records_an_event(tmp_path):
    """Pasted into a shell, or into a file for Python, each records one event with the key in its variable."""
    with running_service(tmp_path) as service:
        client = Client(service.url, service.make_organization())
        org_id, key = client.organization.org_id, client.organization.key
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "AEGIS_API_KEY": key,
        }
        for one in snippets(service.url, org_id):
            shell = [sys.executable, "-c"] if one.name == "Python" else ["bash", "-c"]
            subprocess.run([*shell, one.text], env=environment, check=True, timeout=60)
        found = client.request("GET", "/events")["data"]

    assert [one["event"]["message"] for one in found] == ["Ada signed in"] * 3


def test_every_further_snippet_records_its_events(tmp_path):
    """Lines, a document that holds events, and a preflight decision are recorded as what they are."""
    with running_service(tmp_path) as service:
        client = Client(service.url, service.make_organization())
        environment = {**os.environ, "AEGIS_API_KEY": client.organization.key}
        for one in further_snippets(service.url, client.organization.org_id):
            subprocess.run(["bash", "-c", one.text], env=environment, check=True, timeout=60)
        found = client.request("GET", "/events")["data"]

    assert [one["event"]["event"]["dataset"] for one in found] == ["my.app"] * 3 + ["aegis.preflight"]
