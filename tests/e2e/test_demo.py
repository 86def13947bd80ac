"""Promises of `aegis demo`, started as a person does: real processes, real events, Ctrl-C."""

import gzip
import json
import re
import signal
import socket
import subprocess
import sys

import pytest

from support.demo import children_of, demo, wait_for
from support.docs import read
from support.service import wait_until

pytestmark = pytest.mark.slow


def write_events(tmp_path, count):
    """Write events without an organization; one of them has no id and no time."""
    path = tmp_path / "events.ndjson"
    events = [
        {"@timestamp": "2026-01-01T00:00:00Z", "event": {"id": f"own-{number}"}, "n": number / 7}
        for number in range(count - 1)
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in [*events, {"message": "bare"}]))
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demonstration_from_start_to_end(tmp_path, number):
    """Every event of the file arrives unchanged; a signal ends the demonstration with status 0, and no process and no key is left."""
    events = write_events(tmp_path, 40)
    with demo(tmp_path, "--events", str(events), "--port", "0") as (process, output):
        said = wait_for(process, output, "Runs until Ctrl-C")
        process.send_signal(number)
        status = process.wait(60)

    assert "sent 40   stored 40   arrived 40   equal 40   all equal" in said
    assert status == 0, output.read_text()
    assert children_of(tmp_path / "data") == []
    left = sorted(path.name for path in (tmp_path / "data" / "demo").iterdir())
    assert left == ["altered.ndjson", "audit.pub", "checkpoint.txt", "received.ndjson", "service.log", "tls"]
    assert re.search(
        r"^Open the console, once: http://127\.0\.0\.1:\d+/console/link#aegis_cl_", said, re.MULTILINE
    )
    assert not re.search(r"aegis_(sk|op)_[A-Za-z0-9_-]{10}", said)


def test_it_proves_what_the_receiver_has(tmp_path):
    """The receiver's copy is complete and unaltered; with one byte changed that event is named; both can be checked after the end."""
    events = write_events(tmp_path, 40)
    with demo(tmp_path, "--events", str(events), "--port", "0") as (process, output):
        said = wait_for(process, output, "Runs until Ctrl-C")

    proven, altered = said.partition("Prove that")[2].split("Change one byte")
    assert "PINNED" in proven
    assert "agrees      with 1 kept checkpoints" in proven
    assert "verdict     COMPLETE AND UNALTERED" in proven
    event_id = re.search(r"in event (\S+), and verify again", altered)[1]
    assert re.search(rf"ALTERED +1\n +\d+  {event_id}  altered\.ndjson:\d+", altered)
    assert "verdict     NOT COMPLETE: 1 altered\n" in altered
    folder = tmp_path / "data" / "demo"
    copies = [(folder / name).read_bytes() for name in ("received.ndjson", "altered.ndjson")]
    assert sum(one != other for one, other in zip(*copies, strict=True)) == 1
    assert [verdict_on(folder, name) for name in ("received.ndjson", "altered.ndjson")] == [0, 1]


CHANGING = (
    (r"^   (was|is)   ?….*…$", r"\1"),
    (r"aegis-[0-9a-f]{8}/org_demo_[0-9a-f]{8}", "LOG"),
    (r"\+[0-9a-f]{8}\+[\w+/=]{44}", "+KEY"),
    (r"^   [\w+/]{43}=$", "   ROOT"),
    (r"   twice \d+$", ""),
    (r"link#\S+", "link#TOKEN"),
    (r"in event \S+,", "in event ID,"),
    (r" +\d+  \S+  altered", " SEQUENCE  ID  altered"),
    (r"recorded (between \S+ and|before|after) \S+\)", "recorded THEN)"),
    (r"\d[\d,.:TZ-]*", "N"),
)
"""What differs from run to run, and what stands in its place when the output is compared with the page."""


def comparable(text):
    """Return the lines of a text without what differs from run to run."""
    for pattern, stand_in in CHANGING:
        text = re.sub(pattern, stand_in, text, flags=re.MULTILINE)
    return text.splitlines()


def test_the_readme_shows_what_it_prints(tmp_path):
    """Each line that README.md shows of `make run` is printed, in this order."""
    with demo(tmp_path, "--port", "0") as (process, output):
        said = iter(comparable(wait_for(process, output, "Runs until Ctrl-C")))

    (shown,) = re.findall(r"^```text\n(   sent.*?)^```", read("README.md"), re.MULTILINE | re.DOTALL)
    assert "verdict     COMPLETE AND UNALTERED" in shown
    assert [line for line in comparable(shown) if line not in said] == []


def verdict_on(folder, name):
    """Return the exit status of the verifier for a file."""
    command = [sys.executable, "-m", "aegis_stream", "verify", name, "--key", "audit.pub"]
    return subprocess.run(command, cwd=folder, check=False, stdout=subprocess.DEVNULL).returncode


