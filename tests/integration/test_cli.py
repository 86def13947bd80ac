"""Promises of the commands destination, dead-letter and event, with a running service."""

import gzip
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import pytest

from aegis_stream.cli import headers, oauth2
from aegis_stream.settings import NOT_SETTINGS
from support.cli import run_aegis
from support.service import running_service, wait_until

TARGET = "http://127.0.0.77:8801/audit"  # nobody listens on this loopback address
PREFLIGHT = {"event": {"dataset": "aegis.preflight"}, "aegis": {"decision": "BLOCKED"}}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with short retry delays."""
    with running_service(
        tmp_path_factory.mktemp("service"),
        AEGIS_RETRY_BASE_SECONDS="0.01",
        AEGIS_RETRY_MAX_ATTEMPTS="2",
        AEGIS_AUTO_REDRIVE="false",
    ) as running:
        yield running


@pytest.fixture
def aegis(service, monkeypatch, capsys):
    """`aegis(…)` runs a command for a new organization; `aegis.json(…)` returns the output of --json."""
    organization = service.make_organization()
    account = {"AEGIS_URL": service.url, "AEGIS_API_KEY": organization.key, "AEGIS_ORG": organization.org_id}

    def run(*arguments, status=0, **options):
        finished = run_aegis(monkeypatch, capsys, *arguments, **{**account, **options})
        assert finished.status == status, finished
        assert organization.key not in finished.stdout + finished.stderr
        return finished

    def run_json(*arguments, **options):
        return json.loads(run(*arguments, "--json", **options).stdout)

    run.json, run.organization, run.account = run_json, organization, account
    return run


@contextmanager
def running_receiver(bearer):
    """Run `aegis receiver` as a process and yield its URL."""
    command = [sys.executable, "-m", "aegis_stream", "receiver", "--port", "0", "--json", "--bearer", bearer]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield json.loads(process.stdout.readline())["ready"]["url"]
        finally:
            process.kill()


def ndjson(*events):
    """Return events as lines."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_destination_add_sends_every_option(aegis, tmp_path):
    """The service stores what the options say, and the secret is not printed."""
    added = aegis(
        *("destination", "add", TARGET, "--name", "Mine", "--format", "ndjson"),
        *("--auth-header-name", "X-Token", "--auth-header-value", "hunter2hunter2"),
        *("--dataset", "a", "--dataset", "aegis.preflight", "--decision", "BLOCKED"),
        *("--batch-max-events", "7", "--batch-max-bytes", "70000", "--batch-max-wait-ms", "70"),
        *("--retry-max-attempts", "4", "--retry-base-seconds", "1.5"),
        *("--retry-multiplier", "3", "--retry-max-seconds", "99", "--disabled", "--json"),
        *("--compression", "gzip", "--header", "X-B: hunter2 b", "--header", "X-A:hunter2"),
    )
    stored = json.loads(added.stdout)

    assert stored["url"] == TARGET
    assert (stored["name"], stored["format"], stored["status"]) == ("Mine", "ndjson", "paused")
    assert (stored["auth_header_name"], stored["auth_header_set"]) == ("X-Token", True)
    assert (stored["compression"], stored["header_names"]) == ("gzip", ["X-B", "X-A"])
    assert stored["filter"] == {"datasets": ["a", "aegis.preflight"], "decisions": ["BLOCKED"]}
    assert stored["batch"] == {"max_events": 7, "max_bytes": 70000, "max_wait_ms": 70}
    assert stored["retry"] == {"max_attempts": 4, "base_seconds": 1.5, "multiplier": 3, "max_seconds": 99}
    assert "hunter2" not in added.stdout + added.stderr


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("--header", "Authorization: Bearer s3cr3t"), {}),
        (("--auth-header-value", "Bearer s3cr3t"), {}),
        ((), {"AEGIS_AUTH_HEADER_VALUE": "Bearer s3cr3t"}),
        (("--auth-header-value-stdin",), {"stdin": b"Bearer s3cr3t\n"}),
        (("--header", "Authorization: Bearer s3cr3t"), {"AEGIS_AUTH_HEADER_VALUE": "other"}),
        (("--header-file", "-"), {"stdin": b"Authorization: Bearer s3cr3t\n"}),
        ((), {"AEGIS_HEADERS": "Authorization: Bearer s3cr3t"}),
        (("--header", "Authorization: Bearer s3cr3t"), {"AEGIS_HEADERS": "authorization: other"}),
    ],
)
def test_a_secret_comes_by_any_way(aegis, arguments, options):
    """The auth header can come from a header option, a value option, the environment or standard input, and is never shown."""
    finished = aegis("destination", "add", "--to", TARGET, *arguments, **options)

    (stored,) = aegis.json("destination", "list")
    assert (stored["auth_header_name"], stored["auth_header_set"]) == ("Authorization", True)
    assert stored["header_names"] == []
    assert "s3cr3t" not in finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("arguments", "options", "auth", "others"),
    [
        (("--header", "X-A: s3cr3t", "--header", "X-B: s3cr3t"), {}, None, ["X-A", "X-B"]),
        (("--header", "X-A: s3cr3t", "--auth-header-value", "s3cr3t"), {}, "Authorization", ["X-A"]),
        (("--header", "X-A: s3cr3t"), {"AEGIS_AUTH_HEADER_VALUE": "s3cr3t"}, "Authorization", ["X-A"]),
        (("--header", "X-A: s3cr3t", "--auth-header-name", "x-a"), {}, "X-A", []),
        (("--header-file", "-"), {"stdin": b"X-A: s3cr3t\n\nX-B: s3: cr3t\r\n"}, None, ["X-A", "X-B"]),
        ((), {"AEGIS_HEADERS": "X-A: s3cr3t\nX-B: s3cr3t"}, None, ["X-A", "X-B"]),
        (("--header", "X-A: s3cr3t"), {"AEGIS_HEADERS": "x-a: other\nX-B: s3cr3t"}, None, ["X-A", "X-B"]),
    ],
    ids=["typed", "beside a value", "beside a variable", "named", "file", "variable", "typed first"],
)
def test_further_headers_come_by_any_way(aegis, arguments, options, auth, others):
    """Headers can come from options, a file or the environment; the one with the auth header's name is the auth header."""
    finished = aegis("destination", "add", TARGET, *arguments, **options)

    (stored,) = aegis.json("destination", "list")
    assert (stored["auth_header_name"], stored["header_names"]) == (auth, others)
    assert "s3cr3t" not in finished.stdout + finished.stderr
    assert all(f"{name}: ****" in finished.stdout for name in others)


