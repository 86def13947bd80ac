"""The sender of a process."""

from aegis_stream import PRODUCT, __version__
from aegis_stream.netguard import NetGuard
from aegis_stream.sender import AsyncSender, SenderLimits, TrustStore
from aegis_stream.settings import Settings

USER_AGENT = f"{PRODUCT}/{__version__}"


def make_sender(settings: Settings) -> AsyncSender:
    """Return the one sender of a process: everything that leaves goes through it, and past the guard."""
    return AsyncSender(
        user_agent=USER_AGENT,
        guard=NetGuard(settings.egress.allowed_networks),
        trust=TrustStore(str(settings.egress.ca_bundle) if settings.egress.ca_bundle else None),
        limits=SenderLimits(
            connections_max=settings.delivery.window_max + 8,
            idle_max=settings.delivery.window_max,
            address_connections_max=settings.egress.address_connections_max,
            address_requests_per_s=settings.egress.address_requests_per_second,
        ),
    )
