"""Promises of the reference receiver, on a real socket in the test's event loop."""

import asyncio
import datetime as dt
import io
import json
import ssl
import stat
from contextlib import asynccontextmanager, closing

import httpx
import pytest

from aegis_stream.domain.attempt import Accepted, Response
from aegis_stream.formats import REGISTRY
from aegis_stream.receiver import TEST_DATASET, sign
from aegis_stream.receiver.connection import Request
from aegis_stream.receiver.handler import Counts, Handler
from aegis_stream.receiver.options import ReceiverOptions
from aegis_stream.receiver.output import LineWriter
from aegis_stream.receiver.server import serve
from aegis_stream.receiver.tls import RENEW_BEFORE, VALIDITY, ensure_certificate

NOW = dt.datetime(2026, 5, 15, 10, 33, 21, tzinfo=dt.UTC)
JSON = {"Content-Type": "application/json"}


def make_body(identity="pflt_1", dataset="aegis.preflight", **fields):
    """Return one event as it is sent."""
    return json.dumps({"event": {"id": identity, "dataset": dataset}, **fields}).encode()


@asynccontextmanager
async def receiving(*, verify=True, **how):
    """Run a receiver on a free port; yield a client, its Ready, and its output."""
    options = {name: how.pop(name) for name in list(how) if name in ReceiverOptions.__dataclass_fields__}
    stop, output = asyncio.Event(), how.pop("output", io.StringIO())
    ready = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        options = ReceiverOptions(port=0, **options)
        group.create_task(serve(options, stop=stop, on_ready=ready.set_result, output=output, **how))
        context = verify(await ready) if callable(verify) else verify
        async with httpx.AsyncClient(base_url=(await ready).url, verify=context, trust_env=False) as client:
            try:
                yield client, await ready, output
            finally:
                stop.set()


def trusting(ready):
    """Return a TLS context that trusts the receiver's authority, as strictly as newer Pythons do."""
    context = ssl.create_default_context(cafile=ready.ca_certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


async def test_events_are_accepted_shown_and_counted():
    """Real, test and repeated events are answered 202, marked in the output, and counted."""
    async with receiving(now=lambda: NOW) as (client, ready, output):
        bodies = [
            make_body("a", aegis={"summary": "\x1b[2Jhidden"}),
            make_body("b", TEST_DATASET, message="It works"),
            make_body("a"),
        ]
        answers = [await client.post("/any/path", content=body, headers=JSON) for body in bodies]
        health, counts = await client.get("/healthz"), await client.get("/")

        assert [answer.status_code for answer in answers] == [202] * 3
        assert answers[2].json() == {"accepted": 0, "duplicates": 1}
        assert health.json() == {"status": "ok"}
        assert counts.json() == {
            "received": 3, "unique": 2, "duplicates": 1, "test": 1, "refused": 0, "failed": 0,
        }  # fmt: skip
        assert ready.counts == Counts(received=3, unique=2, duplicates=1, test=1)
    assert output.getvalue().splitlines() == [
        r"10:33:21.000 event     a  aegis.preflight  -  \x1b[2Jhidden",
        "10:33:21.000 test      b  aegis.audit_stream.test  -  It works",
        "10:33:21.000 duplicate a  aegis.preflight  -",
    ]


async def test_batches_are_taken():
    """The events of an array and of NDJSON are counted one by one."""
    async with receiving(quiet=True) as (client, ready, output):
        array = b"[" + make_body("a") + b"," + make_body("b") + b"]"
        lines = make_body("b") + b"\n" + make_body("c") + b"\n"
        ndjson = {"Content-Type": "application/x-ndjson"}

        assert (await client.post("/", content=array, headers=JSON)).json() == {
            "accepted": 2,
            "duplicates": 0,
        }
        assert (await client.post("/", content=lines, headers=ndjson)).json() == {
            "accepted": 1,
            "duplicates": 1,
        }
        assert (ready.counts.received, ready.counts.unique) == (4, 3)
    assert output.getvalue() == ""


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("elastic_doc", "/logs-audit/_doc"),
        ("elastic_create", "/logs-audit/_create"),
        ("elastic_bulk", "/_bulk"),
        ("elastic_bulk", "/logs-audit/_bulk"),
    ],
)
async def test_answers_as_elasticsearch_at_its_paths(name, path):
    """What the formats elastic_* send is counted event by event, and they read the answer as a success of each."""
    format_ = REGISTRY[name]
    bodies = [
        b'{"@timestamp":"2026-05-15T10:33:21Z","event":{"id":"%b"},"organization":{"id":"org_a"}}' % one
        for one in ([b"a", b"b", b"a/c"] if format_.batches else [b"a"])
    ]
    request = format_.encode(bodies)
    async with receiving() as (client, ready, _):
        answer = await client.post(
            path + request.path_suffix, content=request.body, headers={"Content-Type": request.content_type}
        )

    verdict = format_.interpret(Response(answer.status_code, answer.content, 1), len(bodies))
    assert verdict == Accepted(201)
    assert ready.counts == Counts(received=len(bodies), unique=len(bodies))


