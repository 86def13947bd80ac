"""Elastic's own client as an oracle: the three elastic formats send what it sends, and read answers as it reads them."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import ApiError, Elasticsearch, helpers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Accepted, Failure
from aegis_stream.formats.elastic import ID_BYTES_MAX
from oracles import ours
from oracles.capture import Capture, Said, Sent
from oracles.comparing import ABSENT, ANY, Row, lines_of, unexplained
from oracles.material import PLAIN, read
from support.formats import IDS, UNHURRIED, make_event, stored
from support.pages import format_text

INDEX = "logs-aegis.preflight-default"
KEY = "a2V5LW9mLXRoZS10ZXN0cw=="
AUTH = ours.credential("elastic_bulk", KEY)
BULK_PATH = ours.path("elastic_bulk", "/logs-aegis.preflight-default/_bulk")
DOC_PATH = ours.path("elastic_doc", "/<index>/_doc", index=INDEX)
CREATE_PATH = ours.path("elastic_create", "/<index>/_create", index=INDEX)
FILTER_PATH = ours.parameter("elastic_bulk", "filter_path").split(",")
"""What the answer must have for an item to be judged; the client is asked to ask for the same."""
_VENDOR_TYPE = "application/vnd.elasticsearch+{}; compatible-with=9"
_HEADERS = (("Content-Type", "application/json"), ("X-Elastic-Product", "Elasticsearch"))
_OWN = (
    Row("headers.accept", _VENDOR_TYPE.format("json"), ABSENT, "JSON is what the API answers unasked"),
    Row("headers.x-elastic-client-meta", ANY, ABSENT, "statistics about the client"),
)
BULK = (
    *_OWN,
    Row("method", "PUT", "POST", "the API has both"),
    Row(
        "headers.content-type",
        _VENDOR_TYPE.format("x-ndjson"),
        "application/x-ndjson",
        "the type without a version, which OpenSearch and VictoriaLogs know too",
    ),
)
DOCUMENT = (
    *_OWN,
    Row("headers.content-type", _VENDOR_TYPE.format("json"), "application/json", "likewise"),
)
CREATE = (*DOCUMENT, Row("method", "PUT", "POST", "the API has both"))

ITEMS = {
    "created": {"status": 201, "result": "created"},
    "created by a client of old": {"status": 200, "result": "created"},
    "in the failure store": {"status": 201, "result": "created", "failure_store": "used"},
    "there already": {"status": 409, "error": {"type": "version_conflict_engine_exception"}},
    "dropped by a pipeline": {"status": 200, "result": "noop"},
    "refused by the mapping": {"status": 400, "error": {"type": "document_parsing_exception"}},
    "no such index": {"status": 404, "error": {"type": "index_not_found_exception"}},
    "busy": {"status": 429, "error": {"type": "es_rejected_execution_exception"}},
    "down": {"status": 503, "error": {"type": "unavailable_shards_exception"}},
}
"""What an item of a bulk answer can be, as Elasticsearch writes it."""
JUDGED_OTHERWISE = {
    "there already": "it was delivered before: what is sent twice is there once",
    "dropped by a pipeline": "a 2xx, but nothing was stored",
}
"""Items that the client and we take for opposite things, and why."""


def answered(status: int, content: Any) -> Said:
    """Return an answer of Elasticsearch's."""
    return Said(status, json.dumps(content).encode(), _HEADERS)


def answered_items(*names: str) -> Said:
    """Return a bulk answer with these items."""
    items = [{"create": ITEMS[name]} for name in names]
    return answered(200, {"errors": any("error" in ITEMS[name] for name in names), "items": items})


def actions(bodies: list[bytes]) -> list[dict[str, Any]]:
    """Return what a program passes to the bulk helpers for these events."""
    return [{"_op_type": "create", "_id": event["event"]["id"], "_source": event} for event in read(bodies)]


def theirs_and_ours(capture: Capture) -> tuple[Sent, Sent]:
    """Return the two requests of a comparison."""
    theirs, own = capture.taken()
    return theirs, own


@pytest.fixture(scope="module")
def client(capture: Capture) -> Iterator[Elasticsearch]:
    """Return Elastic's client, which makes one attempt."""
    with Elasticsearch(capture.url, api_key=KEY, max_retries=0) as one:
        yield one


def test_bulk_is_the_clients_request(capture, client):
    """elastic_bulk sends what `helpers.bulk` sends for `create` with an id: every action line, every value of every event."""
    capture.answer(answered_items(*["created"] * len(PLAIN)))

    stored_by_them, _ = helpers.bulk(
        client, actions(PLAIN), index=INDEX, chunk_size=len(PLAIN), filter_path=FILTER_PATH
    )
    verdicts = ours.send(capture.url + BULK_PATH, PLAIN, AUTH)

    assert unexplained(*theirs_and_ours(capture), lines_of, BULK) == []
    assert verdicts == [Accepted(201)] * stored_by_them


@pytest.mark.parametrize(
    "given_to_them, given_to_us",
    [
        ({"api_key": ("id", "key")}, f"ApiKey {b64encode(b'id:key').decode()}"),
        ({"basic_auth": ("user", "pass: word")}, f"Basic {b64encode(b'user:pass: word').decode()}"),
        ({"bearer_auth": "token"}, "Bearer token"),
    ],
    ids=["key", "basic", "bearer"],
)
def test_every_credential_is_spelled_as_by_the_client(capture, given_to_them, given_to_us):
    """Each of the three kinds of credential on the page gives the same header as the client."""
    capture.answer(answered_items("created"))
    with Elasticsearch(capture.url, max_retries=0, **given_to_them) as one:
        helpers.bulk(one, actions(PLAIN[:1]), index=INDEX)

    ours.send(capture.url + BULK_PATH, PLAIN[:1], ("Authorization", given_to_us))

    theirs, own = theirs_and_ours(capture)
    assert theirs.headers["authorization"] == own.headers["authorization"]
    assert f"`{given_to_us.split()[0]} …`" in format_text("elastic_bulk")