OAUTH2 = ("--oauth2-token-url", "https://127.0.0.1/token", "--oauth2-client-id", "client-1")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((), {"AEGIS_OAUTH2_CLIENT_SECRET": "s3cr3t"}),
        (("--oauth2-client-secret-file", "-"), {"stdin": b"s3cr3t\r\n"}),
        (("--oauth2-client-secret-file", "-"), {"stdin": b"s3cr3t", "AEGIS_OAUTH2_CLIENT_SECRET": "\n"}),
    ],
    ids=["variable", "file", "file first"],
)
def test_a_client_secret_comes_by_variable_or_file(aegis, arguments, options):
    """The OAuth2 client is given by options, its secret by a variable or a file; everything except the secret is shown."""
    finished = aegis("destination", "add", TARGET, *OAUTH2, "--oauth2-scope", "a b", *arguments, **options)

    (stored,) = aegis.json("destination", "list")
    assert stored["oauth2"] == {
        "token_url": "https://127.0.0.1/token",
        "client_id": "client-1",
        "scope": "a b",
    }
    assert stored["auth_header_set"] is False
    assert "token for client-1 from https://127.0.0.1/token" in finished.stdout
    assert "s3cr3t" not in finished.stdout + finished.stderr


def test_the_variables_of_commands_stop_no_service():
    """Variables of `destination add` do not stop the start of a service in the same shell."""
    assert {headers.VARIABLE, oauth2.VARIABLE} <= NOT_SETTINGS


