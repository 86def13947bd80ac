"""Where a request goes: the parts of a checked URL, and the route to them.

Only `parse_url` makes an Endpoint, from what a user typed.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The parts of a destination's checked URL.

    Args:
        scheme: "https" or "http".
        host: ASCII host name in lower case without trailing dot, or an IP address without brackets.
        port: 1–65535.
        target: path and query for the request line; begins with "/".
        is_address: the host is an IP address and need not be resolved.
    """

    scheme: str
    host: str
    port: int
    target: str
    is_address: bool

    @property
    def host_header(self) -> str:
        """Value of the Host header: IPv6 in brackets; the port only if it is not the default of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """Everything about a destination that its connections and request heads depend on.

    Two routes share nothing: each gets its own channel with its own connections.

    Args:
        endpoint: where to.
        headers: additional request headers, already checked; they contain the secret.
        ca_certificate: PEM text of the authorities to trust instead of the configured ones, or None.
        timeout_s: seconds for a whole attempt, from connect to the end of the answer.
        answer_bytes_max: most bytes of an answer's body that are read.
        org_id: the organization; the places of an address are shared between organizations.
        grant: how to get the token of the requests; None if they carry none.
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
        form: the body of the request; contains the client's secret.
    """

    route: Route
    form: bytes = field(repr=False)
