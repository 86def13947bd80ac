"""Datadog's own client as an oracle: its model of a log reads what we send, and its request is ours."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from datadog_api_client import ApiClient, Configuration
from datadog_api_client.exceptions import ApiException, ApiTypeError
from datadog_api_client.v2.api.logs_api import LogsApi
from datadog_api_client.v2.model.http_log import HTTPLog
from datadog_api_client.v2.model.http_log_item import HTTPLogItem
from hypothesis import given, settings

from aegis_stream.domain.attempt import Accepted
from aegis_stream.formats import choose
from aegis_stream.formats.datadog import DATADOG, encode
from oracles import ours
from oracles.capture import Capture, Said
from oracles.comparing import ABSENT, Row, unexplained
from oracles.material import CORPUS, GOLDEN, line_of, picked, read
from support.formats import EVENTS, UNHURRIED, make_event, stored

KEY = "synthetic-key-of-the-tests"
AUTH = ours.credential("datadog", KEY)
PATH = ours.path("datadog", "/api/v2/logs")
REQUEST = (
    Row("headers.accept", "application/json", ABSENT, "JSON is what the API answers unasked"),
    Row(
        "body[].ecs_message",
        ABSENT,
        "",
        "a message without text gives way to a line, and nothing of an event is lost",
    ),
)
RENAMED = frozenset({"service", "host", "source", "status", "hostname", "ddsource", "ddtags"})
"""Members that get another name, since Datadog reads them as texts of its own."""


@pytest.fixture(scope="module")
def client(capture: Capture) -> Iterator[LogsApi]:
    """Return Datadog's client of the logs API."""
    place = {"protocol": "http", "name": capture.url.removeprefix("http://")}
    configuration = Configuration(
        api_key={"apiKeyAuth": KEY},
        server_operation_index={"submit_log": 1},
        server_operation_variables={"submit_log": place},
    )
    with ApiClient(configuration) as one:
        yield LogsApi(one)


def as_item(event: dict[str, Any]) -> HTTPLogItem:
    """Return what a program passes to the client for an event, with the additional texts of our page."""
    described = {"ddsource": "aegis", "service": "aegis-audit-stream", "message": line_of(event)}
    return HTTPLogItem(**(event | described))


def test_the_request_is_the_clients(capture, client):
    """We send what `submit_log` sends for the same logs: path, key, an array, and every value in its place."""
    bodies = picked(is_unnamed)
    capture.answer(Said(202))

    client.submit_log(HTTPLog([as_item(event) for event in read(bodies)]))
    verdicts = ours.send(capture.url + PATH, bodies, AUTH, name="datadog")

    theirs, own = capture.taken()
    assert unexplained(theirs, own, json.loads, REQUEST) == []
    assert verdicts == [Accepted(202)] * len(bodies)


def is_unnamed(event: dict[str, Any]) -> bool:
    """Tell whether an event has no member that gets another name."""
    return not RENAMED & set(event) and isinstance(event.get("message", ""), str)


@settings(UNHURRIED, max_examples=60)
@given(drawn=EVENTS)
def test_the_model_reads_every_log(drawn):
    """The client's model of a log, which checks types, accepts every event that we send, and has all its values."""
    for log in json.loads(encode([stored(event) for event in drawn]).body):
        assert HTTPLogItem(**log).to_dict() == log


def test_the_model_reads_the_logs_of_products():
    """The same for events in the shapes of products, and those of the golden files."""
    for log in json.loads(encode([*GOLDEN, *CORPUS]).body):
        assert HTTPLogItem(**log).to_dict() == log


@pytest.mark.parametrize("name", ["service", "hostname", "ddsource", "ddtags"])
def test_the_model_refuses_what_we_rename(name):
    """The model rejects an object under a name that Datadog reads as text, and accepts it as we send it."""
    event = make_event(**{name: {"name": "crm"}})

    with pytest.raises(ApiTypeError):
        HTTPLogItem(**(event | {"message": "hello"}))
    (log,) = json.loads(encode([stored(event)]).body)
    assert HTTPLogItem(**log).to_dict()[f"ecs_{name}"] == {"name": "crm"}


@pytest.mark.parametrize("status", [200, 202, 400, 401, 403, 408, 413, 429, 500, 503])
def test_answers_are_judged_as_the_client_judges_them(capture, client, status):
    """The events are delivered exactly if the client returns and does not raise."""
    capture.answer(
        Said(status, b"{}" if status < 300 else b'{"errors":[{"status":"4xx","title":"refused"}]}')
    )

    try:
        client.submit_log(HTTPLog([as_item(make_event())]))
    except ApiException as error:
        refused = error.status
    else:
        refused = None
    (verdict,) = ours.send(capture.url + PATH, [stored(make_event())], AUTH, name="datadog")
    capture.taken()

    assert isinstance(verdict, Accepted) == (refused is None)
    assert verdict.status_code == (refused or status)


def test_errors_in_a_success_are_no_success(capture, client):
    """The client leaves a 2xx with errors to its caller; for us it is a failure."""
    capture.answer(Said(202, b'{"errors":[{"title":"refused"}]}'))

    assert client.submit_log(HTTPLog([as_item(make_event())]))["errors"]
    (verdict,) = ours.send(capture.url + PATH, [stored(make_event())], AUTH, name="datadog")
    capture.taken()

    assert not isinstance(verdict, Accepted)


def test_auto_knows_every_site(client):
    """`auto` is `datadog` at the address of every site that the client knows."""
    endpoint = client._submit_log_endpoint.settings
    variables = endpoint["servers"][0]["variables"]
    sites = variables["site"]["enum_values"]

    assert len(sites) >= 8
    for site in sites:
        url = f"https://{variables['subdomain']['default_value']}.{site}{endpoint['endpoint_path']}"
        assert choose(url).format is DATADOG, url