@pytest.mark.parametrize(
    "arguments",
    [
        OAUTH2,
        OAUTH2[:2],
        ("--oauth2-scope", "a"),
        (*OAUTH2, "--oauth2-client-secret-file", "/dev/null"),
        (*OAUTH2, "--oauth2-client-secret-file", "/no/such/file"),
        (*OAUTH2, "--oauth2-client-secret", "s3cr3t"),
    ],
    ids=["no secret", "no client", "scope alone", "empty file", "no file", "secret typed"],
)
def test_wrong_use_of_oauth2(aegis, arguments):
    """A missing part ends with status 2 and creates no destination; there is no option for the secret."""
    finished = aegis("destination", "add", TARGET, *arguments, status=2)

    assert "Error:" in finished.stderr
    assert "s3cr3t" not in finished.stderr
    assert aegis.json("destination", "list") == []


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (TARGET, "--to", TARGET),
        (TARGET, "--header", "no colon s3cr3t"),
        (TARGET, "--header", "a:"),
        (TARGET, "--header", "a: s3cr3t", "--header", "A: s3cr3t"),
        (TARGET, "--header", "a: b", "--auth-header-name", "c"),
        (TARGET, "--header", "authorization: s3cr3t", "--auth-header-value", "s3cr3t"),
        (TARGET, "--header", "a: b", "--auth-header-name", "a", "--auth-header-value", "c"),
        (TARGET, "--header-file", "/no/such/file"),
        (TARGET, "--header-file", "/dev/null", "--auth-header-name", "c"),
        (TARGET, "--header-file", "-", "--auth-header-value-stdin"),
        (TARGET, "--compression", "lzma"),
        (TARGET, "--format", "splunk"),
        (TARGET, "--auth-header-name", "c"),
        (TARGET, "--auth-header-value-stdin"),
        (TARGET, "--decision", "MAYBE"),
        (TARGET, "--batch-max-events", "many"),
        (TARGET, "--ca-certificate", "/no/such/file"),
    ],
)
def test_wrong_use_of_add(aegis, arguments):
    """A mistake in the options ends with status 2 and creates no destination."""
    finished = aegis("destination", "add", *arguments, status=2)

    assert "Error:" in finished.stderr
    assert "s3cr3t" not in finished.stderr
    assert aegis.json("destination", "list") == []


def test_a_wrong_format_is_answered_with_the_names_there_are(aegis):
    """A wrong format is answered with the names there are."""
    finished = aegis("destination", "add", TARGET, "--format", "splunk", status=2)

    assert "splunk_hec" in finished.stderr


def test_a_certificate_comes_from_a_file(aegis, tmp_path):
    """The text of --ca-certificate is sent to the service, whose error names the field."""
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")

    finished = aegis(
        "destination", "add", "https://127.0.0.77:8801/", "--ca-certificate", str(path), status=1
    )

    assert "ca_certificate: " in finished.stderr


def test_a_refusal_names_all_fields(aegis):
    """A rejection by the service is printed on standard error with the fields, and the status is 1."""
    finished = aegis(
        *("destination", "add", "gopher://x", "--auth-header-name", "Host", "--auth-header-value", "x"),
        *("--header", "Connection: x", "--retry-max-attempts", "99"),
        status=1,
    )

    lines = finished.stderr.splitlines()
    assert lines[0].startswith("aegis: 422")
    assert {line.split(":")[0].strip() for line in lines[1:]} >= {
        "url",
        "auth_header_name",
        "headers.Connection",
        "retry.max_attempts",
    }
    assert finished.stdout == ""


def test_show_and_list_for_people(aegis):
    """Without --json a destination is a few lines, and a list has one line per destination."""
    made = aegis.json("destination", "add", TARGET, "--name", "One")
    aegis("destination", "add", TARGET, "--name", "Two")

    shown = aegis("destination", "show", made["id"]).stdout
    listed = aegis("destination", "list").stdout.splitlines()

    assert "One" in shown
    assert "active" in shown
    assert [line.split()[0] for line in listed][:2] == ["ID", made["id"]]
    assert len(listed) == 3
    assert len(aegis.json("destination", "list", "--limit", "1")) == 1


def test_pause_and_resume(aegis):
    """Pause and resume show the destination's new status."""
    made = aegis.json("destination", "add", TARGET)

    assert aegis.json("destination", "pause", made["id"])["status"] == "paused"
    assert "active" in aegis("destination", "resume", made["id"]).stdout


def test_remove(aegis):
    """A removed destination does not exist any more; a script is not asked for confirmation."""
    made = aegis.json("destination", "add", TARGET)
    other = aegis.json("destination", "add", TARGET)

    assert made["id"] in aegis("destination", "remove", made["id"]).stdout
    assert aegis.json("destination", "remove", other["id"], "--yes") == {"removed": other["id"]}
    assert "404" in aegis("destination", "show", made["id"], status=1).stderr


