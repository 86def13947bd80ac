"""Promises of the REST client: what it sends, and how it reports errors."""

import httpx
import pytest

from aegis_stream.cli.client import Client, Refused, Unreachable, printable
from aegis_stream.errors import Invalid


def make_client(answer, org_id="org_a"):
    """Return a client of a service that answers by calling `answer(request)`."""
    return Client("http://service.test/", "s3cret", org_id, transport=httpx.MockTransport(answer))


def test_ids_cannot_leave_their_place_in_the_path():
    """An id with slashes or question marks is sent as one part of the path."""
    client = make_client(lambda _: httpx.Response(200), org_id="a/../b?c")

    assert client.org_path("x/y", "test") == "/api/orgs/a%2F..%2Fb%3Fc/x%2Fy/test"


def test_lists_are_followed_to_the_limit():
    """A list follows next_cursor from page to page, and requests no more than the limit."""
    asked = []

    def answer(request):
        asked.append(dict(request.url.params))
        return httpx.Response(200, json={"data": [{}] * int(request.url.params["limit"]), "next_cursor": "7"})

    found = list(make_client(answer).items("/list", limit=250))

    assert len(found) == 250
    assert asked == [{"limit": "200"}, {"cursor": "7", "limit": "50"}]


def test_a_list_ends_with_its_last_page():
    """If next_cursor is null, there is no further request."""
    client = make_client(lambda _: httpx.Response(200, json={"data": [{"a": 1}], "next_cursor": None}))

    assert list(client.items("/list", limit=10)) == [{"a": 1}]


def test_a_problem_names_its_fields():
    """A rejection shows each wrong field on its own line, without control characters."""
    problem = {
        "title": "Not acceptable",
        "detail": "url: bad",
        "errors": [{"field": "url", "message": "bad\x1b[2J"}, {"field": "name", "message": "long"}],
    }
    client = make_client(lambda _: httpx.Response(422, json=problem))

    with pytest.raises(Refused) as caught:
        client.call("POST", "/x", body={})

    assert caught.value.message == "422 Not acceptable\n  url: bad [2J\n  name: long"


@pytest.mark.parametrize(("status", "hint"), [(401, "AEGIS_API_KEY"), (403, "scope"), (404, "--org")])
def test_common_refusals_say_what_to_check(status, hint):
    """A wrong key or id is answered with where to correct it."""
    client = make_client(lambda _: httpx.Response(status, json={"title": "No", "detail": "no"}))

    with pytest.raises(Refused, match=hint):
        client.call("GET", "/x")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, content=b"<html>"),
        httpx.Response(404, json=["not", "ours"]),
        httpx.Response(301, headers={"Location": "https://elsewhere.test"}),
    ],
)
def test_an_answer_of_somebody_else_is_recognized(answer):
    """An answer of a proxy or another server is reported as a possibly wrong address."""
    with pytest.raises(Refused, match="AEGIS_URL"):
        make_client(lambda _: answer).call("GET", "/x")


def test_an_answer_without_json_is_no_answer():
    """A 200 that is not JSON is not accepted as an answer of the service."""
    with pytest.raises(Unreachable, match="AEGIS_URL"):
        make_client(lambda _: httpx.Response(200, content=b"hello")).call("GET", "/x")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), "connection refused"),
        (httpx.ConnectTimeout("x"), "no connection in time"),
        (
            httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"),
            "speaks http, not",
        ),
        (httpx.ConnectError("[SSL] record layer failure (_ssl.c:1000)"), "speaks http, not"),
        (httpx.ReadTimeout("x"), "did not answer within 30 s"),
        (httpx.RemoteProtocolError("Server disconnected"), "broke"),
    ],
)
def test_no_answer_names_the_service(error, said):
    """Every connection error names the address and never the key."""

    def fail(_):
        raise error

    with pytest.raises(Unreachable, match=said) as caught:
        make_client(fail).call("GET", "/x")
    assert "http://service.test" in caught.value.message
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["", "localhost:8700", "ftp://x", "http://", "http://a:b@host", "http://x/?q=1", "http://[::1"]
)
def test_a_url_must_be_that_of_a_service(url):
    """A URL that cannot be that of a service is rejected before anything is sent, and its password is not repeated."""
    with pytest.raises(Invalid) as caught:
        Client(url, "key")
    assert "a:b" not in caught.value.message


@pytest.mark.parametrize("key", ["", "with space", "with\nline", "schlüssel"])
def test_a_key_that_is_none_is_refused(key):
    """A key that is not valid in a header is rejected, and not repeated."""
    with pytest.raises(Invalid) as caught:
        Client("http://service.test", key)
    assert not key or key not in caught.value.message


def test_long_texts_are_cut():
    """Long texts of answers are truncated."""
    assert len(printable("x" * 100_000)) == 500
