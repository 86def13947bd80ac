"""May we connect there? The rules, as a table and the few lines that read it.

Called with a destination's host when it is written, and with every address a name resolves to before each connection: the
answer for one moment says nothing about the next. It must not resolve, connect, or know who asks. What a refusal says is
shown to the tenant, so it names the rule and never the address: the guard must not tell strangers what internal names
resolve to.
"""

from collections.abc import Iterable
from dataclasses import dataclass
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
"""Names under which clouds serve credentials to their machines; refused with everything below them, never allowable."""

INTERNAL_SUFFIXES: Final = (".localhost", ".local", ".internal")
"""Endings of names that mean something on one machine or in one network only. Source: RFC 6761, RFC 6762, ICANN 2024-07-29."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One range that is forbidden.

    Args:
        name: what lives there, as a refusal calls it.
        network: the range.
        allowable: an operator may list it in AEGIS_ALLOWED_NETWORKS.
    """

    name: str
    network: Network
    allowable: bool

    def refusal(self) -> str:
        """Return the clause that names this rule and the way out, fit to follow the words for what was judged."""
        way_out = _ALLOW_ADDRESS if self.allowable else _NO_WAY
        return f"points to {self.name} ({self.network}), which is forbidden; {way_out}"


# Our own table, because ipaddress.is_global changes between Python releases and calls 64:ff9b::a9fe:a9fe global. In a table the
# first rule that matches decides: metadata comes first, and what is not to be allowed before what may be.
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
    # What follows leads to an IPv4 address by way of some translator or tunnel. None of it can be allowed, so that an
    # IPv4 address cannot be had in IPv6 spelling on easier terms than in its own.
    Rule("NAT64 of one site, reaching any IPv4 address", IPv6Network("64:ff9b:1::/48"), False),
    Rule("6to4, reaching any IPv4 address", IPv6Network("2002::/16"), False),
    Rule("Teredo, reaching any IPv4 address", IPv6Network("2001::/32"), False),
    Rule("loopback", IPv6Network("::1/128"), True),  # here, since the next rule holds it too
    Rule("unspecified, IPv4-compatible and IPv4-translated", IPv6Network("::/8"), False),
    Rule("discarded traffic", IPv6Network("100::/64"), False),
    Rule("private network", IPv6Network("fc00::/7"), True),
    Rule("old site-local", IPv6Network("fec0::/10"), True),
    Rule("protocol assignments", IPv6Network("2001::/23"), True),
    Rule("documentation", IPv6Network("2001:db8::/32"), True),
    Rule("documentation", IPv6Network("3fff::/20"), True),
    Rule("segment routing", IPv6Network("5f00::/16"), True),
    # The rest of IPv6 outside 2000::/3, the only part that is given out to the public.
    Rule("not public", IPv6Network("::/3"), True),
    Rule("not public", IPv6Network("4000::/2"), True),
    Rule("not public", IPv6Network("8000::/1"), True),
)

_ALLOW_ADDRESS: Final = "an operator can allow it with AEGIS_ALLOWED_NETWORKS"
_ALLOW_NAME: Final = "an operator can allow its network with AEGIS_ALLOWED_NETWORKS"
_NO_WAY: Final = "this cannot be allowed"

_IPV4_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class NetGuard:
    """The rules, and the exceptions an operator made from them.

    Args:
        allowed_networks: what may be reached although it is not public. Each entry allows addresses of its own family; IPv4
            inside NAT64 or IPv4-mapped IPv6 goes by the IPv4 entries. No entry opens a rule that is not allowable.
    """

    allowed_networks: tuple[Network, ...] = ()

    def check(self, address: str) -> str | None:
        """Judge one IP address, as typed or as resolved.

        Args:
            address: without brackets, port or zone.
        Returns: None if we may connect; else one clause about it, such as "points to loopback (127.0.0.0/8), which is
            forbidden; …": it names the rule and says how an operator can allow it, or that nobody can. Total: what
            cannot be read is forbidden.
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
        """Judge everything a name resolves to: one forbidden address among good ones refuses them all.

        Args:
            addresses: every answer, IPv4 and IPv6.
        Returns: None if there is at least one address and each may be connected to; else the first refusal.
        """
        verdicts = [self.check(address) for address in addresses]
        if not verdicts:
            return "has no address"
        return next((verdict for verdict in verdicts if verdict is not None), None)

    def check_host(self, endpoint: Endpoint) -> str | None:
        """Judge the host of a checked URL before anything is resolved.

        Args:
            endpoint: as parse_url made it.
        Returns: for an address what check says; for a name None if it may be resolved, else one clause as above. None does
            not mean that its addresses may be connected to.
        """
        if endpoint.is_address:
            return self.check(endpoint.host)
        # An Endpoint's host has no such dot and no capitals. A slip there must not become a hole here.
        name = endpoint.host.lower().rstrip(".")
        if any(name == metadata or name.endswith(f".{metadata}") for metadata in METADATA_NAMES):
            return f"is the name of a cloud metadata service, which is forbidden; {_NO_WAY}"
        if self.allowed_networks:
            return None  # there are internal destinations here; their addresses decide
        if "." not in name:
            return f"is a host name without a dot, which is forbidden; write the full name, or {_ALLOW_NAME}"
        if name.endswith(INTERNAL_SUFFIXES):
            suffix = name[name.rindex(".") :]
            return f"is a local name ({suffix}), which is forbidden; {_ALLOW_NAME}"
        return None

    def _judge_ipv6(self, address: IPv6Address) -> str | None:
        embedded = IPv4Address(int(address) & 0xFFFF_FFFF)
        if address in _NAT64:
            # Decoded, not refused: in an IPv6-only network with DNS64 every IPv4 destination looks like this.
            return self._judge(embedded, IPV4_RULES)
        if address in _IPV4_MAPPED:
            return self._judge(embedded, IPV4_RULES) or self._judge_spelling(embedded)
        refusal = self._judge(address, IPV6_RULES)
        if refusal is None and _is_isatap(address):
            return self._judge(embedded, IPV4_RULES)
        return refusal

    def _judge_spelling(self, mapped: IPv4Address) -> str | None:
        # A public address in this spelling comes from no resolver of ours, only from someone who tries doors.
        if self._is_allowed(mapped):
            return None
        return f"points to an IPv4-mapped address ({_IPV4_MAPPED}), which is forbidden; write the IPv4 address itself"

    def _judge(self, address: Address, rules: tuple[Rule, ...]) -> str | None:
        rule = next((rule for rule in rules if address in rule.network), None)
        if rule is None or (rule.allowable and self._is_allowed(address)):
            return None
        return rule.refusal()

    def _is_allowed(self, address: Address) -> bool:
        return any(address in network for network in self.allowed_networks)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read the setting AEGIS_ALLOWED_NETWORKS.

    Args:
        text: networks in CIDR notation or single addresses, separated by commas; blanks around them do not matter.
    Returns: the networks in the order written; none for blank text.
    Raises:
        Invalid: an item is not a network; the message repeats the item.
    """
    if not text.strip():
        return ()
    return tuple(_parse_network(item.strip()) for item in text.split(","))


def _parse_network(item: str) -> Network:
    address, slash, prefix = item.partition("/")
    # ip_network would also take netmasks and zones, with which a slip of the pen allows more than was meant.
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
