"""The listeners of an API process: the front door, with the API behind it."""

from aegis_stream.api.app import create_app, make_reception
from aegis_stream.api.service import Service
from aegis_stream.front.clients import network_of
from aegis_stream.front.contract import Bounds
from aegis_stream.front.listener import Listener
from aegis_stream.front.shares import Shares
from aegis_stream.sender.watch import Watch
from aegis_stream.settings import ApiSettings

METRICS_PATHS = frozenset({"/metrics", "/healthz", "/readyz"})
"""What the listener for metrics serves."""


def make_listeners(service: Service) -> tuple[Listener, Listener | None]:
    """Return the listener for clients, and one for metrics where they have a port of their own."""
    settings = service.control.settings
    routes = create_app(service)
    shares = Shares(settings.api.connections_max, settings.api.bytes_under_way_max)

    def listener(**paths: frozenset[str]) -> Listener:
        return Listener(make_reception(service, routes, **paths), bounds_of(settings.api, shares))

    if not settings.telemetry.metrics_port:
        return listener(), None
    return listener(hidden=frozenset({"/metrics"})), listener(only=METRICS_PATHS)


def bounds_of(settings: ApiSettings, shares: Shares) -> Bounds:
    """Return what the connections of one listener may take, as configured."""
    return Bounds(
        shares,
        Watch(settings.keep_alive_seconds),
        network_of,
        settings.header_bytes_max,
        settings.headers_max,
        settings.header_timeout_seconds,
        settings.body_timeout_seconds,
        settings.keep_alive_seconds,
    )
