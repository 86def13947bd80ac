"""Promises about heads of requests: what RFC 9112 allows is read, what it tells a server to refuse is refused."""

import pytest

from aegis_stream.front.head import CHUNKED, Head, Refusal, parse_head


def head(*lines: bytes, line: bytes = b"POST /a?b=c HTTP/1.1", host: bytes = b"Host: x") -> Head | Refusal:
    """Read a head with these header lines."""
    return parse_head(b"\r\n".join([line, *([host] if host else []), *lines, b"", b""]))


def refused(*lines: bytes, **parts: bytes) -> Refusal:
    """Read a head that must be refused."""
    found = head(*lines, **parts)
    assert isinstance(found, Refusal)
    return found


def test_an_ordinary_request_is_read():
    """Method, path, query, headers in their order, and the length of the body."""
    found = head(b"Content-Length: 12", b"X-A:  one\t", b"X-B:")

    assert isinstance(found, Head)
    assert (found.method, found.path, found.query, found.version) == ("POST", "/a", b"b=c", "1.1")
    assert found.fields == [(b"host", b"x"), (b"content-length", b"12"), (b"x-a", b"one"), (b"x-b", b"")]
    assert (found.length, found.keep_alive, found.wants_continue) == (12, True, False)


def test_without_any_framing_there_is_no_body():
    """A request with neither Content-Length nor Transfer-Encoding has no body (RFC 9112 section 6.3)."""
    assert head().length == 0


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"CHUNKED"])
def test_chunked_is_read_in_any_case(coding):
    """Transfer codings are case-insensitive."""
    assert head(b"Transfer-Encoding: " + coding).length == CHUNKED


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"Content-Length: 5", b"Content-Length: 5"], 400),
        ([b"Content-Length: 5, 5"], 400),
        ([b"Content-Length: +5"], 400),
        ([b"Content-Length: 0x5"], 400),
        ([b"Content-Length: -5"], 400),
        ([b"Content-Length: \xb2"], 400),
        ([b"Content-Length:"], 400),
        ([b"Content-Length: " + b"1" * 20], 400),
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], 400),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], 400),
        ([b"Transfer-Encoding: gzip, chunked"], 501),
        ([b"Transfer-Encoding: identity"], 501),
        ([b"Transfer-Encoding: chunked, chunked"], 501),
        ([b"Transfer-Encoding: \x0bchunked"], 400),
        ([b"Content-Length : 5"], 400),
        ([b"X: a", b" b"], 400),
        ([b"X: a\x00b"], 400),
        ([b"X: a\rb"], 400),
        ([b"X: a\nb: c"], 400),
        ([b"X"], 400),
        ([b": x"], 400),
        ([b"X\xff: a"], 400),
        ([b"Host: y"], 400),
        ([b"Authorization: a", b"Authorization: b"], 400),
        ([b"Content-Type: a", b"Content-Type: b"], 400),
        ([b"Content-Encoding: a", b"Content-Encoding: b"], 400),
        ([b"Expect: 200-ok"], 417),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(lines, status):
    """Each of these headers ends the request, with a text that says what is wrong."""
    found = refused(*lines)

    assert found.status == status
    assert len(found.detail) > 20


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET /\xff HTTP/1.1", 400),
        (b"GET /", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET a HTTP/1.1", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET ftp://h/ HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"CONNECT h:443 HTTP/1.1", 405),
        (b"CONNECT / HTTP/1.1", 405),
    ],
)
def test_request_lines_that_are_refused(line, status):
    """A line of another shape or version, and CONNECT, are no request."""
    assert refused(line=line).status == status


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"/%61pi", "/api"),
        (b"/a%2Fb%2f", "/a%2Fb%2F"),
        (b"http://h:1/a", "/a"),
        (b"HTTPS://h", "/"),
        (b"/%zz", "/%zz"),
        (b"//a", "//a"),
    ],
)
def test_targets(target, path):
    """A path is decoded; a whole URL is read for its path (RFC 9112 section 3.2.2)."""
    assert head(line=b"GET " + target + b" HTTP/1.1").path == path


def test_options_may_ask_about_the_server():
    """`OPTIONS *` is a request, of no path."""
    assert head(line=b"OPTIONS * HTTP/1.1").path == "*"


@pytest.mark.parametrize("host", [b"", b"Host: a b", b"Host: a/b", b"Host: a@b"])
def test_a_host_is_needed(host):
    """HTTP/1.1 without Host, or with one that is no host, is refused (RFC 9112 section 3.2)."""
    assert refused(host=host).status == 400


def test_http_1_0():
    """HTTP/1.0 needs no Host, closes after its answer, and has no chunks."""
    found = head(line=b"GET / HTTP/1.0", host=b"")

    assert (found.version, found.keep_alive) == ("1.0", False)
    assert refused(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0").status == 400


@pytest.mark.parametrize(
    ("value", "stays"), [(b"close", False), (b"Close, x", False), (b"keep-alive", True), (b"Upgrade", True)]
)
def test_how_long_the_connection_lasts(value, stays):
    """Only `close` ends it; an offer to upgrade is an ordinary request."""
    assert head(b"Connection: " + value, b"Upgrade: h2c").keep_alive is stays


def test_who_waits_for_100_is_known():
    """Expect: 100-continue is noted, in any case of letters."""
    assert head(b"Expect: 100-Continue", b"Content-Length: 1").wants_continue


def test_repeated_headers_that_are_lists_are_joined():
    """A header that may come twice has one value with a comma (RFC 9110 section 5.3)."""
    assert head(b"X-Forwarded-For: a", b"X-Forwarded-For: b").named[b"x-forwarded-for"] == b"a, b"