async def test_other_bulk_paths_are_answered_plainly():
    """Cribl's path ends like Elasticsearch's and gets the usual answer."""
    async with receiving() as (client, _, _):
        answer = await client.post("/cribl/_bulk", content=make_body(), headers=JSON)

    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicates": 0})


async def test_strangers_are_refused_and_shown():
    """Every configured secret is required; a rejection is counted and shown without what was sent."""
    body = make_body()
    right = {"Authorization": "Bearer t0ken", "X-Aegis-Signature": sign(body, b"k3y")}
    async with receiving(bearer="t0ken", hmac_key=b"k3y", now=lambda: NOW) as (client, ready, output):
        wrong = await client.post("/", content=body, headers={**right, "Authorization": "Bearer guess"})
        garbage = await client.post(
            "/", content=b"{", headers={**right, "X-Aegis-Signature": sign(b"{", b"k3y")}
        )
        good = await client.post("/", content=body, headers=right)

        assert [answer.status_code for answer in (wrong, garbage, good)] == [401, 400, 202]
        assert (ready.counts.refused, ready.counts.received) == (2, 1)
    assert "guess" not in output.getvalue()
    assert output.getvalue().splitlines()[:2] == [
        "10:33:21.000 refused   401 authorization does not match",
        "10:33:21.000 refused   400 the body is not JSON",
    ]


