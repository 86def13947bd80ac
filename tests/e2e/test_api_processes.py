"""Promises of several API processes on one port: they act and stop as one, and the crash of one loses nothing."""

import os
import re
import signal
import socket
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from aegis_stream.api.counts import LABELS, SLOT
from aegis_stream.api.recent import SHOWN_MAX
from aegis_stream.serving.membership import FOLLOW_S
from support.processes import children, kill, make_client, make_events, runs, service_group
from support.service import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PROCESSES = 3
CONNECTIONS = 24
"""With this many, the kernel gives all to one of three processes once in 3^23 times."""
BATCH = 10


@contextmanager
def started(tmp_path, **environment):
    """Run a service with three API processes, all of which answer."""
    with service_group(tmp_path, **environment) as group:
        group.start(api_processes=PROCESSES)
        wait_until(lambda: len(group.log_lines("api.started")) == PROCESSES - 1)
        yield group


def slots_of(group) -> list[list[int]]:
    """Return the counts of each API process, from their shared memory."""
    words = Path(f"/proc/{group.api_pids()[0]}/cmdline").read_bytes().decode().split("\0")
    descriptor = words[words.index("--counts-fd") + 1]
    numbers = array("q", Path(f"/proc/{group.pid}/fd/{descriptor}").read_bytes())
    return [
        [*numbers[start : start + SLOT]] for start in range(SLOT, len(numbers), SLOT)
    ]  # the first is no count


def metrics_of(group) -> dict[str, int]:
    """Return the ingest metrics of /metrics, over a new connection."""
    text = httpx.get(group.url + "/metrics", trust_env=False, timeout=30).text
    return {name: int(value) for name, value in re.findall(r"^(aegis_ingest\S+) (\d+)$", text, re.MULTILINE)}


