"""Promises of WsgiReceiver and AsgiReceiver: the same for both."""

import asyncio
import gzip
import io
import json
import logging
from dataclasses import dataclass
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from aegis_stream.receiver import TEST_DATASET, AsgiReceiver, Inbox, Verifier, WsgiReceiver, sign

KEY = b"k3y"
TOKEN = {"Authorization": "Bearer t0ken"}
EVENT = {"event": {"id": "pflt_1", "dataset": "aegis.preflight"}}
TEST_EVENT = {"event": {"id": "pflt_2", "dataset": TEST_DATASET}, "aegis": {"test": True}}


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class WsgiDriver:
    """Calls a WSGI application as a strict server does."""

    receiver = WsgiReceiver

    def send(self, app, body=b"", headers=TOKEN, *, method="POST", path="/audit", length=None, chunked=False):
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "wsgi.input": io.BytesIO(body),
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
        }
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        if chunked:
            environ["wsgi.input_terminated"] = True
        elif method == "POST":
            environ["CONTENT_LENGTH"] = str(len(body)) if length is None else length
        setup_testing_defaults(environ)
        answer = Answer(0, {}, b"")

        def start_response(status, response_headers, exc_info=None):
            answer.status, answer.headers = (
                int(status.partition(" ")[0]),
                {name.lower(): value for name, value in response_headers},
            )
            return io.BytesIO().write

        # The validator requires a numeric length; other lengths test our own code.
        checked = validator(app) if length is None and method != "HEAD" else app
        parts = checked(environ, start_response)
        answer.body = b"".join(parts)
        if hasattr(parts, "close"):
            parts.close()
        return answer


class AsgiDriver:
    """Calls an ASGI application as a server does, with the body in parts."""

    receiver = AsgiReceiver

    def send(self, app, body=b"", headers=TOKEN, *, method="POST", path="/audit", length=None, chunked=False):
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        if not chunked and method == "POST":
            raw.append((b"content-length", (str(len(body)) if length is None else length).encode()))
        scope = {"type": "http", "method": method, "path": path, "headers": raw}
        pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)] or [b""]
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages[-1].pop("more_body")
        sent = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        start, rest = sent
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], found, rest["body"])


@pytest.fixture(params=[WsgiDriver, AsgiDriver], ids=["wsgi", "asgi"])
def driver(request):
    """Both server interfaces."""
    return request.param()


@pytest.fixture
def seen():
    """The arguments of the callback's calls."""
    return []


@pytest.fixture
def app(driver, seen):
    """A receiver that requires a token."""
    return driver.receiver(Verifier(bearer="t0ken"), lambda event, is_test: seen.append((event, is_test)))


def encode(*events):
    """Return one event as an object, several as an array."""
    return json.dumps(events[0] if len(events) == 1 else events).encode()


def test_a_new_event_is_handled_and_accepted(driver, app, seen):
    """A real event is answered 202, and the callback gets it with is_test False."""
    answer = driver.send(app, encode(EVENT))

    assert (answer.status, answer.json) == (202, {"accepted": 1, "duplicates": 0})
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert seen == [(EVENT, False)]


def test_a_repeated_event_is_accepted_and_not_handled(driver, app, seen):
    """A duplicate is answered 202, and the callback does not get it."""
    driver.send(app, encode(EVENT))
    answer = driver.send(app, encode(EVENT, TEST_EVENT, EVENT))

    assert (answer.status, answer.json) == (202, {"accepted": 1, "duplicates": 2})
    assert seen == [(EVENT, False), (TEST_EVENT, True)]


def test_ndjson_and_gzip_are_read(driver, app, seen):
    """The application need not handle batches and compressed bodies."""
    body = gzip.compress(encode(EVENT) + b"\n" + encode(TEST_EVENT) + b"\n")
    headers = {**TOKEN, "Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}

    assert driver.send(app, body, headers).json == {"accepted": 2, "duplicates": 0}
    assert [event for event, _ in seen] == [EVENT, TEST_EVENT]


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer t\xf8ken"}]
)
def test_a_stranger_is_refused(driver, app, seen, headers):
    """A wrong secret is answered 401 with a challenge, before the body is parsed."""
    answer = driver.send(app, b"not json", headers)

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json["error"].startswith("authorization")
    assert seen == []


def test_the_signature_covers_the_raw_body(driver, seen):
    """The signature covers the bytes as sent, also compressed ones."""
    app = driver.receiver(Verifier(hmac_key=KEY), lambda *call: seen.append(call))
    body = gzip.compress(encode(EVENT))
    headers = {"X-Aegis-Signature": sign(body, KEY), "Content-Encoding": "gzip"}

    assert driver.send(app, body, headers).status == 202
    assert driver.send(app, gzip.compress(encode(TEST_EVENT)), headers).status == 401
    assert len(seen) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff"], ids=repr)
def test_garbage_from_a_friend_is_a_bad_request(driver, app, body):
    """A malformed body is answered 400: a retry is useless."""
    assert driver.send(app, body).status == 400


def test_other_compressions_are_named(driver, app):
    """An unsupported compression is answered 415 with the supported one."""
    answer = driver.send(app, b"{}", {**TOKEN, "Content-Encoding": "br"})

    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_post_brings_events(driver, app, method):
    """A wrong method is answered 405 with the right one."""
    answer = driver.send(app, method=method)

    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_the_answer_to_head_has_no_body(driver, app):
    """HEAD is answered without a body."""
    answer = driver.send(app, method="HEAD")

    assert (answer.status, answer.body) == (405, b"")