def test_a_file_of_which_nothing_is_stored_ends_the_demonstration(tmp_path):
    """A file that is not one object per line ends with status 1 and how to convert it, and is not called equal."""
    events = tmp_path / "events.json"
    events.write_text(json.dumps({"event": {"id": "a"}}, indent=1))
    with demo(tmp_path, "--events", str(events), "--port", "0") as (process, output):
        status = process.wait(60)

    said = output.read_text()
    assert status == 1
    assert "stored 0" in said
    assert "all equal" not in said
    assert f"aegis demo: no event of {events} was stored" in said
    assert "jq -c ." in said
    assert children_of(tmp_path / "data") == []


def test_a_compressed_file_is_told_before_anything_starts(tmp_path):
    """A file that is no text ends the demonstration at once, with status 1 and how to convert it."""
    events = tmp_path / "events.ndjson.gz"
    events.write_bytes(gzip.compress(b'{"event": {"id": "a"}}\n'))
    with demo(tmp_path, "--events", str(events), "--port", "0") as (process, output):
        status = process.wait(60)

    said = output.read_text()
    assert status == 1
    assert f"aegis demo: no event of {events} was sent: the input is compressed with gzip" in said
    assert "1. Start" not in said


def test_a_rejected_line_is_no_success(tmp_path):
    """If a line is rejected, the demonstration says so, goes on, and ends with status 1."""
    events = write_events(tmp_path, 3)
    events.write_text(events.read_text() + "no json\n")
    with demo(tmp_path, "--events", str(events), "--port", "0") as (process, output):
        said = wait_for(process, output, "Runs until Ctrl-C")
        process.send_signal(signal.SIGINT)
        status = process.wait(60)

    assert "sent 4   stored 3   arrived 3   equal 3   1 REJECTED" in said
    assert "line 4 was rejected" in said
    assert status == 1


def called(command):
    """Run a command of the shell, and return the JSON that it prints."""
    return json.loads(subprocess.check_output(["sh", "-c", command]))


def test_what_it_proposes_works(tmp_path):
    """The commands under "Try next" work, and the failures of the receiver are shown."""
    with demo(tmp_path, "--port", "0") as (process, output):
        said = wait_for(process, output, "Runs until Ctrl-C")
        proposed = said.partition("Try next")[2]
        record, destinations, event, counts = re.findall(r"^   (curl .*)$", proposed, re.MULTILINE)
        fail = re.search(r"^   (touch .*)$", proposed, re.MULTILINE)[1]

        recorded, shown = called(record), called(destinations)
        wait_for(process, output, recorded["event_id"])
        # A few outcomes wait a moment for others before they are stored.
        wait_until(lambda: called(event)["deliveries"][0]["state"] == "delivered")
        counted = called(counts)
        subprocess.check_call(["sh", "-c", fail])
        subprocess.check_call(["sh", "-c", record], stdout=subprocess.DEVNULL)
        wait_for(process, output, "500 on purpose")

    assert shown["data"][0]["auth_header_set"]
    assert counted["test"] == 1


def test_a_taken_port_is_no_obstacle(tmp_path):
    """If the port is taken, the API gets another one, and the command that is shown is the one that is run."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with demo(tmp_path, "--port", str(port)) as (process, output):
            said = wait_for(process, output, "Runs until Ctrl-C")

    assert f"answers on http://127.0.0.1:{port}," not in said
    assert f"   port {port} is in use: the service takes a free one\n" in said
    assert re.search(r"^     aegis serve --port 0$", said, re.MULTILINE)


def test_a_second_demonstration_leaves_the_files_of_the_first_alone(tmp_path):
    """While one runs, another in the same data directory ends with status 1, and what the first has can still be verified."""
    with demo(tmp_path, "--port", "0") as (process, output):
        wait_for(process, output, "Runs until Ctrl-C")
        (tmp_path / "other").mkdir()
        with demo(tmp_path / "other", "--port", "0", AEGIS_DATA_DIR=str(tmp_path / "data")) as (other, said):
            status = other.wait(60)

        assert status == 1
        folder = tmp_path / "data" / "demo"
        assert f"aegis demo: another demonstration runs in {folder}: stop it" in said.read_text()
        assert verdict_on(folder, "received.ndjson") == 0
        assert (folder / "auth-header").exists()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_nothing_outlives_a_killed_demonstration(tmp_path):
    """After kill -9 no service and no worker is left."""
    with demo(tmp_path, "--port", "0") as (process, output):
        wait_for(process, output, "Runs until Ctrl-C")
        assert len(children_of(tmp_path / "data")) == 4

        process.kill()
        process.wait()

        wait_until(lambda: not children_of(tmp_path / "data"))


def test_a_service_that_cannot_start_is_told(tmp_path):
    """The output of a service that fails to start is shown, with status 1."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "aegis.db").write_bytes(b"this is no database" * 100)
    with demo(tmp_path, "--port", "0") as (process, output):
        status = process.wait(60)

    assert status == 1
    assert "aegis demo: the service did not start" in output.read_text()
    assert children_of(tmp_path / "data") == []


def test_a_data_directory_that_cannot_be_is_told(tmp_path):
    """If the data directory is a file, the message names it, with status 1."""
    (tmp_path / "data").write_text("")
    with demo(tmp_path, "--port", "0") as (process, output):
        status = process.wait(60)

    assert status == 1
    assert "AEGIS_DATA_DIR" in output.read_text()
