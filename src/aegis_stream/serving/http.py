"""The listeners of an API process: the front door, with API and console behind it."""

from dataclasses import dataclass

from aegis_stream.api.reception import make_reception
from aegis_stream.api.service import Service
from aegis_stream.front.clients import network_of
from aegis_stream.front.contract import Bounds
from aegis_stream.front.listener import Listener
from aegis_stream.front.shares import Shares
from aegis_stream.sender.watch import Watch
from aegis_stream.settings import ApiSettings

from .site import Site

METRICS_PATHS = frozenset({"/metrics", "/healthz", "/readyz"})
"""What the listener for metrics serves."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """The listeners of a process.

    Args:
        public: for clients.
        metrics: for metrics, where they have a port of their own.
        routes: what is behind both.
    """

    public: Listener
    metrics: Listener | None
    routes: Site

    async def stop(self) -> None:
        """Accept no more on either, let requests under way end; streams, which have no end, are told to."""
        self.routes.end_streams()
        await self.public.stop()
        if self.metrics is not None:
            await self.metrics.stop()


def make_listeners(service: Service) -> Listeners:
    """Return the listeners for a service."""
    settings = service.control.settings
    routes = Site.of(service)
    shares = Shares(settings.api.connections_max, settings.api.bytes_under_way_max)

    def listener(**paths: frozenset[str]) -> Listener:
        return Listener(make_reception(service, routes, **paths), bounds_of(settings.api, shares))

    if not settings.telemetry.metrics_port:
        return Listeners(listener(), None, routes)
    return Listeners(listener(hidden=frozenset({"/metrics"})), listener(only=METRICS_PATHS), routes)


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