@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_is_bounded(driver, app, chunked):
    """One byte too many is answered 413, by the declared length or by the bytes received."""
    app.intake.body_bytes_max = 3000
    body = encode({**EVENT, "fill": "x" * 2000})
    padded = body + b" " * (3000 - len(body))

    assert driver.send(app, padded, chunked=chunked).status == 202
    assert driver.send(app, padded + b" ", chunked=chunked).status == 413


@pytest.mark.parametrize(("length", "status"), [("9" * 5000, 413), ("-1", 400), ("1_0", 400), ("²", 400)])
def test_a_strange_length_is_refused(driver, app, length, status):
    """A malformed Content-Length, which a server should have rejected, is answered 400 or 413."""
    if driver.receiver is AsgiReceiver and not length.isascii():
        length = "1e3"

    assert driver.send(app, b"{}", length=length).status == status


def test_a_failing_callback_makes_the_sender_try_again(driver, caplog):
    """An exception of the callback is answered 500 and logged with its traceback; earlier events stay handled, the others are retried."""
    calls, third = [], {"event": {"id": "pflt_3"}}

    def on_event(event, is_test):
        calls.append(event["event"]["id"])
        if calls == ["pflt_1", "pflt_2"]:
            raise LookupError("the database is away")

    app = driver.receiver(Verifier(bearer="t0ken"), on_event)

    with caplog.at_level(logging.ERROR, logger="aegis_stream.receiver"):
        first = driver.send(app, encode(EVENT, TEST_EVENT, third))
    second = driver.send(app, encode(EVENT, TEST_EVENT, third))

    assert first.status == 500
    assert b"database" not in first.body
    assert "the database is away" in caplog.text
    assert (second.status, second.json) == (202, {"accepted": 2, "duplicates": 1})
    assert calls == ["pflt_1", "pflt_2", "pflt_2", "pflt_3"]


def test_an_event_in_work_is_not_acknowledged(driver, seen):
    """While another request handles the same event, the answer is 503, because that request may still fail."""
    inbox = Inbox()
    app = driver.receiver(Verifier(bearer="t0ken"), lambda *call: seen.append(call), inbox=inbox)

    with inbox.once(EVENT):
        answer = driver.send(app, encode(EVENT))

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert seen == []


def test_other_paths_are_not_ours(driver):
    """With a path and no other application, the receiver answers 404 at other paths."""
    app = driver.receiver(Verifier(bearer="t0ken"), lambda event, is_test: None, path="/audit")

    assert driver.send(app, encode(EVENT), path="/audit").status == 202
    assert driver.send(app, encode(EVENT), path="/elsewhere").status == 404


def test_wsgi_requests_for_other_paths_go_to_the_application():
    """The receiver can wrap any WSGI application."""

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"the application"]

    app = WsgiReceiver(Verifier(bearer="t0ken"), lambda *call: None, path="/audit", otherwise=application)

    assert WsgiDriver().send(app, method="GET", path="/").body == b"the application"
    assert WsgiDriver().send(app, encode(EVENT), path="/audit").status == 202


def test_a_short_wsgi_body_is_a_bad_request():
    """A body that is cut off brings no event."""
    app = WsgiReceiver(Verifier(bearer="t0ken"), lambda *call: None)

    assert WsgiDriver().send(app, b"{}", length="10").status == 400


def test_a_wsgi_body_without_a_length_is_not_waited_for():
    """Without Content-Length the stream is not read, because it may never end."""
    app = WsgiReceiver(Verifier(bearer="t0ken"), lambda *call: None)

    assert WsgiDriver().send(app, encode(EVENT), length="").status == 400


async def test_everything_else_goes_to_the_asgi_application():
    """Websockets, lifespan and other paths are passed to the other application."""
    scopes = []

    async def application(scope, receive, send):
        scopes.append(scope["type"])

    app = AsgiReceiver(Verifier(bearer="t0ken"), lambda *call: None, path="/audit", otherwise=application)

    for scope in (
        {"type": "lifespan"},
        {"type": "websocket", "path": "/audit"},
        {"type": "http", "path": "/"},
    ):
        await app(scope, None, None)

    assert scopes == ["lifespan", "websocket", "http"]


async def test_alone_it_declines_other_protocols():
    """Lifespan is answered with an exception, as the ASGI specification says."""
    app = AsgiReceiver(Verifier(bearer="t0ken"), lambda *call: None)

    with pytest.raises(NotImplementedError, match="lifespan"):
        await app({"type": "lifespan"}, None, None)


async def test_a_client_that_left_is_not_answered():
    """A disconnect in the middle of the body ends the request silently, and nothing is handled."""
    messages = [
        {"type": "http.request", "body": encode(EVENT), "more_body": True},
        {"type": "http.disconnect"},
    ]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"authorization", b"Bearer t0ken")]}

    async def receive():
        return messages.pop(0)

    app = AsgiReceiver(Verifier(bearer="t0ken"), pytest.fail)

    assert await app(scope, receive, pytest.fail) is None


def test_an_asynchronous_callback_is_awaited():
    """A coroutine callback finishes before the 202, and its exception is a 500."""
    done = []

    async def on_event(event, is_test):
        await asyncio.sleep(0)
        done.append(event)
        if len(done) == 1:
            raise LookupError("first time")

    app = AsgiReceiver(Verifier(bearer="t0ken"), on_event)

    assert [AsgiDriver().send(app, encode(EVENT)).status for _ in range(3)] == [500, 202, 202]
    assert done == [EVENT, EVENT]


def test_repeated_asgi_headers_are_joined():
    """Two Authorization headers never match."""
    app = AsgiReceiver(Verifier(bearer="t0ken"), pytest.fail)
    headers = {"Authorization": "Bearer t0ken", "authorization": "Bearer t0ken"}

    assert AsgiDriver().send(app, encode(EVENT), headers).status == 401
