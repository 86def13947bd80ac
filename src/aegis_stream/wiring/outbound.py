"""The sender of a process."""

import resource

from aegis_stream import PRODUCT, __version__
from aegis_stream.netguard import NetGuard
from aegis_stream.sender import AsyncSender, SenderLimits, TrustStore, is_own_address
from aegis_stream.settings import Settings

FILES_BESIDE = 256
"""Open files of a process beside its connections to destinations: databases, pipes, name servers, a client's request."""
USER_AGENT = f"{PRODUCT}/{__version__}"


def make_sender(settings: Settings) -> AsyncSender:
    """Return the one sender of a process: everything that leaves goes through it, and past the guard."""
    return AsyncSender(
        user_agent=USER_AGENT,
        guard=make_guard(settings),
        trust=make_trust(settings),
        limits=SenderLimits(
            connections_max=settings.delivery.window_max + 8,
            idle_max=settings.delivery.window_max,
            all_connections_max=_connections_max(settings),
            address_connections_max=settings.egress.address_connections_max,
            address_requests_per_s=settings.egress.address_requests_per_second,
        ),
    )


def make_trust(settings: Settings) -> TrustStore:
    """Return whom this process trusts, unless a destination says otherwise."""
    return TrustStore(str(settings.egress.ca_bundle) if settings.egress.ca_bundle else None)


def make_guard(settings: Settings) -> NetGuard:
    """Return the guard as configured, which knows this host's own addresses."""
    return NetGuard(settings.egress.allowed_networks, settings.egress.own_addresses, is_own_address)


def _connections_max(settings: Settings) -> int:
    """Return how many connections there may be: what is set, as far as this process may open so many files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = max(files - FILES_BESIDE, files // 2)
    return min(settings.egress.destination_connections_max, room)
