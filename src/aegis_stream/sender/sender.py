"""The sender of a process: it opens channels, and has what they share.

`wiring` makes it; the pipeline sees it as ports.Sender.
"""

import time
from collections.abc import Callable

from aegis_stream.domain.endpoint import Route
from aegis_stream.domain.trace import Trace

from .address_limiter import AddressLimiters
from .dial import Dialer, Guard
from .limits import SenderLimits
from .look_ups import LookUps, PromptLookUps
from .pool import Channel, Shared
from .resolve import DnsResolver, Resolver
from .shares import ConnectionShares
from .tls import TrustStore
from .watch import Watch


class AsyncSender:
    """Opens channels; implements ports.Sender.

    Args:
        user_agent: value of User-Agent.
        guard: asked about every address before every connect.
        resolver: source of addresses; hosts file and DNS by default.
        trust: certificate authorities; those of the system by default.
        clock: monotonic seconds, for latencies only. The default is exact to the microsecond; uvloop's loop.time() is
            not. A test with virtual time passes the clock of its loop.
    """

    def __init__(
        self,
        *,
        user_agent: str,
        guard: Guard,
        resolver: Resolver | None = None,
        trust: TrustStore | None = None,
        limits: SenderLimits | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._guard = guard
        self._dns = DnsResolver()
        self.look_ups = LookUps(resolver or self._dns)
        self._trust = trust or TrustStore()
        limits = limits or SenderLimits()
        self._shared = Shared(
            user_agent, limits, clock, Watch(limits.idle_s), ConnectionShares(limits.all_connections_max)
        )
        self._limiters = AddressLimiters(limits.address_connections_max, limits.address_requests_per_s)

    def open(self, route: Route, trace: Trace | None = None) -> Channel:
        """Return a channel for this route; makes no connection yet. The caller closes it when it no longer uses the route.

        Called on the event loop.

        Args:
            trace: as for ports.Sender.
        Raises: Invalid if a header or the CA certificate cannot be used; Misconfigured if the default authorities cannot
            be read.
        """
        tls = route.endpoint.scheme == "https"
        context = self._trust.context(route.ca_certificate, route.org_id) if tls else None
        dialer = Dialer(
            route.endpoint,
            context,
            guard=self._guard,
            resolver=PromptLookUps(self.look_ups.of(route.org_id)),
            limiters=self._limiters,
            timeout_s=route.timeout_s,
        )
        dialer.trace = trace
        return Channel(route, self._shared, dialer, trace)

    def close(self) -> None:
        """End all look-ups. Channels are closed by their openers."""
        self.look_ups.close()
        self._dns.close()