def gauges_of(group, name) -> set[int]:
    """Return what the processes of a service say in /metrics about one number; -1 where it is missing."""
    texts = [
        httpx.get(group.url + "/metrics", trust_env=False, timeout=30).text for _ in range(CONNECTIONS // 2)
    ]
    return {
        int(found[1]) if (found := re.search(rf"^{name} (\d+)$", one, re.MULTILINE)) else -1 for one in texts
    }


def accepted_in(metrics) -> int:
    """Return the number of accepted events."""
    return metrics['aegis_ingest_events_total{result="accepted"}']


def sequences(group) -> list[int]:
    """Return the sequences of all events in the log."""
    return [one for (one,) in group.rows("SELECT position & ((1 << 40) - 1) FROM events ORDER BY position")]


def batches_of(client, count: int) -> list[list[bytes]]:
    """Return this many batches of different events."""
    bodies = list(make_events(client.organization.org_id, 1, count * BATCH).values())
    return [bodies[start : start + BATCH] for start in range(0, len(bodies), BATCH)]


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie has."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def refuses(group) -> bool:
    """Return whether nobody listens on the service's port any more."""
    try:
        socket.create_connection(("127.0.0.1", group.port), 5).close()
    except OSError:
        return True
    return False


def test_several_processes_answer_as_one(tmp_path):
    """Processes share the requests of many connections; sequences have no gaps, duplicates are found, and all processes report one sum."""
    with started(tmp_path) as group, ThreadPoolExecutor(CONNECTIONS) as threads:
        client = make_client(group)
        batches = batches_of(client, CONNECTIONS)
        first = list(threads.map(client.send, batches))
        again = list(threads.map(client.send, batches))
        refused = list(threads.map(client.send, [[b"1"]] * CONNECTIONS))
        told = [metrics_of(group) for _ in range(CONNECTIONS)]
        slots = slots_of(group)
        stored = sequences(group)

    assert {(one.status_code, one.json()["accepted"]) for one in first} == {(202, BATCH)}
    assert {(one.status_code, one.json()["accepted"], one.json()["duplicates"]) for one in again} == {
        (202, 0, BATCH)
    }
    assert {one.status_code for one in refused} == {422}
    assert stored == list(range(1, CONNECTIONS * BATCH + 1))
    assert (
        told
        == [
            {
                'aegis_ingest_requests_total{status="202"}': 2 * CONNECTIONS,
                'aegis_ingest_requests_total{status="422"}': CONNECTIONS,
                'aegis_ingest_events_total{result="accepted"}': CONNECTIONS * BATCH,
                'aegis_ingest_events_total{result="duplicate"}': CONNECTIONS * BATCH,
                'aegis_ingest_events_total{result="rejected"}': CONNECTIONS,
            }
        ]
        * CONNECTIONS
    )
    answered = [slot[LABELS.index("202")] for slot in slots]
    assert (len(slots), sum(answered)) == (PROCESSES, 2 * CONNECTIONS)
    assert len([one for one in answered if one]) >= 2, "one process alone answered all connections"


def test_uses_of_a_key_at_all_processes_are_stored_at_the_end(tmp_path):
    """A service that stops has stored how many events a key recorded, whichever process answered."""
    with started(tmp_path) as group, ThreadPoolExecutor(CONNECTIONS) as threads:
        client = make_client(group)
        list(threads.map(client.send, batches_of(client, CONNECTIONS)))
        group.terminate()
        stored = group.rows("SELECT sum(events), max(last_used_from) FROM key_uses")

    assert stored == [(CONNECTIONS * BATCH, "127.0.0.1")]


def test_the_last_requests_of_a_key_are_those_of_all_processes(tmp_path):
    """Whichever process is asked for the requests of a key, all of them note what they answer from then on, and it shows them."""
    with started(tmp_path) as group, ThreadPoolExecutor(CONNECTIONS) as threads:
        client = make_client(group)
        [key] = client.request("GET", "/api-keys")["data"]
        path = f"/api-keys/{key['id']}/requests"
        client.request("GET", path)
        time.sleep(3 * FOLLOW_S)  # the other processes look whether somebody looks
        list(threads.map(client.send, [[b"1"]] * CONNECTIONS))
        shown = client.request("GET", path)["data"]

    assert [one["status"] for one in shown] == [422] * SHOWN_MAX


def test_the_crash_of_one_process_loses_nothing(tmp_path):
    """A killed process is restarted and continues its counts; acknowledged events are stored once and in order."""
    with started(tmp_path) as group, ThreadPoolExecutor(4) as threads:
        client = make_client(group)
        batches = batches_of(client, 200)
        sending = [threads.submit(client.record, batch) for batch in batches]
        seen = [0]
        for number in range(1, 4):
            wait_until(lambda goal=number * 300: len(sequences(group)) >= goal)
            seen.append(accepted_in(metrics_of(group)))
            before = group.api_pids()
            kill(before[0])
            wait_until(lambda n=number: len(group.log_lines("supervisor.api_exited")) == n)
            wait_until(lambda n=number: len(group.log_lines("api.started")) == PROCESSES - 1 + n)
            assert len(set(group.api_pids()) - set(before)) == 1
            seen.append(accepted_in(metrics_of(group)))
        for one in sending:
            one.result(90)
        seen.append(accepted_in(metrics_of(group)))
        stored = sequences(group)
        ids = {one for (one,) in group.rows("SELECT event_id FROM events")}
        assert group.terminate() == 0

    assert stored == list(range(1, len(batches) * BATCH + 1))
    assert ids == set(make_events(client.organization.org_id, 1, len(batches) * BATCH))
    assert seen == sorted(seen), "a counter went back"
    # A process that is killed between a commit and its answer has not counted it: at most one batch for each sender.
    assert len(stored) - 3 * 4 * BATCH <= seen[-1] <= len(stored)


def test_sigterm_answers_what_was_accepted_and_ends_all(tmp_path):
    """Requests that started before SIGTERM are answered 202; then all processes end, with status 0."""
    with started(tmp_path) as group:
        client = make_client(group)
        batches = batches_of(client, CONNECTIONS)
        bodies = [b"[" + b",".join(batch) + b"]" for batch in batches]
        begun = [_begin(client, group.port, len(body)) for body in bodies]
        pids = [group.pid, *children(group.pid)]

        group.running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses(group))
        answers = [_finish(connection, body) for connection, body in zip(begun, bodies, strict=True)]
        status = group.running.process.wait(30)
        left = [pid for pid in pids if not is_gone(pid)]
        stored = sequences(group)

    assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 202 Accepted"}
    assert (status, left) == (0, [])
    assert len(pids) == 1 + PROCESSES
    assert stored == list(range(1, CONNECTIONS * BATCH + 1))


