"""Promises of a full disk: nothing is acknowledged that is not stored, and with space again, everything continues by itself."""

import contextlib
import resource
import subprocess

import httpx
import pytest

from support.processes import (
    by_event_id,
    children,
    integrity_of,
    kill,
    make_client,
    make_events,
    recording_receiver,
    service_group,
)
from support.service import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PADDING = "x" * 2000


@contextlib.contextmanager
def small_file_system(folder):
    """Mount a file system of 8 MiB for the data directory; skip if that is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "none", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(
            f"a file system of a given size cannot be mounted here: {mounted.stderr.decode().strip()}"
        )
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def record_until_refused(client, first=1):
    """Record one batch after the other; return the events that were acknowledged and the first other answer."""
    acknowledged, number = {}, first
    while True:
        events = make_events(client.organization.org_id, number, 20, padding=PADDING)
        answer = client.send(events.values())
        if answer.status_code != 202:
            return acknowledged, answer
        acknowledged |= events
        number += 20


def log_bytes(group):
    """Return the length of the write-ahead log, where the next commit is written."""
    return group.database.with_name("aegis.db-wal").stat().st_size


def limit_files(pids, length):
    """Limit the length of all files of these processes, bytes; a longer write fails as on a full disk."""
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (length, resource.RLIM_INFINITY))


def assert_refused_well(answer):
    """Assert that a rejection says what is wrong and when to retry."""
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "nothing was stored" in answer.text or "cannot be written" in answer.text


def test_a_file_limit_is_survived(tmp_path):
    """When the database cannot grow, ingest answers 503; afterwards the same processes continue, and nothing is lost."""
    with service_group(tmp_path) as group, recording_receiver(tmp_path) as receiver:
        group.start()
        client = make_client(group)
        dst_id = client.add_destination(receiver.url)
        pids = (group.pid, group.worker_pid())

        limit_files(pids, log_bytes(group) + 400_000)
        acknowledged, answer = record_until_refused(client)
        health = httpx.get(group.url + "/healthz", trust_env=False).status_code
        listed = client.request("GET", "/events", params={"limit": 1})["data"]
        limit_files(pids, resource.RLIM_INFINITY)
        later = make_events(client.organization.org_id, 900_001, 20)
        client.record(later.values())
        expected = acknowledged | later
        wait_until(
            lambda: client.stats(dst_id)["backlog"] == client.stats(dst_id)["retrying"] == 0, seconds=60
        )
        pids_then = (group.pid, group.worker_pid())
        status = group.terminate()
        arrived, _ = by_event_id(receiver.bodies())

    assert_refused_well(answer)
    assert acknowledged
    assert (health, len(listed)) == (200, 1), "what only reads goes on"
    assert pids_then == pids, "nobody had to start anything"
    assert status == 0
    assert arrived == {event_id: {body} for event_id, body in expected.items()}
    assert integrity_of(group.database) == [("ok",)]


def test_a_full_disk_is_survived(tmp_path):
    """On a full file system ingest answers 503 and deliveries continue; with space again nothing is missing."""
    with (
        small_file_system(tmp_path / "data"),
        service_group(tmp_path) as group,
        recording_receiver(tmp_path) as receiver,
    ):
        group.start()
        client = make_client(group)
        dst_id = client.add_destination(receiver.url)

        ballast = tmp_path / "data" / "ballast"
        ballast.write_bytes(bytes(4 << 20))
        acknowledged, answer = record_until_refused(client)
        wait_until(lambda: receiver.counts()["unique"] == len(acknowledged))
        ballast.unlink()
        later = make_events(client.organization.org_id, 900_001, 20)
        client.record(later.values())
        wait_until(
            lambda: client.stats(dst_id)["backlog"] == client.stats(dst_id)["retrying"] == 0, seconds=60
        )
        status = group.terminate()
        integrity = integrity_of(group.database)
        arrived, _ = by_event_id(receiver.bodies())

    assert_refused_well(answer)
    assert status == 0
    assert arrived == {event_id: {body} for event_id, body in (acknowledged | later).items()}
    assert integrity == [("ok",)]


def test_a_worker_that_dies_while_the_disk_is_full_comes_back(tmp_path):
    """If a worker is killed meanwhile, the service stays up, and another worker delivers afterwards."""
    with service_group(tmp_path) as group, recording_receiver(tmp_path) as receiver:
        group.start()
        client = make_client(group)
        dst_id = client.add_destination(receiver.url)
        worker = group.worker_pid()
        acknowledged = make_events(client.organization.org_id, 1, 100)
        client.record(acknowledged.values())
        wait_until(lambda: client.stats(dst_id)["delivered"] == 100)
        limit_files((group.pid, worker), log_bytes(group))
        refused = client.send(make_events(client.organization.org_id, 101, 1).values())

        kill(worker)
        wait_until(lambda: group.log_lines("supervisor.worker_exited"))
        wait_until(lambda: len(group.log_lines("supervisor.worker_started")) > 1)
        ready_when_full = group.is_ready()
        limit_files((group.pid, *children(group.pid)), resource.RLIM_INFINITY)
        wait_until(group.is_ready)
        client.record(make_events(client.organization.org_id, 900_001, 20).values())
        wait_until(lambda: client.stats(dst_id)["backlog"] == 0, seconds=60)
        arrived, _ = by_event_id(receiver.bodies())

    assert_refused_well(refused)
    assert not ready_when_full, "nothing can be stored"
    assert len(arrived) == len(acknowledged) + 20