async def test_a_body_above_the_limit_is_counted_as_refused():
    """A declared length above the limit is answered 413 before the body is sent."""
    async with receiving() as (_, ready, output):
        reader, writer = await asyncio.open_connection("127.0.0.1", ready.port)
        with closing(writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 413 ")
        assert ready.counts.refused == 1
    assert "413 the body exceeds" in output.getvalue()


async def test_a_share_of_requests_fails_on_purpose():
    """A request that fails on purpose is answered 500 and not remembered: its repetition is new."""
    random = iter([0.1, 0.7, 0.0999])
    async with receiving(fail=0.1, chance=lambda: next(random), now=lambda: NOW) as (client, ready, output):
        statuses = [(await client.post("/", content=make_body(name))).status_code for name in "abc"]

        assert statuses == [202, 202, 500]
        assert ready.counts == Counts(received=2, unique=2, failed=1)
    assert output.getvalue().splitlines()[-1] == "10:33:21.000 failed    500 on purpose, 1 event(s)"


async def test_replies_can_be_delayed():
    """With latency, replies are delayed by that time."""
    async with receiving(latency_s=0.05) as (client, _, _):
        before_s = asyncio.get_running_loop().time()
        answer = await client.post("/", content=make_body())

        assert answer.status_code == 202
        assert asyncio.get_running_loop().time() - before_s >= 0.05


async def test_stopping_sends_what_is_owed():
    """Delayed replies are sent at the stop, so that every received event is acknowledged."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    options = ReceiverOptions(port=0, latency_s=600, quiet=True)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve(options, stop=stop, on_ready=ready.set_result))
        reader, writer = await asyncio.open_connection("127.0.0.1", (await ready).port)
        with closing(writer):
            body = make_body()
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            while not ready.result().counts.received:
                await asyncio.sleep(0)
            stop.set()
            answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 202 ")
    assert serving.result() == Counts(received=1, unique=1)


async def test_the_record_keeps_every_body(tmp_path):
    """The record has every request byte for byte, with the status of the answer and redacted secrets."""
    path = tmp_path / "record.ndjson"
    bodies = [make_body("a", note="ü\u2028"), b"not json", make_body("b")]
    random = iter([0.9, 0.0])
    async with receiving(record=path, quiet=True, fail=0.5, chance=lambda: next(random)) as (client, _, _):
        for body in bodies:
            await client.post("/in?x=1", content=body, headers={"Api-Key": "s3cret"})
    lines = [json.loads(line) for line in path.read_text().splitlines()]

    assert [line["body"].encode() for line in lines] == bodies
    assert [line["status"] for line in lines] == [202, 400, 500]
    assert {line["path"] for line in lines} == {"/in?x=1"}
    assert lines[0]["headers"]["api-key"] == "<redacted>"
    assert "s3cret" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_the_record_is_written_before_the_answer():
    """When a request has its answer, its line is in the record: whoever reads the 202 can read the record."""
    record = io.StringIO()
    lines = [LineWriter(stream, pytest.fail) for stream in (io.StringIO(), record)]
    handler = Handler(
        ReceiverOptions(port=0, quiet=True),
        chance=lambda: 1.0,
        now=lambda: NOW,
        lines=lines[0],
        record=lines[1],
    )
    reply = handler.answer(Request("POST", "/in", {}, make_body("a")))

    assert (reply.status, json.loads(record.getvalue())["status"]) == (202, 202)


async def test_the_output_can_be_json():
    """With json every line is an object that contains the event."""
    async with receiving(json=True, bearer="t0ken", now=lambda: NOW) as (client, _, output):
        await client.post("/", content=make_body("a"), headers={"Authorization": "Bearer t0ken"})
        await client.post("/", content=make_body("a"))
    event, refused = map(json.loads, output.getvalue().splitlines())

    assert event == {
        "at": "2026-05-15T10:33:21.000+00:00",
        "id": "a",
        "test": False,
        "duplicate": False,
        "event": json.loads(make_body("a")),
    }
    assert refused["refused"] == "401 authorization is missing"


async def test_an_output_that_breaks_ends_the_receiver():
    """A full disk or a closed pipe stops the receiver with an error, instead of losing lines silently."""

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    with pytest.raises(ExceptionGroup) as caught:
        async with receiving(output=Full()) as (client, _, _):
            await client.post("/", content=make_body())

    assert caught.group_contains(OSError, match="No space left")


async def test_https_with_a_certificate_of_its_own(tmp_path):
    """Only a client that trusts the authority can send; only the owner can read the key."""
    async with receiving(tls=True, tls_dir=tmp_path / "tls", verify=trusting, quiet=True) as (
        client,
        ready,
        _,
    ):
        assert ready.url.startswith("https://127.0.0.1:")
        assert (await client.post("/", content=make_body())).status_code == 202
        for host in ("localhost", "127.0.0.1"):
            assert (await client.get(f"https://{host}:{ready.port}/healthz")).status_code == 200
        async with httpx.AsyncClient(trust_env=False) as stranger:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await stranger.get(ready.url)

    assert stat.S_IMODE((tmp_path / "tls" / "server.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    assert (tmp_path / "tls" / ".gitignore").read_text() == "*\n"


def test_the_certificate_is_kept_while_it_is_good(tmp_path):
    """The authority stays the same over restarts, until shortly before its end."""
    first = ensure_certificate(tmp_path, NOW).ca_certificate.read_bytes()

    assert ensure_certificate(tmp_path, NOW + VALIDITY / 2).ca_certificate.read_bytes() == first
    assert ensure_certificate(tmp_path, NOW + VALIDITY - RENEW_BEFORE).ca_certificate.read_bytes() != first


@pytest.mark.parametrize("name", ["ca.pem", "server.pem", "server.key"])
@pytest.mark.parametrize("damage", ["missing", "garbage", "another"])
def test_a_damaged_certificate_is_made_anew(tmp_path, name, damage):
    """Files that do not match, or are not certificates, are replaced by a set that works."""
    certificate = ensure_certificate(tmp_path / "tls", NOW)
    other = ensure_certificate(tmp_path / "other", NOW)
    path = tmp_path / "tls" / name
    match damage:
        case "missing":
            path.unlink()
        case "garbage":
            path.write_text("garbage")
        case _:
            path.write_bytes((other.key.parent / name).read_bytes())

    ensure_certificate(tmp_path / "tls", NOW).server_context()

    before = certificate.ca_certificate.read_bytes()
    ensure_certificate(tmp_path / "tls", NOW)
    assert certificate.ca_certificate.read_bytes() == before
    assert not list(path.parent.glob("*.partial"))
