"""What the connections of a process may be, in numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SenderLimits:
    """Limits of each channel, and of all channels together.

    Args:
        connections_max: most connections of a channel, including idle ones; further requests wait. The caller limits its
            own concurrency to less, so this is a second line of defence.
        idle_max: most idle connections of a channel.
        idle_s: seconds until an idle connection is closed; less than the 30 to 60 s after which common servers and load
            balancers close theirs, so that both sides rarely close at the same time.
        address_connections_max: most connections of all channels to one IP address, see `address_limiter`.
        all_connections_max: most connections of all channels together, see `shares`.
        address_requests_per_s: most requests of all channels that start at one IP address in a second; 0 for no limit.
    """

    connections_max: int = 256
    idle_max: int = 128
    idle_s: float = 25.0
    address_connections_max: int = 2048
    all_connections_max: int = 2048
    address_requests_per_s: float = 0.0
