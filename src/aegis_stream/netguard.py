"""Which addresses may we connect to? The rules as a table, and the code that applies it.

Called with a destination's host when the destination is saved, and with every address of a name before each connection,
since a name may resolve differently each time. It must not resolve, connect, or know the caller; what it must ask of this
machine is passed in. Tenants see why an address
is forbidden, so the text names the rule and never the address: tenants must not learn what internal names resolve to.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aegis_stream.domain.endpoint import Endpoint
from aegis_stream.errors import FieldProblem, Invalid

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA_NAMES: Final = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.packet.net",
        "metadata.platformequinix.com",
        "metadata.tencentyun.com",
        "rancher-metadata",
    }
)
"""Names of the metadata services of clouds; they and all names below them are forbidden and cannot be allowed."""

INTERNAL_SUFFIXES: Final = (".localhost", ".local", ".internal")
"""Endings of names that are valid on one machine or in one network only. Source: RFC 6761, RFC 6762, ICANN 2024-07-29."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One forbidden range.

    Args:
        name: the use of the range, for messages.
        network: the range.
        allowable: an operator may list it in AEGIS_ALLOWED_NETWORKS.
    """

    name: str
    network: Network
    allowable: bool
    first: int = field(init=False, repr=False)
    mask: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # As numbers, because a name may have many addresses: `address in network` takes ten times as long.
        object.__setattr__(self, "first", int(self.network.network_address))
        object.__setattr__(self, "mask", int(self.network.netmask))

    def reason(self) -> str:
        """Return a clause that names this rule and how to allow it; it reads on from the host or address."""
        way_out = _ALLOW_ADDRESS if self.allowable else _NO_WAY
        return f"points to {self.name} ({self.network}), which is forbidden; {way_out}"


# We have our own table because ipaddress.is_global changes between Python releases and calls 64:ff9b::a9fe:a9fe global. The
# first matching rule decides: metadata comes first, and rules that cannot be allowed come before those that can.
# Source: the IANA special-purpose address registries for IPv4 and IPv6; the metadata addresses from the clouds' own manuals.

IPV4_RULES: Final = (
    Rule("cloud metadata of Azure", IPv4Network("168.63.129.16/32"), False),
    Rule("cloud metadata of Alibaba", IPv4Network("100.100.100.200/32"), False),
    Rule("cloud metadata of Oracle", IPv4Network("192.0.0.192/32"), False),
    Rule("link-local and cloud metadata", IPv4Network("169.254.0.0/16"), False),
    Rule("this host", IPv4Network("0.0.0.0/8"), False),
    Rule("multicast", IPv4Network("224.0.0.0/4"), False),
    Rule("broadcast", IPv4Network("255.255.255.255/32"), False),
    Rule("loopback", IPv4Network("127.0.0.0/8"), True),
    Rule("private network", IPv4Network("10.0.0.0/8"), True),
    Rule("private network", IPv4Network("172.16.0.0/12"), True),
    Rule("private network", IPv4Network("192.168.0.0/16"), True),
    Rule("shared address space of providers", IPv4Network("100.64.0.0/10"), True),
    Rule("protocol assignments", IPv4Network("192.0.0.0/24"), True),
    Rule("documentation", IPv4Network("192.0.2.0/24"), True),
    Rule("6to4 relays", IPv4Network("192.88.99.0/24"), True),
    Rule("benchmarks", IPv4Network("198.18.0.0/15"), True),
    Rule("documentation", IPv4Network("198.51.100.0/24"), True),
    Rule("documentation", IPv4Network("203.0.113.0/24"), True),
    Rule("reserved", IPv4Network("240.0.0.0/4"), True),
)

IPV6_RULES: Final = (
    Rule("cloud metadata of AWS", IPv6Network("fd00:ec2::/32"), False),
    Rule("cloud metadata of Google", IPv6Network("fd20:ce::254/128"), False),
    Rule("cloud metadata of Oracle", IPv6Network("fd00:c1::a9fe:a9fe/128"), False),
    Rule("cloud metadata of Alibaba", IPv6Network("fd00:100::100:200/128"), False),
    Rule("cloud metadata of Linode", IPv6Network("fd00:a9fe:a9fe::1/128"), False),
    Rule("cloud metadata of Scaleway", IPv6Network("fd00:42::42/128"), False),
    Rule("link-local and cloud metadata", IPv6Network("fe80::/10"), False),
    Rule("multicast", IPv6Network("ff00::/8"), False),
    # The next ranges reach an IPv4 address through a translator or tunnel. They cannot be allowed: otherwise IPv6 would be
    # a way around the rules of the IPv4 address.
    Rule("NAT64 of one site, reaching any IPv4 address", IPv6Network("64:ff9b:1::/48"), False),
    Rule("6to4, reaching any IPv4 address", IPv6Network("2002::/16"), False),
    Rule("Teredo, reaching any IPv4 address", IPv6Network("2001::/32"), False),
    Rule("loopback", IPv6Network("::1/128"), True),  # before the next rule, which contains it
    Rule("unspecified, IPv4-compatible and IPv4-translated", IPv6Network("::/8"), False),
    Rule("discarded traffic", IPv6Network("100::/64"), False),
    Rule("private network", IPv6Network("fc00::/7"), True),
    Rule("old site-local", IPv6Network("fec0::/10"), True),
    Rule("protocol assignments", IPv6Network("2001::/23"), True),
    Rule("documentation", IPv6Network("2001:db8::/32"), True),
    Rule("documentation", IPv6Network("3fff::/20"), True),
    Rule("segment routing", IPv6Network("5f00::/16"), True),
    # All of IPv6 outside 2000::/3, the only part that is assigned to the public.
    Rule("not public", IPv6Network("::/3"), True),
    Rule("not public", IPv6Network("4000::/2"), True),
    Rule("not public", IPv6Network("8000::/1"), True),
)

_ALLOW_ADDRESS: Final = "an operator can allow it with AEGIS_ALLOWED_NETWORKS"
_ALLOW_NAME: Final = "an operator can allow its network with AEGIS_ALLOWED_NETWORKS"
_NO_WAY: Final = "this cannot be allowed"

_IPV4_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")


def _is_never_own(address: Address) -> bool:  # noqa: ARG001 - the pure core cannot know
    return False


@dataclass(frozen=True, slots=True)
class NetGuard:
    """The rules, and the operator's exceptions.

    Args:
        allowed_networks: networks that are allowed although they are not public. An entry covers addresses of its own
            family; IPv4 inside NAT64 or IPv4-mapped IPv6 is covered by IPv4 entries. No entry overrides a rule that is
            not allowable.
        own_networks: addresses at which this host is reached although no interface has them, such as behind NAT.
        is_own: tells whether an address is one of this host's own; asked about public addresses only, since what listens
            here may be open to this host alone.
    """

    allowed_networks: tuple[Network, ...] = ()
    own_networks: tuple[Network, ...] = ()
    is_own: Callable[[Address], bool] = field(default=_is_never_own, compare=False, repr=False)

    def check(self, address: str) -> str | None:
        """Check one IP address, typed or resolved.

        Args:
            address: without brackets, port or zone.
        Returns: None if we may connect; else a clause such as "points to loopback (127.0.0.0/8), which is
            forbidden; …", which names the rule and how an operator can allow it, or that it cannot be allowed. Total: an
            unreadable address is forbidden.
        """
        try:
            parsed = ip_address(address)
        except ValueError:
            return f"points to something that is not an IP address; {_NO_WAY}"
        if isinstance(parsed, IPv4Address):
            return self._judge(parsed, IPV4_RULES)
        if parsed.scope_id is not None:
            return f"points to an IPv6 address with a zone, which is forbidden; {_NO_WAY}"
        return self._judge_ipv6(parsed)

    def check_all(self, addresses: Iterable[str]) -> str | None:
        """Check all addresses of a name: one forbidden address makes the name forbidden.

        Args:
            addresses: all answers, IPv4 and IPv6.
        Returns: None if there is at least one address and all are allowed; else the clause about the first forbidden one.
        """
        verdicts = [self.check(address) for address in addresses]
        if not verdicts:
            return "has no address"
        return next((verdict for verdict in verdicts if verdict is not None), None)

    def check_host(self, endpoint: Endpoint) -> str | None:
        """Check the host of a parsed URL before it is resolved.

        Args:
            endpoint: from parse_url.
        Returns: for an address the result of `check`; for a name None if it may be resolved, else a clause as above. None
            does not mean that its addresses are allowed.
        """
        if endpoint.is_address:
            return self.check(endpoint.host)
        # parse_url has already removed dot and capitals; the check does not rely on it.
        name = endpoint.host.lower().rstrip(".")
        if any(name == metadata or name.endswith(f".{metadata}") for metadata in METADATA_NAMES):
            return f"is the name of a cloud metadata service, which is forbidden; {_NO_WAY}"
        if self.allowed_networks:
            return None  # internal destinations are allowed; their addresses decide
        if "." not in name:
            return f"is a host name without a dot, which is forbidden; write the full name, or {_ALLOW_NAME}"
        if name.endswith(INTERNAL_SUFFIXES):
            suffix = name[name.rindex(".") :]
            return f"is a local name ({suffix}), which is forbidden; {_ALLOW_NAME}"
        return None

    def _judge_ipv6(self, address: IPv6Address) -> str | None:
        embedded = IPv4Address(int(address) & 0xFFFF_FFFF)
        if address in _NAT64:
            # Decoded, not forbidden: in an IPv6-only network with DNS64 every IPv4 destination has such an address.
            return self._judge(embedded, IPV4_RULES)
        if address in _IPV4_MAPPED:
            return self._judge(embedded, IPV4_RULES) or self._judge_spelling(embedded)
        reason = self._judge(address, IPV6_RULES)
        if reason is None and _is_isatap(address):
            return self._judge(embedded, IPV4_RULES)
        return reason

    def _judge_spelling(self, mapped: IPv4Address) -> str | None:
        # A resolver never returns a public address in this form, so somebody tries to get around the guard.
        if self._is_allowed(mapped):
            return None
        return f"points to an IPv4-mapped address ({_IPV4_MAPPED}), which is forbidden; write the IPv4 address itself"

    def _judge(self, address: Address, rules: tuple[Rule, ...]) -> str | None:
        number = int(address)
        rule = next((rule for rule in rules if number & rule.mask == rule.first), None)
        if rule is not None:
            return None if rule.allowable and self._is_allowed(address) else rule.reason()
        if self._is_allowed(address):
            return None
        if any(address in network for network in self.own_networks) or self.is_own(address):
            return f"points to this host itself, which is forbidden; {_ALLOW_ADDRESS}"
        return None

    def _is_allowed(self, address: Address) -> bool:
        return any(address in network for network in self.allowed_networks)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read the setting AEGIS_ALLOWED_NETWORKS.

    Args:
        text: networks in CIDR notation or single addresses, separated by commas; blanks around them are ignored.
    Returns: the networks in their order; none for blank text.
    Raises:
        Invalid: an item is not a network; the message repeats the item.
    """
    if not text.strip():
        return ()
    return tuple(_parse_network(item.strip()) for item in text.split(","))


