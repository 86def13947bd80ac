"""From the URL that a user typed to an Endpoint, or to a message that says what to change.

Called when a destination is saved; the sender gets the Endpoint. The parser is our own and strict, because any difference
between two parsers is a way around the guard. It does not know which addresses and names are forbidden: `netguard` does. A
URL can contain a secret, so a message repeats at most its host.
"""

import unicodedata
from encodings import idna
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NoReturn

from aegis_stream.errors import FieldProblem, Invalid

from .endpoint import Endpoint

URL_CHARS_MAX: Final = 2048
"""Longest URL, characters: the common limit of browsers and proxies."""

HOST_CHARS_MAX: Final = 253
"""Longest host name, characters. Source: RFC 1035 section 2.3.4, less the root label and the first length octet."""

LABEL_CHARS_MAX: Final = 63
"""Longest part of a host name, characters. Source: RFC 1035 section 2.3.4."""

FORBIDDEN_PORTS: Final[dict[int, str]] = {
    1: "tcpmux", 7: "echo", 9: "discard", 11: "systat", 13: "daytime", 15: "netstat", 17: "qotd", 19: "chargen",
    20: "FTP data", 21: "FTP", 22: "SSH", 23: "Telnet", 25: "SMTP", 37: "time", 42: "name", 43: "whois", 53: "DNS",
    69: "TFTP", 77: "RJE", 79: "finger", 87: "ttylink", 95: "supdup", 101: "hostname", 102: "ISO-TSAP", 103: "X.400",
    104: "X.400", 109: "POP2", 110: "POP3", 111: "SunRPC", 113: "ident", 115: "SFTP", 117: "UUCP", 119: "NNTP",
    123: "NTP", 135: "MS-RPC", 137: "NetBIOS", 138: "NetBIOS", 139: "NetBIOS", 143: "IMAP", 161: "SNMP", 162: "SNMP",
    179: "BGP", 389: "LDAP", 427: "SLP", 445: "SMB", 465: "SMTP", 512: "rexec", 513: "rlogin", 514: "syslog or rsh",
    515: "LPD", 526: "tempo", 530: "courier", 531: "chat", 532: "netnews", 540: "UUCP", 548: "AFP", 554: "RTSP",
    556: "remotefs", 563: "NNTP", 587: "SMTP", 601: "syslog", 636: "LDAP", 873: "rsync", 989: "FTP data", 990: "FTP",
    993: "IMAP", 995: "POP3", 1433: "SQL Server", 1434: "SQL Server", 1521: "Oracle", 1719: "H.323", 1720: "H.323",
    1723: "PPTP", 1883: "MQTT", 2049: "NFS", 2181: "ZooKeeper", 3306: "MySQL", 3389: "RDP", 3659: "Apple SASL",
    4045: "NFS lock", 4190: "ManageSieve", 4369: "epmd", 5060: "SIP", 5061: "SIP", 5432: "PostgreSQL", 5671: "AMQP",
    5672: "AMQP", 5900: "VNC", 6000: "X11", 6379: "Redis", 6566: "SANE", 6665: "IRC", 6666: "IRC", 6667: "IRC",
    6668: "IRC", 6669: "IRC", 6679: "IRC", 6697: "IRC", 8883: "MQTT", 9042: "Cassandra", 9092: "Kafka",
    11211: "memcached", 27017: "MongoDB", 27018: "MongoDB", 27019: "MongoDB", 61613: "STOMP", 61616: "OpenWire",
}  # fmt: skip  # a table of ninety pairs, one a line, hides what is missing
"""Ports of other protocols, which might interpret our bytes as their commands.

Source: the port blocking list of the Fetch standard (fetch.spec.whatwg.org, "bad port"), without 10080, where log collectors
listen, and with the ports of databases and message brokers. A deny list, because SIEMs use any port.
"""

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_DIGITS: Final = frozenset("0123456789")
_HEX_DIGITS: Final = _DIGITS | frozenset("abcdef")
_LABEL_CHARS: Final = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyz-_")
_IDEOGRAPHIC_FULL_STOP: Final = "\u3002"  # a dot for IDNA (RFC 3490 section 3.1), but not for NFKC
# Letters and marks by category, but invisible on the screen.
_BLANK_LETTERS: Final = frozenset("\u115f\u1160\u17b4\u17b5\u180f")

# Invisible, but part of the spelling in Persian and Indic names. Source: RFC 5892 appendix A.1 and A.2.
_JOINERS: Final = dict.fromkeys((0x200C, 0x200D))


