"""Axiom's own client as an oracle: it sends the same lines to the same URL, and counts accepted events as we do."""

import json
from collections.abc import Iterator

import pytest
from axiom_py import Client, IngestOptions
from axiom_py.client import AXIOM_URL, AxiomError
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Accepted
from aegis_stream.formats import choose
from aegis_stream.formats.axiom import AXIOM
from oracles import ours
from oracles.capture import Capture, Said
from oracles.comparing import ABSENT, Row, lines_of, unexplained
from oracles.material import PLAIN, read
from support.formats import UNHURRIED, make_event, stored

TOKEN = "xaat-synthetic-token-of-the-tests"
AUTH = ours.credential("axiom", TOKEN)
DATASET = "audit"
PATH = ours.path("axiom", "/v1/datasets/<dataset>/ingest", dataset=DATASET)
EDGE_PATH = ours.path("axiom", "/v1/ingest/<dataset>", dataset=DATASET)
OPTIONS = IngestOptions(timestamp_field=ours.parameter("axiom", "timestamp-field"))
REQUEST = (
    Row("headers.accept", "*/*", ABSENT, "JSON is what the API answers unasked"),
    Row("body.ended", False, True, "NDJSON ends its last line too; Axiom reads both"),
)


def counted(ingested: int, failed: int) -> Said:
    """Return Axiom's answer to an ingest."""
    failures = [{"timestamp": "2026-05-15T10:33:21Z", "error": "refused"}] * failed
    reply = {"ingested": ingested, "failed": failed, "failures": failures}
    return Said(200, json.dumps(reply | {"processedBytes": 7, "blocksCreated": 0, "walLength": 2}).encode())


@pytest.fixture(scope="module")
def client(capture: Capture) -> Iterator[Client]:
    """Return Axiom's client for the address that all accounts have."""
    one = Client(TOKEN, url=capture.url)
    yield one
    one.session.close()


@pytest.fixture(scope="module")
def edge_client(capture: Capture) -> Iterator[Client]:
    """Return Axiom's client for an address of a region."""
    one = Client(TOKEN, edge_url=capture.url)
    yield one
    one.session.close()


def test_the_request_is_the_clients(capture, client):
    """We send what `ingest_events` sends with the same timestamp field: path, parameter, token, and every value of every line."""
    capture.answer(counted(len(PLAIN), 0))

    status = client.ingest_events(DATASET, read(PLAIN), OPTIONS)
    verdicts = ours.send(capture.url + PATH, PLAIN, AUTH, compression="gzip")

    theirs, own = capture.taken()
    assert unexplained(theirs, own, lines_of, REQUEST) == []
    assert own.query == {"timestamp-field": "@timestamp"}
    assert verdicts == [Accepted(200)] * status.ingested


def test_the_request_to_an_edge_is_the_clients(capture, edge_client):
    """The same at the address of a region, which has another path."""
    capture.answer(counted(3, 0))

    edge_client.ingest_events(DATASET, read(PLAIN[:3]), OPTIONS)
    ours.send(capture.url + EDGE_PATH, PLAIN[:3], AUTH, name="axiom", compression="gzip")

    theirs, own = capture.taken()
    assert unexplained(theirs, own, lines_of, REQUEST) == []


def test_auto_knows_the_addresses(client):
    """`auto` is `axiom` at the client's own address, and at one of a region."""
    edge = Client(TOKEN, edge="eu-central-1.aws.edge.axiom.co")
    address = edge._get_edge_ingest_url(DATASET)
    edge.session.close()

    assert address is not None
    assert choose(address).format is AXIOM
    assert choose(AXIOM_URL + PATH).format is AXIOM


@settings(UNHURRIED, max_examples=40)
@given(count=st.integers(1, 6), ingested=st.integers(0, 7), failed=st.integers(0, 3))
def test_counts_are_read_as_the_client_reads_them(capture, client, count, ingested, failed):
    """All events of a request are delivered exactly if the client's status reports all as ingested and none as failed."""
    events = [make_event(f"evt_{number}") for number in range(count)]
    capture.answer(counted(ingested, failed))

    status = client.ingest_events(DATASET, events, OPTIONS)
    url = capture.url + PATH
    verdicts = ours.send(url, [stored(event) for event in events], AUTH)
    capture.taken()

    delivered = status.ingested == count and status.failed == 0
    assert [isinstance(one, Accepted) for one in verdicts] == [delivered] * count


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
def test_errors_are_errors_to_both(capture, client, status):
    """If the client raises, nothing is delivered."""
    capture.answer(Said(status, b'{"message":"refused"}'))

    with pytest.raises(AxiomError) as raised:
        client.ingest_events(DATASET, [make_event()], OPTIONS)
    (verdict,) = ours.send(capture.url + PATH, [stored(make_event())], AUTH)
    capture.taken()

    assert not isinstance(verdict, Accepted)
    assert verdict.status_code == raised.value.status == status
