"""Where a request goes: the parts of a checked URL, and the route to them.

The parser that makes an Endpoint from what a person typed is `parse_url`; nothing else makes one.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The parts of a destination's URL after checking.

    Args:
        scheme: "https" or "http".
        host: ASCII host name in lower case without trailing dot, or an IP address without brackets.
        port: 1–65535.
        target: path and query as they go into the request line, always beginning with "/".
        is_address: the host is an IP address, so there is nothing to resolve.
    """

    scheme: str
    host: str
    port: int
    target: str
    is_address: bool

    @property
    def host_header(self) -> str:
        """Value of the Host header: brackets around IPv6, the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """Everything about a destination that a connection and a request head depend on.

    Two routes share nothing: each is opened as a channel of its own, with its own connections.

    Args:
        endpoint: where to.
        headers: extra request headers, already checked; the secret among them.
        ca_certificate: PEM text of the authorities to trust instead of the configured ones, or None.
        timeout_s: seconds for a whole attempt, from connect to the end of the answer.
        answer_bytes_max: most bytes of an answer's body that are read.
        org_id: on whose behalf; what organizations share of an address is divided by it.
        grant: what gets the token that the requests carry; None where they carry none.
    """

    endpoint: Endpoint
    headers: tuple[tuple[str, str], ...]
    ca_certificate: str | None
    timeout_s: float
    answer_bytes_max: int = 16 * 1024
    org_id: str = ""
    grant: "Grant | None" = None

    @property
    def attempt_s_max(self) -> float:
        """Seconds within which an attempt has ended: with a grant it may fetch a token, send, and after a 401 do both again."""
        return self.timeout_s * (4 if self.grant is not None else 1)


@dataclass(frozen=True, slots=True)
class Grant:
    """How to ask for a token.

    Args:
        route: to the token endpoint.
        form: the body of the request, with the client's secret in it.
    """

    route: Route
    form: bytes = field(repr=False)