def parse_url(text: str, *, allow_http: bool) -> Endpoint:
    """Check the URL of a destination and split it.

    Args:
        text: as typed, not trimmed.
        allow_http: the operator allows plain http.
    Returns: an Endpoint whose host is a lower-case ASCII name or a canonical IP address. Whether the host is allowed has
        not been checked: see `NetGuard.check_host`.
    Raises:
        Invalid: the URL breaks a rule. The code names the kind of rule; the problem is for the field "url" and repeats at
            most the host of the URL.
    Source: RFC 3986, read narrowly; rows 1-10 and 20 of the attack table.
    """
    _reject_ambiguous_characters(text)
    scheme, rest = _split_scheme(text, allow_http=allow_http)
    authority, target = _split_target(rest)
    host_text, port_text = _split_port(authority)
    host, is_address = _read_host(host_text)
    port = _DEFAULT_PORTS[scheme] if port_text is None else _read_port(port_text)
    return Endpoint(scheme=scheme, host=host, port=port, target=target, is_address=is_address)


def _reject(message: str, *, code: str) -> NoReturn:
    raise Invalid(message, code=code, problems=(FieldProblem("url", message),))


def _reject_ambiguous_characters(text: str) -> None:
    """Reject characters about which parsers disagree, before anything is split."""
    if not text:
        _reject(
            "the URL is missing: write one such as https://siem.example.com/ingest", code="url-unreadable"
        )
    if len(text) > URL_CHARS_MAX:
        _reject(
            f"the URL has {len(text)} characters; the limit is {URL_CHARS_MAX}: shorten it",
            code="url-unreadable",
        )
    for char in text:
        if char == "\\":
            _reject("the URL contains a backslash: write / or %5C", code="url-unreadable")
        # Every category C* and Z* at once: control, format (zero-width, bidi), surrogate, unassigned, and all blanks.
        if unicodedata.category(char)[0] in "CZ":
            _reject(
                "the URL contains a space, line break or invisible character: remove it or percent-encode it",
                code="url-unreadable",
            )
        if char == "#":
            _reject(
                "the URL has a fragment (#...), which is never sent: remove it, or write %23 for a literal #",
                code="url-unreadable",
            )


def _split_scheme(text: str, *, allow_http: bool) -> tuple[str, str]:
    head, separator, rest = text.partition("://")
    scheme = head.lower() if head.isascii() else ""
    if not separator or scheme not in _DEFAULT_PORTS:
        _reject("the URL must begin with https://", code="url-scheme")
    if scheme == "http" and not allow_http:
        _reject(
            "the URL must begin with https://: an operator can allow http with AEGIS_ALLOW_HTTP=true",
            code="url-scheme",
        )
    return scheme, rest


def _split_target(rest: str) -> tuple[str, str]:
    """Split what follows "://" into the authority and the request target."""
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    authority, target = rest[:end], rest[end:]
    if "@" in authority:
        _reject(
            "the URL contains a user name or password, which is not supported: use auth_header_name and auth_header_value",
            code="url-credentials",
        )
    if not target.isascii():
        _reject("path and query must be ASCII: percent-encode the other characters", code="url-unreadable")
    return authority, target if target.startswith("/") else f"/{target}"


def _split_port(authority: str) -> tuple[str, str | None]:
    """Split the authority into host, brackets kept, and the text of the port, None where there is no colon."""
    if authority.startswith("["):
        inside, bracket, after = authority.partition("]")
        if not bracket or (after and not after.startswith(":")):
            _reject(
                "the brackets around the IPv6 address are incomplete: write it as in https://[2001:db8::1]:8088/",
                code="url-host",
            )
        return inside + bracket, after[1:] if after else None
    host, colon, port_text = authority.partition(":")
    if ":" in port_text:
        _reject(
            "the host is followed by more than one colon: put an IPv6 address in brackets",
            code="url-host",
        )
    return host, port_text if colon else None


def _read_port(text: str) -> int:
    if not text or len(text) > 5 or not _DIGITS.issuperset(text) or text.startswith("0"):
        _reject("the port must be a number from 1 to 65535", code="url-port")
    port = int(text)
    if port > 65535:
        _reject("the port must be a number from 1 to 65535", code="url-port")
    if port in FORBIDDEN_PORTS:
        _reject(
            f"port {port} belongs to another protocol ({FORBIDDEN_PORTS[port]}): use the port where HTTPS is served",
            code="url-port",
        )
    return port