def test_a_test_that_fails(aegis):
    """If nobody listens, the test says why, with status 1, also as JSON."""
    made = aegis.json("destination", "add", TARGET)

    said = aegis("destination", "test", made["id"], status=1).stdout
    answer = aegis.json("destination", "test", made["id"], status=1)

    assert said.startswith("failed  no answer")
    assert answer["ok"] is False
    assert said.count(answer["error"]) == 1
    assert "guard    ok      up to " in said
    assert [line.split()[:2] for line in said.splitlines()[1:]] == [
        ["resolve", "ok"],
        ["guard", "ok"],
        ["connect", "failed"],
        ["send", "-"],
        ["answer", "-"],
    ]


def test_a_test_that_works(aegis):
    """If the receiver accepts the test event, the command says so, with status 0."""
    with running_receiver("s3cr3t") as url:
        made = aegis.json("destination", "add", url, "--header", "Authorization: Bearer s3cr3t")

        said = aegis("destination", "test", made["id"]).stdout
        answer = aegis.json("destination", "test", made["id"])

    assert said.startswith("ok  status 202  ")
    assert said.rstrip().endswith("answered 202")
    assert [line.split()[1] for line in said.splitlines()[1:]] == ["ok"] * 5
    assert (answer["ok"], answer["status_code"]) == (True, 202)


def test_a_test_before_it_is_created(aegis):
    """With --test-only a test event is sent with what was given, nothing is created, and the exit status says whether it was taken."""
    with running_receiver("s3cr3t") as url:
        good = aegis(
            *("destination", "add", url, "--header", "Authorization: Bearer s3cr3t", "--test-only")
        ).stdout
        bad = aegis(
            *("destination", "add", url, "--header", "Authorization: Bearer wrong-secret", "--test-only"),
            status=1,
        ).stdout
        answer = aegis.json("destination", "add", url, "--test-only", status=1)

    assert good.startswith("ok  status 202  ")
    assert bad.startswith("failed  status 401  ")
    assert "wrong-secret" not in bad
    assert answer["status_code"] == 401
    assert aegis.json("destination", "list") == []


def test_what_a_receiver_answers_is_shown(aegis):
    """The answer of a receiver that rejects the credential is quoted, with status 1 and without the credential."""
    with running_receiver("s3cr3t") as url:
        made = aegis.json("destination", "add", url, "--header", "Authorization: Bearer wrong-secret")

        finished = aegis("destination", "test", made["id"], status=1)

    assert finished.stdout.startswith("failed  status 401  ")
    assert "wrong-secret" not in finished.stdout + finished.stderr


def test_replay(aegis):
    """A range by sequence or by time is replayed, and the number of events is printed."""
    aegis("event", "send", stdin=ndjson({"n": 1}, {"n": 2}, {"n": 3}))
    made = aegis.json("destination", "add", TARGET, "--disabled")

    by_sequence = aegis.json(
        "destination", "replay", made["id"], "--from-sequence", "2", "--to-sequence", "3"
    )
    by_time = aegis(
        "destination",
        "replay",
        made["id"],
        "--from",
        "2020-01-01T00:00:00Z",
        "--to",
        "2999-01-01T00:00:00+02:00",
    )

    assert by_sequence["events"] == 2
    assert by_time.stdout == "replaying 3 events\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--from", "2020-01-01T00:00:00Z", "--from-sequence", "1"),
        ("--from", "2020-01-01T00:00:00Z", "--to-sequence", "1"),
        ("--from-sequence", "1", "--to", "2020-01-01T00:00:00Z"),
        ("--from", "yesterday"),
        ("--from", "2020-01-01T00:00:00"),
        ("--from-sequence", "0"),
    ],
)
def test_wrong_use_of_replay(aegis, arguments):
    """An invalid range ends with status 2."""
    assert "Error:" in aegis("destination", "replay", "dst_x", *arguments, status=2).stderr


