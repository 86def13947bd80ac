"""Better Stack's own client as an oracle: an array of events, each with its time in `dt`."""

import json
import logging
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgpack
import pytest
from logtail import LogtailHandler
from logtail.handler import DEFAULT_HOST

from aegis_stream.domain.attempt import Accepted
from aegis_stream.formats import choose
from aegis_stream.formats.better_stack import BETTER_STACK
from oracles import ours
from oracles.capture import Capture, Said
from oracles.comparing import ABSENT, ANY, Row, times_of, unexplained
from oracles.material import line_of, picked, read
from support.formats import make_event, stored

TOKEN = "synthetic-token-of-the-tests"
AUTH = ours.credential("better_stack", TOKEN)
REQUEST = (
    Row("headers.content-type", "application/msgpack", "application/json", "the API reads both"),
    Row("headers.accept", "*/*", ABSENT, "the API answers without a body"),
    Row("body[].dt", ANY, ANY, "another spelling of the same time: +00:00 or Z, decimals or none"),
    Row("body[].level", "info", ABSENT, "of the logging module: an event has its own in log.level"),
    Row("body[].severity", 2, ABSENT, "likewise"),
    Row("body[].context", ANY, ABSENT, "where in a program it was logged"),
    Row("body[].message", ANY, ABSENT, "a record has one always, and an event need not"),
)
OF_RECORDS = frozenset(vars(logging.makeLogRecord({})))
"""Members that a record of the logging module has for itself; the client sends some of them along."""
OF_CLIENT = frozenset({"dt", "level", "severity", "context", "request"})


def send_theirs(capture: Capture, events: Sequence[dict[str, Any]]) -> None:
    """Send events as records by the client, in one request.

    The client's worker sends what is left, and ends, as soon as the thread that logged is gone.
    """
    handler = LogtailHandler(
        TOKEN, capture.url, buffer_capacity=10_000, flush_interval=60, check_interval=0.01
    )
    logged = threading.Thread(target=lambda: [handler.emit(as_record(event)) for event in events])
    logged.start()
    logged.join()
    assert handler.flush_thread is not None
    handler.flush_thread.join()
    handler.uploader.session.close()
    handler.close()


def as_record(event: dict[str, Any]) -> logging.LogRecord:
    """Return what a program passes to the client for an event: its members beside those of the record."""
    at = datetime.fromisoformat(event["@timestamp"]).timestamp()
    record = {"msg": event.get("message", line_of(event)), "created": at, "levelname": "INFO", "levelno": 20}
    return logging.makeLogRecord({name: one for name, one in event.items() if name != "message"} | record)


def is_carried(event: dict[str, Any]) -> bool:
    """Tell whether a record can hold an event's members beside its own."""
    return not set(event) & (OF_RECORDS | OF_CLIENT) and isinstance(event.get("message", ""), str)


def test_the_request_is_the_clients(capture):
    """We send what the client sends for records with the same members: token, an array, a time in `dt`, and every value."""
    bodies = picked(is_carried)
    capture.answer(Said(202, b""))

    send_theirs(capture, read(bodies))
    verdicts = ours.send(f"{capture.url}/", bodies, AUTH, name="better_stack")

    theirs, own = capture.taken()
    assert unexplained(theirs._replace(body=as_json(theirs.body)), own, json.loads, REQUEST) == []
    assert times_of(as_json(theirs.body), "dt") == pytest.approx(times_of(own.body, "dt"), abs=1e-6)
    assert verdicts == [Accepted(202)] * len(bodies)


def as_json(body: bytes) -> bytes:
    """Return the client's array as JSON, without the members of the logging module."""
    return json.dumps(
        [
            {name: value for name, value in one.items() if name not in OF_RECORDS}
            for one in msgpack.unpackb(body)
        ]
    ).encode()


@pytest.mark.parametrize("status", [200, 202, 204, 402, 403, 406, 413, 429])
def test_what_the_client_does_not_repeat_is_an_answer_to_us(capture, status):
    """The client sends a batch once for any answer below 500; for us only 202 is delivered, and the rest is not lost."""
    capture.answer(Said(status, b""))

    send_theirs(capture, [make_event(message="hello")])
    (verdict,) = ours.send(f"{capture.url}/", [stored(make_event())], AUTH, name="better_stack")

    assert len(capture.taken()) == 2
    assert isinstance(verdict, Accepted) == (status == 202)
    assert verdict.status_code == status


def test_auto_knows_the_address():
    """`auto` is `better_stack` at the client's own address."""
    assert choose(f"https://{DEFAULT_HOST}/").format is BETTER_STACK
