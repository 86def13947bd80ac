"""The bytes before the body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.errors import Invalid
from aegis_stream.sender.head import build_head


def make_route(*headers: tuple[str, str], host: str = "hook.example", target: str = "/in?k=v") -> Route:
    """Build a route."""
    return Route(Endpoint("https", host, 443, target, is_address=False), headers, None, 10.0)


def test_head_has_these_lines_and_no_others():
    """Target, Host, the route's headers, User-Agent, Content-Type; the length is left to each request."""
    head = build_head(make_route(("Authorization", "Bearer t")), "Aegis/1", "application/json")

    assert head == (
        b"POST /in?k=v HTTP/1.1\r\nHost: hook.example\r\nAuthorization: Bearer t\r\nUser-Agent: Aegis/1\r\n"
        b"Content-Type: application/json\r\nContent-Length: "
    )


def test_a_header_of_the_route_takes_the_place_of_ours():
    """User-Agent and Content-Type are never sent twice."""
    head = build_head(
        make_route(("user-agent", "x"), ("content-type", "text/plain")), "Aegis/1", "application/json"
    )

    assert head.lower().count(b"user-agent:") == head.lower().count(b"content-type:") == 1
    assert b"text/plain" in head


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\rb", "a\r\n b", "a\x00b", "\x7f", "\ud800"])
def test_values_cannot_end_their_line(value):
    """No line break, fold, NUL or other control character is sent, and the message does not repeat the value."""
    with pytest.raises(Invalid) as caught:
        build_head(make_route(("X-Key", value)), "Aegis/1", "application/json")

    assert value not in caught.value.message
    assert caught.value.problems[0].field == "headers"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a:",
        "a\r\n",
        "é",
        "Host",
        "content-length",
        "TRANSFER-ENCODING",
        "Connection",
        "Upgrade",
        "Expect",
    ],
)
def test_names_are_tokens_and_not_ours(name):
    """A header name is a token and not one that frames the request."""
    with pytest.raises(Invalid):
        build_head(make_route((name, "v")), "Aegis/1", "application/json")


def test_no_header_is_sent_twice():
    """Two headers with the same name, ignoring case, are rejected: receivers could use either."""
    with pytest.raises(Invalid) as caught:
        build_head(make_route(("X-Key", "c4n4ry"), ("x-key", "w")), "Aegis/1", "application/json")

    assert "c4n4ry" not in caught.value.message


@pytest.mark.parametrize("target", ["", "in", "/a b", "/a\r\nX: y", "/é"])
def test_targets_are_checked(target):
    """The request line cannot be broken by its target."""
    with pytest.raises(Invalid):
        build_head(make_route(target=target), "Aegis/1", "application/json")


@pytest.mark.parametrize(("agent", "content_type"), [("a\r\nb: c", "x/y"), ("a", "x/y\r\nb: c")])
def test_our_own_values_are_checked(agent, content_type):
    """User-Agent and Content-Type cannot break the head either."""
    with pytest.raises(Invalid):
        build_head(make_route(), agent, content_type)


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("/in?k=v", b"POST /in/a%20b?k=v HTTP/1.1\r\n"),
        ("/in?k=v?w", b"POST /in/a%20b?k=v?w HTTP/1.1\r\n"),
        ("/in?", b"POST /in/a%20b? HTTP/1.1\r\n"),
        ("/in", b"POST /in/a%20b HTTP/1.1\r\n"),
    ],
)
def test_a_suffix_follows_the_path(target, line):
    """The path suffix is put before the URL's query and changes nothing else of the head."""
    route = make_route(("Authorization", "Bearer t"), target=target)

    head = build_head(route, "Aegis/1", "application/json", "/a%20b")

    assert head.startswith(line)
    assert head.split(b"\r\n")[1:] == build_head(route, "Aegis/1", "application/json").split(b"\r\n")[1:]


@pytest.mark.parametrize(
    "suffix",
    [
        "/a b",
        "/a\r\nX: y",
        "/a HTTP/1.1\r\n\r\n",
        "/\n",
        "/\x00",
        "/\t",
        "/\x7f",
        "/é",
        "/\ud800",
        "\r",
        "/ ",
    ],
)
def test_suffixes_are_checked(suffix):
    """An event's content cannot break the request line, and the message does not repeat it."""
    with pytest.raises(Invalid) as caught:
        build_head(make_route(), "Aegis/1", "application/json", suffix)

    assert suffix not in caught.value.message
    assert caught.value.problems[0].field == "url"


@given(st.text(max_size=20))
def test_any_suffix_leaves_one_request_line_or_is_refused(suffix):
    """Whatever is added to the path, the head begins with one POST to one target."""
    plain = build_head(make_route(), "Aegis/1", "application/json")
    try:
        head = build_head(make_route(), "Aegis/1", "application/json", suffix)
    except Invalid:
        return

    method, target, version = head.split(b"\r\n")[0].split(b" ")
    assert (method, version) == (b"POST", b"HTTP/1.1")
    assert target == f"/in{suffix}?k=v".encode()
    assert head.count(b"\n") == plain.count(b"\n")


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=4))
def test_any_headers_make_exactly_their_lines_or_are_refused(headers):
    """For any headers, the head has exactly one line for each."""
    try:
        head = build_head(make_route(*headers), "Aegis/1", "application/json")
    except Invalid:
        return

    names = {name.lower() for name, _ in headers}
    assert (
        head.count(b"\n")
        == head.count(b"\r")
        == 2 + len(headers) + len({"user-agent", "content-type"} - names)
    )
