"""Promises of examples/flask_receiver.py with gunicorn and real requests."""

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from aegis_stream.receiver import TEST_DATASET, sign

EXAMPLES = Path(__file__).parents[2] / "examples"
TOKEN, KEY = "t0ken", "k3y"


@contextmanager
def gunicorn(log_path, **environment):
    """Run the example with gunicorn on a free port; yield the process and a client. It is killed when the block ends."""
    # The socket is created here and passed on, so that no port is guessed and requests can be sent immediately.
    with socket.create_server(("127.0.0.1", 0)) as listening, log_path.open("w") as log:
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listening.fileno()}", "--threads", "4"]
        command += [
            "--no-control-socket",
            "--worker-tmp-dir",
            str(log_path.parent),
            "flask_receiver:create_app()",
        ]
        running = subprocess.Popen(
            command,
            cwd=EXAMPLES,
            # HOME: newer gunicorns put a control socket there.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(log_path.parent), **environment},
            pass_fds=[listening.fileno()],
            stdout=log,
            stderr=log,
        )
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with running, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                try:
                    yield running, client
                finally:
                    running.terminate()
                    running.wait(timeout=60)
        finally:
            running.kill()


@pytest.fixture(scope="module")
def log_path(tmp_path_factory):
    """The log file of the example."""
    return tmp_path_factory.mktemp("gunicorn") / "log"


@pytest.fixture(scope="module")
def client(log_path):
    """A client of the example, which requires a token and a signature."""
    with gunicorn(log_path, RECEIVER_BEARER=TOKEN, RECEIVER_HMAC_KEY=KEY) as (_, client):
        yield client


def post(client, *events, **headers):
    """Send events as our service does, with valid secrets by default; None omits one."""
    body = json.dumps(events[0] if len(events) == 1 else events).encode()
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {TOKEN}",
        "X-Aegis-Signature": sign(body, KEY.encode()),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    sent = {name: value for name, value in headers.items() if value is not None}
    return client.post("/audit-events", content=body, headers=sent)


def make_event(identity, dataset="aegis.preflight"):
    """Return a small event."""
    return {"event": {"id": identity, "dataset": dataset}}


def test_a_valid_event_is_accepted(client, log_path):
    """A request with token and signature is answered 202, and the application gets the event."""
    answer = post(client, make_event("valid-1"))

    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicates": 0})
    assert "audit event 'valid-1'" in log_path.read_text()


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Authorization": "Bearer other"}, "authorization does not match"),
        ({"Authorization": None}, "authorization is missing"),
        ({"X_Aegis_Signature": "sha256=" + "0" * 64}, "x-aegis-signature does not match"),
        ({"X_Aegis_Signature": None}, "x-aegis-signature is missing"),
        ({"X_Aegis_Signature": sign(b"another body", KEY.encode())}, "x-aegis-signature does not match"),
    ],
    ids=["wrong bearer", "no bearer", "wrong signature", "no signature", "signature of another body"],
)
def test_a_stranger_is_refused(client, log_path, headers, error):
    """A 401 says what is wrong, and the application does not get the event."""
    answer = post(client, make_event("stranger-1"), **headers)

    assert (answer.status_code, answer.json()) == (401, {"error": error})
    post(client, make_event(f"witness of {error}"))
    assert f"witness of {error}" in log_path.read_text()
    assert "stranger-1" not in log_path.read_text()


def test_a_duplicate_is_accepted_once(client, log_path):
    """A repeated event is answered 202 too, and the application gets it once."""
    answers = [post(client, make_event("twice-1")).json() for _ in range(2)]

    assert answers == [{"accepted": 1, "duplicates": 0}, {"accepted": 0, "duplicates": 1}]
    assert log_path.read_text().count("'twice-1'") == 1


def test_a_test_event_is_told_from_real_ones(client, log_path):
    """A test event is accepted and marked as one."""
    assert post(client, make_event("test-1", TEST_DATASET)).status_code == 202

    assert "test event 'test-1'" in log_path.read_text()
    assert "audit event 'test-1'" not in log_path.read_text()


def test_a_batch_is_taken(client):
    """A destination may send many events in one request."""
    assert post(client, make_event("batch-1"), make_event("batch-2")).json() == {
        "accepted": 2,
        "duplicates": 0,
    }


def test_garbage_is_a_bad_request(client):
    """A signed body that is not an event is answered 400."""
    assert post(client, "no event").status_code == 400
    assert client.get("/audit-events").status_code == 405


def test_without_a_secret_it_does_not_start(tmp_path):
    """A forgotten environment variable stops the start with a message that says so."""
    with gunicorn(tmp_path / "log", RECEIVER_BEARER="") as (running, _):
        assert running.wait(timeout=60) != 0

    assert "the bearer token must be visible ASCII" in (tmp_path / "log").read_text()
