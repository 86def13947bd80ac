"""The bytes of a request before its body.

Called by `pool` once per route and content type. User input was checked when it was saved. It is checked again here,
where a line break in a header would become a second request.
"""

import re

from aegis_stream.domain.endpoint import Route
from aegis_stream.errors import FieldProblem, Invalid

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET = re.compile(r"/[!-~]*")
_HOST = re.compile(r"[0-9A-Za-z._:\[\]-]+")
_OURS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def build_head(route: Route, user_agent: str, content_type: str, path_suffix: str = "") -> bytes:
    """Return the request's first bytes, up to and including "Content-Length: ".

    `path_suffix` follows the URL's path, before its query. A User-Agent or Content-Type among the route's headers replaces ours.

    Raises: Invalid if a part could end its line or break the framing; the message repeats no value.
    Source: RFC 9110 sections 5.1 and 5.5 for names and values; obs-fold is rejected because it contains a line break.
    """
    endpoint = route.endpoint
    path, mark, query = endpoint.target.partition("?")
    target = f"{path}{path_suffix}{mark}{query}"
    if not _TARGET.fullmatch(target) or not _HOST.fullmatch(endpoint.host_header):
        raise _invalid("url", "contains characters that a request line cannot carry: percent-encode them")
    lines = [f"POST {target} HTTP/1.1", f"Host: {endpoint.host_header}"]
    names = set[str]()
    for name, value in route.headers:
        lower = _checked_name(name)
        if lower in names:
            raise _invalid("headers", f"contain {name} twice")
        names.add(lower)
        lines.append(f"{name}: {_checked_value(name, value)}")
    for name, value in (("User-Agent", user_agent), ("Content-Type", content_type)):
        if name.lower() not in names:
            lines.append(f"{name}: {_checked_value(name, value)}")
    lines.append("Content-Length: ")
    try:
        return "\r\n".join(lines).encode()
    except UnicodeEncodeError as exc:
        raise _invalid("headers", "contain text that is not Unicode") from exc


def _checked_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise _invalid("headers", "contain a name that is not a header name: use letters, digits and -")
    lower = name.lower()
    if lower in _OURS:
        raise _invalid("headers", f"cannot set {name}: the service sets it")
    return lower


def _checked_value(name: str, value: str) -> str:
    if _CONTROL.search(value):
        raise _invalid("headers", f"contain a line break or control character in the value of {name}")
    return value


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", problems=(FieldProblem(field, message),))
