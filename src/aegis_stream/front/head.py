"""The bytes of a request's head → a Head, or the reason to refuse it. Pure.

Stricter than RFC 9112 allows where two parsers in a row could disagree: whoever stands in front of us and whoever reads our
log must see the same requests. What the RFC tells a server to refuse is refused, and the connection is closed.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

CHUNKED: Final = -1
"""The length of a body that comes in chunks."""
LENGTH_DIGITS_MAX = 15

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 section 5.6.2
_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/(\d)\.(\d)\r\n")
_FIELDS = re.compile(rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n")  # RFC 9112 section 5
_HOST = re.compile(rb"[0-9A-Za-z._~\-!$&'()*+,;=%:\[\]]*")  # RFC 3986 section 3.2.2, and a port
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_SINGLE = frozenset(
    (
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"transfer-encoding",
    )
)
"""Fields of which a second one could be read instead of the first."""


class Refusal(NamedTuple):
    """Why a request is answered by the front door itself.

    Args:
        code: the last part of the problem's type.
        detail: what is wrong, and what to do.
    """

    status: int
    code: str
    detail: str


@dataclass(slots=True)
class Head:
    """A request without its body.

    Args:
        path: decoded, without the query; an encoded slash stays encoded, because it is part of a segment.
        raw_path: as it was sent, without the query.
        fields: name in small letters and value, in the order they came.
        length: bytes of the body; CHUNKED where only its end will tell.
        keep_alive: the connection may carry another request.
        wants_continue: the client waits for 100 before it sends the body.
        named: value of each header, those that came more than once joined by commas.
        note: what the application keeps with a head that comes again.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    version: str
    fields: list[tuple[bytes, bytes]]
    length: int
    keep_alive: bool
    wants_continue: bool
    named: dict[bytes, bytes] = field(default_factory=dict)
    note: Any = None


NO_HEAD: Final = Head("GET", "", b"", b"", "1.1", [], 0, True, False)
"""Stands for the head of a connection that has answered its last request, and keeps nothing of it."""


def parse_head(data: bytes) -> Head | Refusal:
    """Read a head.

    Args:
        data: up to and with the empty line.
    """
    line = _LINE.match(data)
    if line is None:
        return _malformed("the request line is not `METHOD /path HTTP/1.1`: percent-encode what is not ASCII")
    if line[3] != b"1" or line[4] not in (b"0", b"1"):
        return Refusal(505, "http-version", "this HTTP version is not supported: send HTTP/1.1")
    if _FIELDS.fullmatch(data, line.end()) is None:
        return _malformed(_what_is_wrong(data[line.end() : -4].split(b"\r\n")))
    fields: list[tuple[bytes, bytes]] = []
    named: dict[bytes, bytes] = {}
    for one in data[line.end() : -4].split(b"\r\n") if len(data) - line.end() > 2 else ():
        name, _, value = one.partition(b":")
        name = name.lower()
        value = value.strip(b" \t")
        if name in named:
            if name in _SINGLE:
                return _malformed(f"the header {name.decode()} is sent twice: send it once")
            named[name] += b", " + value
        else:
            named[name] = value
        fields.append((name, value))
    return _with_framing(line, fields, named)


def _with_framing(
    line: re.Match[bytes], fields: list[tuple[bytes, bytes]], named: dict[bytes, bytes]
) -> Head | Refusal:
    """Find out how long the body is, and whether the connection lasts (RFC 9112 sections 3.2, 6, 9.3)."""
    is_1_1 = line[4] == b"1"
    host = named.get(b"host")
    if host is None and is_1_1:
        return _malformed("the header Host is missing")
    if host is not None and _HOST.fullmatch(host) is None:
        return _malformed("the header Host is not a host name")
    length = _length_of(named, is_1_1=is_1_1)
    if isinstance(length, Refusal):
        return length
    if line[1] == b"CONNECT":
        return Refusal(405, "method-not-allowed", "CONNECT is not supported: this is not a proxy")
    target = _target_of(line[1], line[2])
    if target is None:
        return _malformed("the request target must be a path, such as /healthz")
    raw_path, _, query = target.partition(b"?")
    expects = named.get(b"expect", b"").lower()
    if expects not in (b"", b"100-continue"):
        return Refusal(417, "expectation", "this Expect is not supported: send 100-continue, or no Expect")
    path = raw_path.decode("latin-1")
    connection = named.get(b"connection", b"").lower()
    return Head(
        method=line[1].decode(),
        path=_decoded(path) if "%" in path else path,
        raw_path=raw_path,
        query=query,
        version="1.1" if is_1_1 else "1.0",
        fields=fields,
        length=length,
        keep_alive=is_1_1 and (not connection or b"close" not in _tokens(connection)),
        wants_continue=bool(expects) and is_1_1,
        named=named,
    )


def _length_of(named: dict[bytes, bytes], *, is_1_1: bool) -> int | Refusal:
    coding, length = named.get(b"transfer-encoding"), named.get(b"content-length")
    if coding is not None:
        if length is not None:
            return _malformed("both Content-Length and Transfer-Encoding are sent: send one of them")
        if not is_1_1:
            return _malformed("HTTP/1.0 has no Transfer-Encoding: send Content-Length, or HTTP/1.1")
        if coding.lower() != b"chunked":
            message = f"Transfer-Encoding {coding[:100].decode('latin-1')!r} is not supported: send chunked"
            return Refusal(501, "transfer-encoding", message + ", and say compression by Content-Encoding")
        return CHUNKED
    if length is None:
        return 0
    if not length.isdigit() or len(length) > LENGTH_DIGITS_MAX:
        return _malformed("the header Content-Length is not a number of bytes")
    return int(length)


def _target_of(method: bytes, target: bytes) -> bytes | None:
    """Return path and query of a request target (RFC 9112 section 3.2), or None when it has none."""
    if target.startswith(b"/"):
        return target if b"#" not in target else None
    if target == b"*":
        return target if method == b"OPTIONS" else None
    if (absolute := _ABSOLUTE.match(target)) is not None and b"#" not in target:
        rest = target[absolute.end() :]
        return rest if rest.startswith(b"/") else b"/" + rest
    return None


def _decoded(path: str) -> str:
    return unquote(path.replace("%2F", "%252F").replace("%2f", "%252F"))


def _tokens(value: bytes) -> set[bytes]:
    return {one.strip(b" \t") for one in value.split(b",")}


def _what_is_wrong(lines: list[bytes]) -> str:
    """Say what of a field is not as RFC 9112 wants it."""
    for one in lines:
        name, colon, value = one.partition(b":")
        if one[:1] in (b" ", b"\t"):
            return "a header continues on the next line: send it on one line"
        if not colon:
            return "a header line has no colon"
        if name != name.rstrip(b" \t"):
            return "a header has a blank before its colon: remove it"
        if re.fullmatch(_TOKEN, name) is None:
            return "a header name has a character that names may not have"
        if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value) is not None:
            return "a header value has a control character"
    return "the head of the request is not HTTP/1.1"


def _malformed(detail: str) -> Refusal:
    return Refusal(400, "malformed", detail)