def test_dead_letters(aegis):
    """Dead letters are listed, redriven and purged."""
    made = aegis.json("destination", "add", TARGET)
    aegis("event", "send", stdin=ndjson({"event": {"id": "one"}}, {"event": {"id": "two"}}))
    there = ("--destination", made["id"])
    wait_until(lambda: len(aegis.json("dead-letter", "list", *there)) == 2)

    listed = aegis("dead-letter", "list", *there).stdout
    some = aegis.json("dead-letter", "redrive", *there, "--event", "one")
    wait_until(lambda: len(aegis.json("dead-letter", "list", *there)) == 2)
    every = aegis("dead-letter", "redrive", *there).stdout
    wait_until(lambda: len(aegis.json("dead-letter", "list", *there)) == 2)
    one = aegis.json("dead-letter", "purge", *there, "--event", "one")
    rest = aegis("dead-letter", "purge", *there, "--yes").stdout

    assert "one" in listed
    assert "two" in listed
    assert some == {"redriven": 1}
    assert every == "redriven 2\n"
    assert one == {"purged": 1}
    assert rest == "purged 1\n"
    assert aegis.json("dead-letter", "list", *there) == []


def test_deliveries(aegis):
    """Attempts are listed by their filters, one is shown in full without the credential, and its event is sent again."""
    made = aegis.json("destination", "add", TARGET, "--auth-header-value", "Bearer c4n4ry")
    aegis("event", "send", stdin=ndjson({"event": {"id": "one"}}))
    filters = ("--destination", made["id"], "--state", "failed", "--event", "one")
    wait_until(lambda: aegis.json("dead-letter", "list", "--destination", made["id"]))

    newest = aegis.json("delivery", "list", *filters)[0]
    everywhere = aegis("delivery", "list", "--error", newest["error"][:10].upper()).stdout
    none = aegis.json("delivery", "list", "--status-class", "2xx")
    shown = aegis("delivery", "show", made["id"], newest["id"]).stdout
    again = aegis.json("event", "resend", "one", "--destination", made["id"])
    told = aegis("event", "resend", "one", "--destination", made["id"]).stdout

    assert newest["id"] in everywhere
    assert none == []
    assert f"POST {TARGET}" in shown
    assert "Authorization: ****" in shown
    assert "c4n4ry" not in shown
    assert again == {"data": [{"destination_id": made["id"], "state": "queued"}]}
    assert told.split() == ["DESTINATION", "STATE", made["id"], "queued"]


def test_a_timeline_counts_what_the_list_of_attempts_shows(aegis):
    """Steps of a table with their sum below; a wrong time is wrong use, and a wrong step is told by the service."""
    made = aegis.json("destination", "add", TARGET, "--retry-max-attempts", "1")
    aegis("event", "send", stdin=ndjson({"event": {"id": "one"}}))
    wait_until(lambda: aegis.json("dead-letter", "list", "--destination", made["id"]))

    body = aegis.json("destination", "timeline", made["id"])
    *_, total, told = aegis("destination", "timeline", made["id"], "--step", "300").stdout.splitlines()
    wrong = aegis("destination", "timeline", made["id"], "--step", "90", status=1).stderr
    aegis("destination", "timeline", made["id"], "--from", "yesterday", status=2)

    attempts = aegis.json("delivery", "list", "--destination", made["id"], "--state", "failed")
    assert sum(body["total"]["failed"].values()) == len(attempts) >= 1
    assert total.split()[:2] == ["total", "0"]
    assert told.startswith("steps of 300 s from ")
    assert "multiple of 60" in wrong