def _read_host(text: str) -> tuple[str, bool]:
    """Bring the host into its canonical form.

    Returns: (host, whether it is an IP address).
    """
    if not text:
        _reject("the URL has no host: write one such as https://siem.example.com/ingest", code="url-host")
    if text.startswith("["):
        return _read_ipv6(text[1:-1]), True
    host = _fold(text)
    if host.endswith("."):
        _reject("the host ends in a dot: remove the dot", code="url-host")
    labels = [_encode_label(label) for label in host.split(".")]
    if _is_numeric(labels[-1]):
        return _read_ipv4(text), True
    name = ".".join(labels)
    if len(name) > HOST_CHARS_MAX:
        _reject(
            f"the host name has {len(name)} characters; the limit is {HOST_CHARS_MAX}: shorten it",
            code="url-host",
        )
    return name, False


def _read_ipv6(text: str) -> str:
    if "%" in text:
        _reject(
            "the IPv6 address has a zone, which is valid on one machine only: remove the zone",
            code="url-host",
        )
    try:
        return str(IPv6Address(text))
    except ValueError:
        _reject(
            "the text in brackets is not an IPv6 address: correct it, or remove the brackets", code="url-host"
        )


def _read_ipv4(text: str) -> str:
    # Uses the text as typed, not its normal form: full-width or circled digits in an address are an attempt to deceive.
    # IPv4Address accepts only four decimal numbers without leading zeros, in every Python version that we support.
    try:
        return str(IPv4Address(text))
    except ValueError:
        _reject(
            "an IPv4 address must be four decimal numbers from 0 to 255 without leading zeros, as in 192.0.2.10",
            code="url-host",
        )


def _is_numeric(label: str) -> bool:
    """Tell whether resolvers could interpret a host that ends in this label as an IPv4 address.

    Source: "ends in a number" of the URL standard (url.spec.whatwg.org): 127.1, 0x7f.1, 2130706433, 0177.0.0.1.
    """
    return _DIGITS.issuperset(label) or (label.startswith("0x") and _HEX_DIGITS.issuperset(label[2:]))


def _fold(text: str) -> str:
    """Return the lower-case text without compatibility forms, as a resolver would see it.

    Character by character, because str.lower() turns a capital sigma at the end of a word into a final sigma.
    """
    composed = unicodedata.normalize("NFKC", text).replace(_IDEOGRAPHIC_FULL_STOP, ".")
    return "".join(char.lower() for char in composed)


def _encode_label(label: str) -> str:
    """Encode one folded label in ASCII, or reject it."""
    ascii_label = label if label.isascii() else _to_punycode(label)
    if not ascii_label:
        _reject(
            "the host name has an empty part (two dots in a row, or a dot at the beginning): remove the extra dot",
            code="url-host",
        )
    if len(ascii_label) > LABEL_CHARS_MAX:
        _reject(
            f"a part of the host name has {len(ascii_label)} characters; the limit is {LABEL_CHARS_MAX}: shorten it",
            code="url-host",
        )
    if not _LABEL_CHARS.issuperset(ascii_label):
        _reject("the host may contain only letters, digits, hyphens, underscores and dots", code="url-host")
    if ascii_label.startswith("xn--"):
        _check_punycode(ascii_label)
    return ascii_label


def _to_punycode(label: str) -> str:
    """Encode an international label if IDNA 2003 and IDNA 2008 agree about it; otherwise reject it.

    They disagree about sharp s, final sigma and Cherokee, for example, so programs would connect to different hosts. The
    xn-- form is always accepted and means one host.
    """
    try:
        settled = label.casefold() == label and idna.nameprep(label) == label
        if settled and all(_is_visible_letter(char) for char in label):
            return idna.ToASCII(label).decode("ascii")
    except UnicodeError:
        pass  # too long, forbidden, or mixed writing directions: the message below applies
    _reject(
        "the host contains characters that programs read differently: write it in its xn-- form",
        code="url-host",
    )


def _is_visible_letter(char: str) -> bool:
    if char in _BLANK_LETTERS or "\U000e0100" <= char <= "\U000e01ef":  # the latter are variation selectors
        return False
    return char == "-" or unicodedata.category(char)[0] in "LMN"


def _check_punycode(label: str) -> None:
    """Reject an xn-- label that does not encode an international label in normal form.

    Such a label hides another name: a resolver that decodes xn--localhost- finds an ASCII name.
    """
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
        genuine = (
            not decoded.isascii()
            and decoded.translate(_JOINERS).isprintable()
            and _fold(decoded) == decoded
            and decoded.encode("punycode").decode("ascii") == label[4:]
        )
    except UnicodeError:
        genuine = False
    if not genuine:
        _reject("a part of the host begins with xn-- but is not valid punycode: correct it", code="url-host")