def _begin(client, port: int, size: int) -> socket.socket:
    """Send the head of a request; return when the service asks for the body."""
    connection = socket.create_connection(("127.0.0.1", port), 30)
    connection.sendall(
        f"POST /api/orgs/{client.organization.org_id}/events HTTP/1.1\r\nhost: service\r\n"
        f"authorization: Bearer {client.organization.key}\r\ncontent-type: application/json\r\n"
        f"expect: 100-continue\r\ncontent-length: {size}\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += (chunk := connection.recv(1000))
        assert chunk, answer
    assert answer.startswith(b"HTTP/1.1 100 ")
    return connection


def _finish(connection: socket.socket, body: bytes) -> bytes:
    """Send the body; return the answer."""
    with connection:
        connection.sendall(body)
        return connection.recv(10_000)


def test_api_processes_end_with_a_supervisor_that_is_killed(tmp_path):
    """After kill -9 of the supervisor its children end, and the port is free for the next start."""
    with started(tmp_path) as group:
        below = children(group.pid)
        client = make_client(group)
        [batch] = batches_of(client, 1)
        client.record(batch)

        group.kill()
        wait_until(lambda: all(is_gone(pid) for pid in below))
        group.start(api_processes=PROCESSES)
        answer = client.send(batch)

    assert len(below) == PROCESSES
    assert answer.json()["duplicates"] == BATCH


def test_a_start_right_after_a_kill_does_not_find_its_port_taken(tmp_path):
    """Further API processes that are stopped cannot see that their supervisor is gone; they end with it all the same."""
    with started(tmp_path) as group:
        below = group.api_pids()
        for pid in below:
            os.kill(pid, signal.SIGSTOP)

        group.kill()
        group.start(api_processes=PROCESSES)
        wait_until(lambda: len(group.log_lines("api.started")) == 2 * (PROCESSES - 1))

        assert all(is_gone(pid) for pid in below)


def test_a_port_that_is_taken_is_refused(tmp_path):
    """A second service on the same port does not share it silently: it ends, and says what to do."""
    with started(tmp_path) as group:
        second = tmp_path / "second"
        second.mkdir()
        with service_group(second) as other:
            other.port = group.port
            with pytest.raises(AssertionError, match="choose another --port"):
                other.start(api_processes=PROCESSES)


def test_further_processes_leave_metrics_to_the_port_of_their_own(tmp_path):
    """With a separate metrics port, no API process answers /metrics on the public port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with started(tmp_path, AEGIS_METRICS_PORT=str(port)) as group:
        public = {
            httpx.get(group.url + "/metrics", trust_env=False, timeout=30).status_code
            for _ in range(CONNECTIONS)
        }
        own = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=30).status_code

    assert (public, own) == ({404}, 200)


def test_two_services_on_one_data_directory_share_limits_and_report_sums_once(tmp_path):
    """Both divide the limits by all API processes; one shows the sums over the store; when it is killed the other one does."""
    with started(tmp_path) as one, service_group(tmp_path) as two:
        alone = gauges_of(one, "aegis_api_processes"), gauges_of(one, "aegis_destinations")
        two.start(workers=0)
        wait_until(lambda: gauges_of(one, "aegis_api_processes") == {PROCESSES + 1})
        beside = gauges_of(two, "aegis_destinations"), gauges_of(two, "aegis_store_totals_reported")
        one.kill()
        wait_until(lambda: gauges_of(two, "aegis_api_processes") == {1})

        assert alone == ({PROCESSES}, {0})
        assert beside == ({-1}, {0})
        assert gauges_of(two, "aegis_destinations") == {0}


def test_a_start_after_a_kill_counts_the_dead_no_more(tmp_path):
    """A service that was killed and started again has all of the limits at once, and reports the sums."""
    with started(tmp_path) as group:
        group.kill()
        group.start(api_processes=PROCESSES)

        assert gauges_of(group, "aegis_api_processes") == {PROCESSES}
        assert gauges_of(group, "aegis_store_totals_reported") == {1}


def test_an_orderly_end_leaves_no_registration(tmp_path):
    """After SIGTERM no process is registered, and no socket is left."""
    with started(tmp_path) as group:
        registered = group.rows("SELECT api_processes FROM processes")
        group.terminate()

        assert registered == [(PROCESSES,)]
        assert group.rows("SELECT * FROM processes") == []
        assert list((tmp_path / "data" / "bell").iterdir()) == []


def asked_to_stop(group) -> str:
    """Send SIGTERM and wait for /readyz to say so; return its code."""
    group.running.process.send_signal(signal.SIGTERM)
    answer = wait_until(lambda: next((one for one in [readiness(group)] if one.status_code != 200), None))
    return answer.json()["type"].rpartition("/")[2]


def readiness(group) -> httpx.Response:
    """Ask /readyz over a new connection."""
    return httpx.get(group.url + "/readyz", trust_env=False, timeout=30)


def test_a_service_that_drains_answers_and_tells_load_balancers(tmp_path):
    """After SIGTERM /readyz of every process is 503 while events are recorded; the worker has ended; then the service ends."""
    with started(tmp_path, AEGIS_DRAIN_SECONDS="15") as group:
        client = make_client(group)
        [worker] = [one for one in children(group.pid) if runs(one, "worker")]
        code = asked_to_stop(group)
        statuses = {readiness(group).status_code for _ in range(CONNECTIONS // 2)}
        sent = [client.send(batch) for batch in batches_of(client, 3)]
        wait_until(lambda: is_gone(worker))
        still = readiness(group).status_code

        assert (code, statuses, still) == ("draining", {503}, 503)
        assert [one.status_code for one in sent] == [202] * 3
        assert group.running.process.wait(60) == 0
        assert refuses(group)
        assert sequences(group) == [*range(1, 3 * BATCH + 1)]


def test_a_second_signal_ends_a_drain(tmp_path):
    """Whoever does not want to wait sends the signal again; a signal to all processes at once ends none before the drain does."""
    with started(tmp_path, AEGIS_DRAIN_SECONDS="100") as group:
        pids = group.api_pids()
        asked_to_stop(group)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        statuses = {readiness(group).status_code for _ in range(CONNECTIONS // 2)}

        assert statuses == {503}
        assert not any(is_gone(pid) for pid in pids)
        assert group.terminate() == 0
