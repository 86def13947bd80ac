"""Client of the REST API, for the remote commands and the demonstration.

It knows HTTP and problem documents, and nothing of the command line. When the service refuses a call or cannot be reached,
the error has a message for a person.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote

import httpx

from aegis_stream import __version__
from aegis_stream.errors import AegisError, FieldProblem, Invalid

PAGE_MAX = 200
"""Largest page of the API, items."""
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0
"""Longest silence of the service, seconds; a test event may take ten."""
TEXT_CHARACTERS_MAX = 500
"""Longest part of an answer that an error repeats, characters."""
FIELDS_SHOWN_MAX = 20

_HINTS = {
    401: "check the key in AEGIS_API_KEY or --key",
    403: "use a key with the scope that this call needs: aegis key create --scope …",
    404: "check the id and --org, and that the key belongs to this organization",
}


class Unreachable(AegisError):
    """The service did not answer; it may or may not have done what was asked."""

    code = "unreachable"


class Refused(AegisError):
    """The service answered with an error.

    Args:
        status: the HTTP status.
        detail: the service's own text.
        retry_after_s: how long the service asks to wait, seconds; None if it does not ask.
    """

    code = "refused"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        detail: str,
        retry_after_s: float | None,
        problems: tuple[FieldProblem, ...],
    ) -> None:
        super().__init__(message, problems=problems)
        self.status = status
        self.detail = detail
        self.retry_after_s = retry_after_s


class Client:
    """Calls one service with one key, for one organization if it is given.

    Args:
        url: URL of the service, http or https, without credentials.
        key: sent as bearer token, never shown.
        transport: for tests.
    Raises: Invalid when the URL or the key is malformed.
    """

    def __init__(
        self, url: str, key: str, org_id: str = "", *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = check_url(url)
        self.org_id = org_id
        if not key.isascii() or not key.isprintable() or not key or " " in key:
            raise Invalid(
                "the key is empty or contains characters that no key has: check AEGIS_API_KEY or --key"
            )
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}", "User-Agent": f"aegis/{__version__}"},
            timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # Never use a proxy to reach this machine itself.
            trust_env=not _is_loopback(self.url),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def org_path(self, *parts: str) -> str:
        """Return a path below the organization; parts may contain any characters."""
        return "/".join(("/api/orgs", *(quote(part, safe="") for part in (self.org_id, *parts))))

    def call(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        """Make one call, with a JSON body if one is given.

        Returns: the decoded answer, None if it has no body.
        Raises: Refused. Unreachable.
        """
        response = self._request(method, path, json=body, params=query)
        return self._decoded(response) if response.content else None

    def fetch(self, path: str, query: Mapping[str, Any], method: str = "GET") -> bytes:
        """Return the body of an answer, not decoded. Raises: Refused. Unreachable."""
        return self._request(method, path, params=query).content

    def post_lines(self, path: str, lines: bytes) -> Any:
        """Post NDJSON and return the decoded answer. Raises: Refused. Unreachable."""
        headers = {"Content-Type": "application/x-ndjson"}
        return self._decoded(self._request("POST", path, content=lines, headers=headers))

    def items(
        self, path: str, *, limit: int, query: dict[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield up to `limit` items of a list, page by page.

        Args:
            query: parameters of every page, such as filters.
        Raises: Refused. Unreachable.
        """
        filters = query or {}
        query = {}
        while limit > 0:
            page = self.call("GET", path, query={**filters, **query, "limit": min(limit, PAGE_MAX)})
            yield from page["data"]
            limit -= len(page["data"])
            if page["next_cursor"] is None:
                return
            query = {"cursor": page["next_cursor"]}

    def _request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            response = self._http.request(
                method, path, **{name: value for name, value in parts.items() if value is not None}
            )
        except httpx.TransportError as error:
            raise Unreachable(self._no_answer(error)) from error
        if not response.is_success:
            raise self._refusal(response)
        return response

    def _decoded(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise Unreachable(
                f"{self.url} answered {response.status_code} without JSON, so it may not be the Aegis API: "
                "check AEGIS_URL or --url"
            ) from error

    def _no_answer(self, error: httpx.TransportError) -> str:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            reason = "no connection in time" if isinstance(error, httpx.TimeoutException) else _reason(error)
            if "wrong version number" in reason or "record layer failure" in reason:
                return f"{self.url} speaks http, not https: correct AEGIS_URL or --url"
            return (
                f"cannot reach {self.url} ({reason}): start the service with aegis serve, "
                "or correct AEGIS_URL or --url"
            )
        if isinstance(error, httpx.TimeoutException):
            return f"{self.url} did not answer within {ANSWER_TIMEOUT_S:g} s"
        return f"the connection to {self.url} broke: {_reason(error)}"

    def _refusal(self, response: httpx.Response) -> Refused:
        status = response.status_code
        problem = _problem(response)
        title = printable(problem.get("title") or response.reason_phrase or "an error")
        detail = printable(problem.get("detail") or self._without_problem(response))
        problems = tuple(
            FieldProblem(printable(one.get("field", "")), printable(one.get("message", "")))
            for one in problem.get("errors", ())
            if isinstance(one, dict)
        )
        lines = [f"{status} {title}: {detail}"]
        if any(one.field for one in problems):
            lines = [f"{status} {title}"]
            lines += [f"  {one.field}: {one.message}" for one in problems[:FIELDS_SHOWN_MAX]]
            if len(problems) > FIELDS_SHOWN_MAX:
                lines.append(f"  and {len(problems) - FIELDS_SHOWN_MAX} more")
        if status in _HINTS and problem:
            lines.append(f"  {_HINTS[status]}")
        return Refused(
            "\n".join(lines),
            status=status,
            detail=detail,
            retry_after_s=_retry_after_s(response),
            problems=problems,
        )

    def _without_problem(self, response: httpx.Response) -> str:
        if response.is_redirect:
            target = printable(response.headers.get("location", ""))
            return f"{self.url} redirects to {target}: set AEGIS_URL or --url to the final address"
        return f"{self.url} does not answer like the Aegis API: check AEGIS_URL or --url"


def check_url(url: str) -> str:
    """Return the URL of a service without its final slash. Raises: Invalid."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Invalid("the URL of the service is malformed: write it like http://127.0.0.1:8700") from error
    if parsed.userinfo:
        raise Invalid("the URL of the service must not contain credentials: set AEGIS_API_KEY or --key")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise Invalid(f"{printable(url)} is not the URL of a service: write it like http://127.0.0.1:8700")
    return str(parsed).rstrip("/")


def printable(value: object) -> str:
    """Return text for one line of a terminal: shortened, and without control characters."""
    text = str(value)
    if len(text) > TEXT_CHARACTERS_MAX:
        text = text[: TEXT_CHARACTERS_MAX - 1] + "…"
    return "".join(character if character.isprintable() else " " for character in text)


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) and "title" in problem else {}


def _retry_after_s(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _reason(error: Exception) -> str:
    text = printable(error)
    return text.partition("] ")[2].lower() or text or type(error).__name__


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
