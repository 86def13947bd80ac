"""Promises of the reference receiver as a process: signals, exit status, output."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest

PROGRAM = """
import json, pathlib, sys
from aegis_stream.receiver.options import ReceiverOptions
from aegis_stream.receiver.server import run
options = json.loads(sys.argv[1])
if "tls_dir" in options:
    options["tls_dir"] = pathlib.Path(options["tls_dir"])
sys.exit(run(ReceiverOptions(**options)))
"""
BODY = b'{"event": {"id": "pflt_1", "dataset": "aegis.preflight"}}'


@contextmanager
def process(**options):
    """Run a receiver as a process; it is killed when the block ends."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps({"port": 0, **options})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_counts(number):
    """SIGINT and SIGTERM end the receiver with status 0 and a line of counts."""
    with process(json=True) as running:
        url = json.loads(running.stdout.readline())["ready"]["url"]
        assert httpx.post(url, content=BODY, trust_env=False).status_code == 202
        shown = json.loads(running.stdout.readline())
        running.send_signal(number)
        rest, errors = running.communicate(timeout=60)

    assert shown["id"] == "pflt_1"
    assert json.loads(rest)["counts"]["received"] == 1
    assert errors == ""
    assert running.returncode == 0


def test_the_first_lines_say_how_to_use_it(tmp_path):
    """The output says where to send, which certificate to trust, and that no secret is required."""
    with process(tls=True, tls_dir=str(tmp_path)) as running:
        lines = [running.stdout.readline() for _ in range(3)]
        running.terminate()
        rest, _ = running.communicate(timeout=60)

    assert lines[0].startswith("Listening on https://127.0.0.1:")
    assert str(tmp_path / "ca.pem") in lines[1]
    assert lines[2] == "No secret is required: every request is accepted.\n"
    assert rest == "Stopped: 0 received, 0 unique, 0 duplicates, 0 test, 0 refused, 0 failed.\n"


def test_a_port_in_use_is_one_line():
    """A second receiver on the same port ends with a message, not a traceback."""
    with process(json=True) as first:
        port = json.loads(first.stdout.readline())["ready"]["port"]
        with process(port=port) as second:
            _, errors = second.communicate(timeout=60)

    assert second.returncode == 1
    assert errors.startswith("aegis receiver: ")
    assert errors.count("\n") == 1
    assert str(port) in errors


def test_a_reader_that_leaves_ends_it_quietly():
    """If its output is piped into a program that ends, the receiver ends too, without a traceback."""
    with process(json=True) as running:
        url = json.loads(running.stdout.readline())["ready"]["url"]
        running.stdout.close()
        assert httpx.post(url, content=BODY, trust_env=False).status_code == 202
        status = running.wait(timeout=60)
        errors = running.stderr.read()

    assert (status, errors) == (1, "")
