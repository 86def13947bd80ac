"""What the front door leads to: ingest straight away, everything else by the ASGI application."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aegis_stream.front.answer import Answer
from aegis_stream.front.clients import Network, client_of, network_of
from aegis_stream.front.connection import Connection
from aegis_stream.front.contract import Admitted, Decision
from aegis_stream.front.gateway import Application, Gateway
from aegis_stream.front.head import Head, Refusal

from .ingest import IngestEndpoint, digest_of, org_of
from .ingest_body import RequestBounds
from .problems import Parts, answer_of, bug_problem, plain_problem
from .service import Service

_TITLES = {
    400: "The request cannot be read",
    405: "Method not allowed",
    408: "Too slow",
    413: "Too large",
    417: "Expectation not supported",
    431: "Head too large",
    501: "Not supported",
    503: "Service unavailable",
    505: "HTTP version not supported",
}


SAFE_HEADERS = (
    (
        b"cache-control",
        b"no-store",
    ),  # keys, events and configurations: nothing between us and the client keeps them
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""Headers of every answer of the routes that does not say otherwise."""


@dataclass(slots=True)
class ApiReception:
    """Decides about every request by its head (port Reception).

    Args:
        ingest: the hot path; None where this listener does not serve it.
        trusted_proxies: networks whose X-Forwarded-For is believed.
        only: the paths that this listener serves; None for all but the hidden ones.
        hidden: paths that another listener serves.
        owner_of: returns the organization of the key with this SHA-256, if the key was used a while ago.
    """

    ingest: IngestEndpoint | None
    gateway: Gateway
    trusted_proxies: tuple[Network, ...]
    call_bytes_max: int
    only: frozenset[str] | None = None
    hidden: frozenset[str] = frozenset()
    owner_of: Callable[[bytes], str | None] = field(default=lambda _: None)

    def admit(self, head: Head, connection: Connection) -> Decision | Awaitable[Decision]:
        """Decide about a request by its head alone."""
        client = connection.address
        if self.trusted_proxies:
            client = client_of(client, head.named.get(b"x-forwarded-for"), self.trusted_proxies)
        path = head.path
        if self.ingest is not None and (org_id := org_of(head.method, path)) is not None:
            return self.ingest.admit(head, org_id, client)
        tidy = "/" + "/".join(part for part in path.split("/") if part)  # as a router reads it
        if (
            not _is_plain(head.raw_path)
            or tidy in self.hidden
            or (self.only is not None and tidy not in self.only)
        ):
            return answer_of(
                plain_problem(
                    404, "no-such-path", "Not found", f"there is nothing at {path[:200]}: see /docs"
                )
            )

        def serve(body: bytes, one: Connection) -> None:
            self.gateway.begin(
                one.head, body, one, client
            )  # not `head`: it would be kept with the connection

        return Admitted(self._holder_of(head, client), self.call_bytes_max, serve)

    def _holder_of(self, head: Head, client: str) -> str:
        """Return who a call is counted for: the organization of its key if it is known, otherwise the client's network."""
        digest = digest_of(head.named.get(b"authorization"))
        owner = self.owner_of(digest) if digest is not None else None
        return owner or network_of(client)

    def refuse(self, refusal: Refusal) -> Answer:
        """Return the answer to what the front door refuses by itself."""
        status, headers, body = plain_problem(
            refusal.status, refusal.code, _TITLES[refusal.status], refusal.detail
        )
        if status == 503:
            headers["retry-after"] = "1"
        return answer_of((status, headers, body))


def make_reception(
    service: Service,
    routes: Application,
    *,
    only: frozenset[str] | None = None,
    hidden: frozenset[str] = frozenset(),
) -> ApiReception:
    """Put what the front door leads to together.

    Args:
        only: the paths that this listener serves; None for all, with ingest.
        hidden: paths that another listener serves.
    """
    settings = service.control.settings

    def on_bug(path: str, error: BaseException | None) -> Parts:
        return bug_problem(service.telemetry, path, error)

    bounds = RequestBounds(
        settings.ingest.request_bytes_max,
        settings.ingest.request_events_max,
        settings.ingest.decompression_ratio_max,
    )
    ingest = IngestEndpoint(service.control.access, service.control.ingest, service.counts, on_bug, bounds)
    return ApiReception(
        ingest=ingest if only is None else None,
        gateway=Gateway(routes, lambda path, error: answer_of(on_bug(path, error)), SAFE_HEADERS),
        trusted_proxies=settings.api.trusted_proxies,
        call_bytes_max=settings.api.call_bytes_max,
        only=only,
        hidden=hidden,
        owner_of=service.control.access.owner_of,
    )


def _is_plain(raw_path: bytes) -> bool:
    """Tell whether a path is spelled as a router would spell it: what it would tidy up is another path for a proxy."""
    return raw_path == b"/" or (b"//" not in raw_path and not raw_path.endswith(b"/"))