def _parse_network(item: str) -> Network:
    address, slash, prefix = item.partition("/")
    # ip_network also accepts netmasks and zones, where a typing error could allow more than intended.
    if "%" in address or (slash and not (prefix.isascii() and prefix.isdigit())):
        raise _not_a_network(item)
    try:
        network = ip_network(item, strict=False)
    except ValueError:
        raise _not_a_network(item) from None
    if slash and network.network_address != ip_address(address):
        raise _invalid_setting(f"{item!r} has bits set beyond its prefix; write {network}")
    return network


def _not_a_network(item: str) -> Invalid:
    return _invalid_setting(f"{item!r} is not a network; write it as in 10.0.0.0/8 or fd12:3456::/32")


def _invalid_setting(message: str) -> Invalid:
    return Invalid(
        f"AEGIS_ALLOWED_NETWORKS: {message}", problems=(FieldProblem("AEGIS_ALLOWED_NETWORKS", message),)
    )


def _is_isatap(address: IPv6Address) -> bool:
    """Whether the lower half is 0000:5efe or 0200:5efe and an IPv4 address, under whatever prefix.

    Source: RFC 5214 section 6.1; the universal and group bits are left out of the comparison.
    """
    return (int(address) >> 32) & 0xFCFF_FFFF == 0x0000_5EFE
