"""Where a client is: the address of its connection, or what a trusted proxy says."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
FORWARDED_MAX = 2048
"""Longest X-Forwarded-For that is read, bytes."""


def client_of(address: str, forwarded: bytes | None, trusted: Sequence[Network]) -> str:
    """Return the client's address.

    X-Forwarded-For is read from its end, where the nearest proxy writes, for as long as the proxies are trusted; what is no
    address ends it, so that nobody can write something else into logs and audit events.

    Args:
        address: of the connection.
        forwarded: value of X-Forwarded-For.
        trusted: networks whose proxies are believed.
    """
    if not forwarded or not trusted or not _is_in(address, trusted):
        return address
    found = address
    for one in reversed(forwarded[-FORWARDED_MAX:].decode("latin-1").split(",")):
        try:
            parsed = ip_address(one.strip())
        except ValueError:
            break
        found = str(parsed)
        if not _is_in(found, trusted):
            break
    return found


def network_of(address: str) -> str:
    """Return what counts as one client: of IPv6 the /64, which is the least that anybody is given."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed) if parsed is not None else address[:100]


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in one for one in networks if one.version == parsed.version)
