"""Promises about what workers keep of an answer: headers and the beginning of the body, and none of our secrets."""

import base64

import pytest

from aegis_stream.control.kept_answers import EXCERPT_BYTES_MAX, shown_answer
from aegis_stream.control.spellings import _readings
from aegis_stream.domain.attempt import Response
from aegis_stream.domain.destination import MASK, DestinationSpec

SECRET = "c4n4ry-t0ken-of-the-siem-0123456789"
SPEC = DestinationSpec(
    url="https://siem.example.com/services/c4n4ryInTheUrl",
    auth_header_name="Authorization",
    auth_header_value=f"Splunk {SECRET}",
    headers=(("X-Scope-OrgID", "c4n4ryTenant99"),),
)
HEAD = b"HTTP/1.1 503 Service Unavailable\r\nServer: x\r\nRetry-After: 7"


def test_headers_and_the_beginning_of_the_body_are_kept():
    """Headers are lines in their order, without the status line; of the body no more than its beginning."""
    found = shown_answer(Response(503, b"x" * 5000, 9, head=HEAD), SPEC, [])

    assert found.headers == "Server: x\nRetry-After: 7"
    assert found.excerpt == "x" * EXCERPT_BYTES_MAX


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        f"Authorization: Splunk {SECRET}",
        base64.b64encode(SECRET.encode()).decode(),
        SECRET[::-1],
        SECRET.encode().hex(),
        "c4n4ryTenant99",
        "/services/c4n4ryInTheUrl",
        "bearer-c4n4ry-0f-oauth",
    ],
    ids=["plain", "header", "base64", "reversed", "hex", "other header", "url", "token"],
)
@pytest.mark.parametrize("place", ["body", "header"])
def test_no_secret_is_kept(echo, place):
    """A receiver that repeats a secret, in whatever spelling, in its body or in a header, has it cut out."""
    body = f"you sent {echo}".encode() if place == "body" else b"no"
    head = HEAD + (f"\r\nX-Echo: {echo}".encode() if place == "header" else b"")

    found = shown_answer(Response(403, body, 9, head=head), SPEC, ["bearer-c4n4ry-0f-oauth"])

    text = f"{found.headers} {found.excerpt}"
    assert echo not in text
    assert "c4n4ry" not in text


@pytest.mark.parametrize("text", ["no", "50% &amp; more"])
def test_the_work_is_done_in_steps(text):
    """A thread that cuts secrets out of an answer can rest after each reading of it, and finds the same."""
    rested = []

    found = shown_answer(Response(503, text.encode(), 9), SPEC, [], rest=lambda: rested.append(1))

    assert len(rested) == len(list(_readings(text)))
    assert found == shown_answer(Response(503, text.encode(), 9), SPEC, [])


@pytest.mark.parametrize("name", ["Set-Cookie", "set-cookie", "Authorization"])
def test_credentials_of_the_peer_are_masked(name):
    """A cookie that the peer sets is a credential of its own, and is masked."""
    found = shown_answer(Response(503, b"", 9, head=HEAD + f"\r\n{name}: sid=abc".encode()), SPEC, [])

    assert found.headers.endswith(f"{name}: {MASK}")


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 503", b"HTTP/1.1 503\r\nno colon\r\n\xff\xfe: \x00\x1b"])
def test_any_head_is_read(head):
    """Whatever a peer sends as its head, what is kept is printable text."""
    found = shown_answer(Response(503, b"\xff\x00", 9, head=head), SPEC, [])

    assert all(one.isprintable() or one == "\n" for one in found.headers + found.excerpt)