def test_a_document_is_the_clients_request(capture, client):
    """elastic_doc sends what `index` sends for a document without an id."""
    capture.answer(answered(201, {"result": "created"}))
    for event, body in zip(read(PLAIN[:20]), PLAIN[:20], strict=True):
        client.index(index=INDEX, document=event)
        assert ours.send(capture.url + DOC_PATH, [body], AUTH) == [Accepted(201)]

        assert unexplained(*theirs_and_ours(capture), json.loads, DOCUMENT) == []


@settings(UNHURRIED, max_examples=40)
@given(event_id=IDS.filter(lambda one: one not in (".", "..")))
@example(event_id="crm/7/ü")
@example(event_id="a b?c#d%2F&e=+;,*~'\"\\")
def test_a_creation_is_the_clients_request(capture, client, event_id):
    """elastic_create sends what `create` sends, to the same path for any id."""
    capture.answer(answered(201, {"result": "created"}))
    event = make_event(event_id)

    client.create(index=INDEX, id=event_id, document=event)
    assert ours.send(capture.url + CREATE_PATH, [stored(event)], AUTH) == [Accepted(201)]

    assert unexplained(*theirs_and_ours(capture), json.loads, CREATE) == []


@pytest.mark.parametrize(
    "event_id, why",
    [
        (".", "a step in the path, which proxies take out"),
        ("..", "likewise"),
        ("é" * (ID_BYTES_MAX // 2) + "x", "longer than an id may be: the API answers 400"),
    ],
    ids=["dot", "dots", "long"],
)
def test_an_id_that_cannot_stand_in_a_path_is_hashed(capture, client, event_id, why):
    """The client sends every id unchanged; we replace ids that would not arrive with their SHA-256, and nothing else differs."""
    capture.answer(answered(201, {"result": "created"}))
    event = make_event(event_id)

    client.create(index=INDEX, id=event_id, document=event)
    assert ours.send(capture.url + CREATE_PATH, [stored(event)], AUTH) == [Accepted(201)]

    hashed = Row("path[]", event_id, hashlib.sha256(event_id.encode()).hexdigest(), why)
    assert unexplained(*theirs_and_ours(capture), json.loads, (*CREATE, hashed)) == []


@settings(UNHURRIED, max_examples=40)
@given(names=st.lists(st.sampled_from(sorted(ITEMS)), min_size=1, max_size=8))
def test_bulk_answers_are_judged_as_the_client_judges_them(capture, client, names):
    """An item is delivered exactly if the helpers call it ok, except for the rows of JUDGED_OTHERWISE."""
    bodies = [stored(make_event(f"evt_{number}")) for number in range(len(names))]
    capture.answer(answered_items(*names))

    reported = [
        ok
        for ok, _ in helpers.streaming_bulk(
            client, actions(bodies), index=INDEX, raise_on_error=False, max_retries=0
        )
    ]
    verdicts = ours.send(capture.url + BULK_PATH, bodies, AUTH)
    capture.taken()

    for name, ok, verdict in zip(names, reported, verdicts, strict=True):
        assert isinstance(verdict, Accepted) == (ok != (name in JUDGED_OTHERWISE)), (name, verdict)


def test_bulk_sends_again_what_the_client_sends_again(capture, client):
    """The helpers retry events that were rejected because of overload; we retry these, and those of an outage or a wrong configuration."""
    names = sorted(ITEMS)
    bodies = [stored(make_event(name)) for name in names]
    capture.answer(answered_items(*names), answered_items("created"))

    list(
        helpers.streaming_bulk(
            client, actions(bodies), index=INDEX, raise_on_error=False, max_retries=1, initial_backoff=0
        )
    )
    _, again = capture.taken()
    capture.answer(answered_items(*names))
    verdicts = ours.send(capture.url + BULK_PATH, bodies, AUTH)

    repeated_by_them = {line["create"]["_id"] for line in lines_of(again.body)["lines"][::2]}
    repeated_by_us = {
        name
        for name, verdict in zip(names, verdicts, strict=True)
        if isinstance(verdict, Failure) and not verdict.permanent
    }
    assert repeated_by_them == {"busy"}
    assert repeated_by_us == repeated_by_them | {"down", "no such index"}
    capture.taken()


@pytest.mark.parametrize("status", [201, 400, 401, 403, 404, 409, 413, 429, 500, 503])
@pytest.mark.parametrize("path", [DOC_PATH, CREATE_PATH], ids=["doc", "create"])
def test_documents_are_judged_as_the_client_judges_them(capture, client, path, status):
    """A document is delivered exactly if the client does not raise, except 409: an error for the client, an earlier delivery for us."""
    content = (
        {"result": "created"} if status == 201 else {"error": {"type": "some_exception"}, "status": status}
    )
    capture.answer(answered(status, content))

    try:
        client.create(index=INDEX, id="evt_1", document=make_event())
    except ApiError as error:
        refused = error.status_code
    else:
        refused = None
    (verdict,) = ours.send(capture.url + path, [stored(make_event())], AUTH)
    capture.taken()

    assert isinstance(verdict, Accepted) == (refused in (None, 409))
    assert verdict.status_code == (refused or 201)
