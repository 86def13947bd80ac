"""The comparisons themselves: no difference is missed, and a request is captured in any encoding."""

import gzip
import http.client
import json
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from oracles.capture import Sent
from oracles.comparing import ABSENT, ANY, Row, differences, lines_of, unexplained

SENT = Sent(
    "POST", "/a%2Fb/c", {"q": "1"}, {"content-type": "application/json", "host": "h"}, b'[{"a":1,"b":[]}]'
)
OTHERS = {
    "method": SENT._replace(method="PUT"),
    "path[]": SENT._replace(path="/a%2Fb/d"),
    "path.length": SENT._replace(path="/a/b/c"),
    "query.q": SENT._replace(query={}),
    "query.p": SENT._replace(query={"q": "1", "p": ""}),
    "headers.content-type": SENT._replace(headers={"content-type": "application/json; charset=utf-8"}),
    "headers.x": SENT._replace(headers={**SENT.headers, "x": "y"}),
    "body[].a": SENT._replace(body=b'[{"a":1.0,"b":[]}]'),
    "body[].b": SENT._replace(body=b'[{"a":1,"b":{}}]'),
    "body[].c": SENT._replace(body=b'[{"a":1,"b":[],"c":null}]'),
    "body.length": SENT._replace(body=b'[{"a":1,"b":[]},{"a":1,"b":[]}]'),
    "body[].b.length": SENT._replace(body=b'[{"a":1,"b":[0]}]'),
}


@pytest.mark.parametrize("place", sorted(OTHERS))
def test_a_difference_is_found_at_its_place(place):
    """Every difference between two requests is reported with its place."""
    found = unexplained(SENT, OTHERS[place], json.loads, ())

    assert place in {one.partition(":")[0] for one in found}


def test_the_same_is_no_difference():
    """Percent-encoding of a segment and headers of the connection are not differences."""
    same = SENT._replace(path="/%61%2Fb/c", headers={**SENT.headers, "host": "i", "content-length": "17"})

    assert unexplained(SENT, same, json.loads, ()) == []


@pytest.mark.parametrize(
    "left, right", [(1, True), (1, 1.0), (0, False), ("1", 1), (None, ABSENT), ([], {}), ("", None)]
)
def test_values_of_two_types_are_two_values(left, right):
    """Values that are equal in Python but not in JSON are different."""
    assert list(differences(left, right)) == [("", left, right)]


@pytest.mark.parametrize(
    "row, is_explained",
    [
        (Row("method", "POST", "PUT", ""), True),
        (Row("method", ANY, ANY, ""), True),
        (Row("method", "POST", "GET", ""), False),
        (Row("method", ANY, ABSENT, ""), False),
        (Row("path[]", ANY, ANY, ""), False),
    ],
    ids=["its values", "any values", "another value", "nothing there", "another place"],
)
def test_a_row_explains_what_it_says(row, is_explained):
    """A row explains one place with its values, and no other."""
    assert (unexplained(SENT, OTHERS["method"], json.loads, (row,)) == []) == is_explained


def test_a_row_that_explains_nothing_is_told():
    """A row whose difference is gone is reported."""
    row = Row("method", ANY, ANY, "")

    assert unexplained(SENT, SENT, json.loads, (row,)) == ["no difference at method"]


def test_lines_are_read_one_by_one():
    """Each line is a value, and a line break that is missing at the end is a difference."""
    assert list(differences(lines_of(b'{"a":1}\n[]\n'), lines_of(b'{"a":1}\n[]'))) == [("ended", True, False)]


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_a_request_is_captured_however_it_travels(capture, encoding, is_chunked):
    """Method, path, query, headers and the plain body are kept, in one piece or in chunks, compressed or not."""
    plain = b'{"a":"' + b"x" * 100_000 + b'"}'
    body = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding](plain)
    connection = http.client.HTTPConnection(urlsplit(capture.url).netloc)
    headers = {"Content-Encoding": encoding, "X-Key": "k"}

    sent = pieces_of(body) if is_chunked else body
    connection.request("PUT", "/p%2Fq?a=%40b&c=", sent, headers, encode_chunked=is_chunked)
    answer = connection.getresponse()
    answer.read()
    connection.close()

    (one,) = capture.taken()
    assert answer.status == 200
    assert (one.method, one.path, one.query, one.body) == ("PUT", "/p%2Fq", {"a": "@b", "c": ""}, plain)
    assert one.headers["x-key"] == "k"
    assert ("transfer-encoding" in one.headers) == is_chunked


def pieces_of(body: bytes) -> Iterator[bytes]:
    """Yield a body piece by piece, so that it travels in chunks."""
    for first in range(0, len(body), 1000):
        yield body[first : first + 1000]