def test_send_tells_what_became_of_each_line(aegis, tmp_path):
    """Accepted, duplicate and rejected lines are counted; rejected ones have number and reason, and the status is 1."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(
        ndjson({"event": {"id": "a"}}, {"event": {"id": 7}}) + b"\nno json\n" + ndjson(PREFLIGHT)
    )
    aegis("event", "send", stdin=ndjson({"event": {"id": "a"}}))

    summary = aegis.json("event", "send", str(path), status=1)

    assert (summary["accepted"], summary["duplicates"], summary["rejected_total"]) == (1, 1, 2)
    assert [one["line"] for one in summary["rejected"]] == [2, 4]
    assert "event.id" in summary["rejected"][0]["error"]


def test_send_for_people(aegis):
    """Without --json the counts are on standard output and the rejected lines on standard error."""
    finished = aegis("event", "send", stdin=ndjson({"n": 1}) + b"x" * 30 + b"\n", status=1)

    assert finished.stdout == "2 sent: 1 accepted, 0 duplicates, 1 rejected\n"
    assert finished.stderr.startswith("  line 2: ")


def test_send_takes_more_than_a_request_holds(aegis):
    """A file of several batches arrives completely and in order."""
    events = [{"event": {"id": f"e{number}"}} for number in range(1234)]

    assert aegis("event", "send", "-", stdin=ndjson(*events)).status == 0

    lines = aegis("event", "tail", "--from-sequence", "1", "--no-follow", "--json").stdout.splitlines()
    assert [json.loads(line)["event"]["id"] for line in lines] == [one["event"]["id"] for one in events]


def test_send_nothing(aegis):
    """An empty file is no error, but it is mentioned."""
    finished = aegis("event", "send")

    assert finished.stdout == "0 sent: 0 accepted, 0 duplicates, 0 rejected\n"
    assert finished.stderr == "no event was stored: the input is empty\n"


def test_send_says_how_to_convert_a_file(aegis):
    """A file that is not one object per line is rejected with the command that converts it."""
    pretty = json.dumps([{"n": 1}, {"n": 2}], indent=1).encode()

    finished = aegis("event", "send", stdin=pretty, status=1)

    assert "no event was stored: the input is a JSON array" in finished.stderr
    assert "jq -c '.[]'" in finished.stderr


@pytest.mark.parametrize("json_output", [(), ("--json",)])
@pytest.mark.parametrize(
    ("encode", "advice"), [(gzip.compress, "zcat"), (lambda text: text.decode().encode("utf-16"), "iconv")]
)
def test_send_sends_nothing_of_what_is_no_text(aegis, encode, advice, json_output):
    """A compressed or UTF-16 file is not sent; one line says how to convert it, with status 1."""
    finished = aegis("event", "send", *json_output, stdin=encode(ndjson({"n": 1}, {"n": 2})), status=1)

    assert finished.stdout == ""
    assert finished.stderr.startswith("aegis: the input is ")
    assert advice in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_send_names_one_reason_for_all_lines(aegis):
    """If one reason explains why every line of a file was rejected, the lines are not listed one by one."""
    finished = aegis("event", "send", stdin=json.dumps({"a": 1, "b": 2}, indent=1).encode(), status=1)

    assert finished.stdout == "4 sent: 0 accepted, 0 duplicates, 4 rejected\n"
    assert finished.stderr == (
        "no event was stored: the first line is not one complete JSON object: "
        "convert it to one object per line first, with jq -c .\n"
    )


@pytest.mark.parametrize("name", ["nowhere.ndjson", "."])
def test_send_names_a_file_that_cannot_be_read(aegis, tmp_path, name):
    """A missing file and a directory are named, with status 2."""
    finished = aegis("event", "send", str(tmp_path / name), status=2)

    assert str(tmp_path) in finished.stderr


def test_send_to_nobody(aegis):
    """If no service answers, the message names the address and what to do, with status 1."""
    finished = aegis(
        "event", "send", "--retry-for", "0", stdin=ndjson({}), status=1, AEGIS_URL="http://127.0.0.1:9"
    )

    assert "cannot reach http://127.0.0.1:9" in finished.stderr
    assert "aegis serve" in finished.stderr


def test_tail_shows_the_last_events(aegis):
    """--limit N shows the last N events in log order, one per line."""
    aegis("event", "send", stdin=ndjson(*({"event": {"id": f"e{number}"}} for number in range(20))))

    lines = aegis("event", "tail", "--limit", "3").stdout.splitlines()

    assert [line.split()[1:3] for line in lines] == [["18", "e17"], ["19", "e18"], ["20", "e19"]]


def test_tail_prints_events_as_stored(aegis):
    """--json prints the stored text on one line, with control characters escaped."""
    text = '{"event":{"id":"x"},\n "n": 1.50, "c1": "\u009b2J\u202e", "ä": "ö"}'
    url = f"{aegis.account['AEGIS_URL']}/api/orgs/{aegis.organization.org_id}/events"
    headers = {"Authorization": f"Bearer {aegis.organization.key}", "Content-Type": "application/json"}
    assert httpx.post(url, content=text.encode(), headers=headers, trust_env=False).status_code == 202

    (line,) = aegis("event", "tail", "--no-follow", "--json").stdout.splitlines()

    assert '"c1":"\\u009b2J\\u202e"' in line.replace(": ", ":")
    assert "1.50" in line
    assert {**json.loads(text), **json.loads(line)} == json.loads(line)


def test_tail_filters(aegis):
    """--dataset and --decision filter the events."""
    aegis("event", "send", stdin=ndjson({"n": 1}, PREFLIGHT, {"event": {"dataset": "other"}}))

    by_decision = aegis("event", "tail", "--no-follow", "--json", "--decision", "BLOCKED").stdout
    by_dataset = aegis("event", "tail", "--no-follow", "--json", "--dataset", "other").stdout

    assert json.loads(by_decision)["aegis"] == {"decision": "BLOCKED"}
    assert json.loads(by_dataset)["event"]["dataset"] == "other"


def test_list_finds_the_newest_first(aegis):
    """`event list` takes a search line, and lists what it describes, the newest first."""
    aegis(
        "event", "send", stdin=ndjson({"n": 1, "who": "alice"}, PREFLIGHT, {"n": 2, "who": "alice"}, {"n": 3})
    )

    found = json.loads(aegis("event", "list", "who:alice since:1h", "--json").stdout)
    oldest = json.loads(aegis("event", "list", '"who"', "--oldest-first", "--limit", "1", "--json").stdout)
    lines = aegis("event", "list", "decision:blocked").stdout.splitlines()

    assert [one["event"]["n"] for one in found] == [2, 1]
    assert [one["event"]["n"] for one in oldest] == [1]
    assert len(lines) == 1
    assert "BLOCKED" in lines[0]


def test_list_shows_where_a_line_is_wrong(aegis):
    """A line that cannot be read sends nothing, and its mistake is marked."""
    finished = aegis("event", "list", "who:alice decision:MAYBE", status=2)

    assert "a decision is one of ALLOWED" in finished.stderr
    assert finished.stderr.splitlines()[-1].index("^") - 2 == len("who:alice ")


def test_dead_letters_by_cause(aegis):
    """Groups, filters, previews and jobs of dead letters."""
    made = aegis.json("destination", "add", TARGET)
    aegis("event", "send", stdin=ndjson({"event": {"id": "one"}}, {"event": {"id": "two"}}))
    there = ("--destination", made["id"])
    wait_until(lambda: len(aegis.json("dead-letter", "list", *there)) == 2)
    [group] = aegis.json("dead-letter", "groups", *there)

    assert (group["count"], group["share"]) == (2, 1.0)
    assert group["id"] in aegis("dead-letter", "groups", *there).stdout
    assert len(aegis.json("dead-letter", "list", *there, "--error", group["id"], "--limit", "1")) == 1
    assert aegis.json("dead-letter", "list", *there, "--error", "another error") == []
    other = "event" if group["about"] == "destination" else "destination"
    assert aegis("dead-letter", "redrive", *there, "--about", other).stdout == "redriven 0\n"
    preview = aegis("dead-letter", "redrive", *there, "--error", group["id"], "--preview").stdout
    assert preview.startswith("2 match")
    assert preview.endswith("nothing was started\n")
    assert aegis.json("dead-letter", "jobs", *there) == []
    purged = aegis("dead-letter", "purge", *there, "--error", group["error"], "--yes").stdout
    assert purged == "purged 2\n"
    refused = aegis("dead-letter", "jobs", *there, "--cancel", "job_x", status=1).stderr
    assert "there is no job 'job_x'" in refused


@pytest.mark.parametrize("command", ["list", "redrive", "purge"])
def test_a_filter_by_a_wrong_time_is_wrong_use(aegis, command):
    """A time without a zone ends with status 2, before any call."""
    finished = aegis("dead-letter", command, "--destination", "dst_x", "--before", "yesterday", status=2)

    assert "is not a time with a time zone" in finished.stderr


def test_a_preview_of_a_replay(aegis):
    """A preview counts the events and starts nothing."""
    made = aegis.json("destination", "add", TARGET)
    aegis("event", "send", stdin=ndjson({"n": 1}, {"n": 2}))

    told = aegis("destination", "replay", made["id"], "--from-sequence", "1", "--preview").stdout

    assert told == "2 events; nothing was started\n"


def test_tail_follows(aegis, monkeypatch):
    """Events recorded while it runs are shown once, also with a filter."""
    rounds = iter([ndjson(PREFLIGHT), ndjson({"n": 1}), ndjson({"n": 2}, PREFLIGHT)])
    url = f"{aegis.account['AEGIS_URL']}/api/orgs/{aegis.organization.org_id}/events"
    headers = {"Authorization": f"Bearer {aegis.organization.key}", "Content-Type": "application/x-ndjson"}

    def record(_seconds):
        httpx.post(url, content=next(rounds), headers=headers, trust_env=False).raise_for_status()

    monkeypatch.setattr(
        "aegis_stream.cli.events.time", SimpleNamespace(sleep=record, monotonic=time.monotonic)
    )
    lines = aegis(
        *("event", "tail", "--from-sequence", "1", "--limit", "2", "--decision", "BLOCKED")
    ).stdout.splitlines()

    assert [line.split()[1] for line in lines] == ["1", "4"]


def test_ctrl_c_is_the_ordinary_end_of_tail(aegis, monkeypatch):
    """Ctrl-C ends `tail` with status 0."""

    def interrupt(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("aegis_stream.cli.events.time", SimpleNamespace(sleep=interrupt))

    assert aegis("event", "tail", status=0).stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("destination", "list"),
        ("destination", "show", "dst_x"),
        ("destination", "test", "dst_x"),
        ("destination", "timeline", "dst_x"),
        ("destination", "pause", "dst_x"),
        ("destination", "resume", "dst_x"),
        ("destination", "remove", "dst_x"),
        ("destination", "replay", "dst_x", "--from-sequence", "1"),
        ("dead-letter", "list", "--destination", "dst_x"),
        ("dead-letter", "redrive", "--destination", "dst_x"),
        ("dead-letter", "purge", "--destination", "dst_x"),
        ("dead-letter", "groups", "--destination", "dst_x"),
        ("dead-letter", "jobs", "--destination", "dst_x"),
        ("event", "tail"),
    ],
)
def test_a_wrong_key_is_told(aegis, arguments):
    """Every command answers an unknown key with status 1 and the name of its variable."""
    assert "AEGIS_API_KEY" in aegis(*arguments, status=1, AEGIS_API_KEY="aegis_sk_wrong").stderr


def test_no_service(aegis):
    """If nothing listens, the message names the address and what to do."""
    finished = aegis("destination", "list", status=1, AEGIS_URL="http://127.0.0.1:9")

    assert finished.stderr.startswith("aegis: cannot reach http://127.0.0.1:9 (")


@pytest.mark.parametrize(
    "account",
    [
        {"AEGIS_URL": "nonsense"},
        {"AEGIS_URL": "http://user:pass@127.0.0.1"},
        {"AEGIS_API_KEY": ""},
        {"AEGIS_API_KEY": "with space"},
        {"AEGIS_ORG": ""},
    ],
)
def test_an_account_that_cannot_be(aegis, account):
    """A malformed URL, key or organization ends with status 2, before anything is sent."""
    finished = aegis("destination", "list", status=2, **account)

    assert "Error:" in finished.stderr
    assert "pass" not in finished.stderr


def test_status_shows_the_service_to_the_operator(aegis, service):
    """`status` shows store, organizations, workers and ingest with the operator key, and is refused with another one."""
    operator = {"AEGIS_OPERATOR_KEY": service.environment["AEGIS_OPERATOR_KEY"]}
    printed = aegis("status", **operator).stdout
    found = aegis.json("status", **operator)
    refused = aegis("status", status=1, AEGIS_OPERATOR_KEY=aegis.organization.key)

    assert "with a failing destination" in printed
    assert found["organizations"]["total"] >= 1
    assert [one["api_processes"] for one in found["services"]] == [1]
    assert found["workers"][0]["id"] in printed
    assert "operator key" in refused.stderr


def test_key_requests_shows_why_events_do_not_arrive(aegis, service):
    """The first call begins to note; the next one shows what came since, and why it was rejected."""
    headers = {"Authorization": f"Bearer {aegis.organization.key}"}
    path = f"{service.url}/api/orgs/{aegis.organization.org_id}"
    key_id = httpx.get(path + "/api-keys", headers=headers, trust_env=False).json()["data"][0]["id"]
    first = aegis("key", "requests", key_id).stdout
    httpx.post(path + "/events", json={"event": {"id": 5}}, headers=headers, trust_env=False)
    found = aegis.json("key", "requests", key_id)["data"]

    assert "none yet: requests of this key are noted for 300 s from now on" in first
    assert [(one["status"], one["rejected"]) for one in found] == [(422, 1)]
    assert "event.id" in aegis("key", "requests", key_id).stdout
