"""Promises of `parse_url`: what it accepts, what it rejects, and what it never repeats. Rows are those of the attack table."""

import ipaddress
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.endpoint import Endpoint
from aegis_stream.domain.url import FORBIDDEN_PORTS, HOST_CHARS_MAX, URL_CHARS_MAX, parse_url
from aegis_stream.errors import Invalid

FULL_WIDTH_ONE_TWO_SEVEN = "\uff11\uff12\uff17"
CIRCLED_ONE_TWO_SEVEN = "\u2460\u2461\u2466"
CANARY = "s3cr3t-c4n4ry"


def rejection(text: str, *, allow_http: bool = False) -> str:
    """Return the message of a rejected URL; fail if it is accepted."""
    with pytest.raises(Invalid) as caught:
        parse_url(text, allow_http=allow_http)
    (problem,) = caught.value.problems
    assert problem.field == "url"
    assert problem.message == caught.value.message
    assert caught.value.code in {"url-unreadable", "url-scheme", "url-credentials", "url-port", "url-host"}
    return problem.message


def host_of(text: str) -> str:
    """Return the host of a URL."""
    return parse_url(text, allow_http=False).host


@pytest.mark.parametrize(
    "text, scheme, host, port, target, is_address",
    [
        ("https://siem.example.com/in?k=v&x=%2F", "https", "siem.example.com", 443, "/in?k=v&x=%2F", False),
        ("https://siem.example.com", "https", "siem.example.com", 443, "/", False),
        ("https://siem.example.com?x=1", "https", "siem.example.com", 443, "/?x=1", False),
        ("https://siem.example.com?a?b", "https", "siem.example.com", 443, "/?a?b", False),
        ("https://siem.example.com/a?b?c/d", "https", "siem.example.com", 443, "/a?b?c/d", False),
        ("HTTPS://SIEM.Example.COM/Path", "https", "siem.example.com", 443, "/Path", False),
        (
            "https://siem.example.com:8088/services/collector",
            "https",
            "siem.example.com",
            8088,
            "/services/collector",
            False,
        ),
        ("http://siem.example.com/", "http", "siem.example.com", 80, "/", False),
        ("https://192.0.2.10:9200/_bulk", "https", "192.0.2.10", 9200, "/_bulk", True),
        ("https://[2001:DB8:0::0001]:9243/", "https", "2001:db8::1", 9243, "/", True),
        ("https://[::1]/", "https", "::1", 443, "/", True),
        ("https://under_score.a-b.example/", "https", "under_score.a-b.example", 443, "/", False),
        ("https://collector/", "https", "collector", 443, "/", False),
        (
            "https://h.example/a@b:c/../%0d%0A/%zz//",
            "https",
            "h.example",
            443,
            "/a@b:c/../%0d%0A/%zz//",
            False,
        ),
        ("https://h.example/{\"'<>|^`}", "https", "h.example", 443, "/{\"'<>|^`}", False),
    ],
)
def test_takes_a_url_apart(text, scheme, host, port, target, is_address):
    """A valid URL is split: host in lower case, default port filled in, path and query exactly as typed."""
    endpoint = parse_url(text, allow_http=True)

    assert endpoint == Endpoint(scheme=scheme, host=host, port=port, target=target, is_address=is_address)


def test_a_url_within_the_query_is_part_of_it():
    """Only the first scheme of a text is the URL's."""
    endpoint = parse_url("https://h.example/in?next=http://other.example:1/", allow_http=False)

    assert (endpoint.host, endpoint.target) == ("h.example", "/in?next=http://other.example:1/")


def test_row_1_http_needs_the_operator():
    """Plain http is rejected with the setting that allows it, and accepted if the operator has set it."""
    assert "AEGIS_ALLOW_HTTP=true" in rejection("http://siem.example.com/")

    assert parse_url("http://siem.example.com:8080/", allow_http=True).port == 8080


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "gopher://h.example/_x",
        "ftp://h.example/",
        "ws://h.example/",
        "wss://h.example/",
        "data:text/plain,x",
        "jar:https://h.example/!/x",
        "javascript://h.example/",
        "ht\ttps://h.example/",
        "\thttps://h.example/",
        "https:h.example/",
        "https:/h.example/",
        "//h.example/",
        "h.example",
        "h.example:443/https://",
        "://h.example/",
        "https",
        "\uff48ttps://h.example/",
        "http\u017f://h.example/",
    ],
)
@pytest.mark.parametrize("allow_http", [False, True])
def test_row_2_only_https(text, allow_http):
    """Any other scheme in any spelling is rejected, also if http is allowed."""
    rejection(text, allow_http=allow_http)


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "missing"),
        ("https://", "no host"),
        ("https:///in", "no host"),
        ("https://:443/", "no host"),
        ("https://?x", "no host"),
        ("https://h.example/#top", "fragment"),
        ("https://h.example/#", "fragment"),
        ("https://h.example#@evil.example/", "fragment"),
        ("https://h.example/" + "a" * URL_CHARS_MAX, "the limit is 2048"),
    ],
)
def test_row_3_incomplete_long_or_with_fragment(text, says):
    """A URL without host, with a fragment or over 2048 characters is rejected with the reason."""
    assert says in rejection(text)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", "url-unreadable", "the URL is missing: write one"),
        ("https://h.example/" + "a" * URL_CHARS_MAX, "url-unreadable", "the URL has 2066 characters"),
        ("https://h.example\\in", "url-unreadable", "the URL contains a backslash"),
        ("https://h.example/a b", "url-unreadable", "the URL contains a space"),
        ("https://h.example/#a", "url-unreadable", "the URL has a fragment"),
        ("https://h.example/\u00e4", "url-unreadable", "path and query must be ASCII"),
        ("ftp://h.example", "url-scheme", "the URL must begin with https://"),
        ("http://h.example", "url-scheme", "the URL must begin with https://: an operator can"),
        ("https://a:b@h.example", "url-credentials", "the URL contains a user name or password"),
        ("https://h.example:0/", "url-port", "the port must be a number from 1 to 65535"),
        ("https://h.example:65536/", "url-port", "the port must be a number from 1 to 65535"),
        ("https://h.example:25/", "url-port", "port 25 belongs to another protocol (SMTP)"),
        ("https://[::1/", "url-host", "the brackets around the IPv6 address are incomplete"),
        ("https://::1/", "url-host", "the host is followed by more than one colon"),
        ("https:///in", "url-host", "the URL has no host"),
        ("https://h.example./", "url-host", "the host ends in a dot"),
        (f"https://{'a.' * 126}aa/", "url-host", "the host name has 254 characters; the limit is 253"),
        ("https://[::1%eth0]/", "url-host", "the IPv6 address has a zone"),
        ("https://[x]/", "url-host", "the text in brackets is not an IPv6 address"),
        ("https://127.1/", "url-host", "an IPv4 address must be four decimal numbers"),
        ("https://h..example/", "url-host", "the host name has an empty part"),
        (f"https://{'a' * 64}.example/", "url-host", "a part of the host name has 64 characters"),
        ("https://h!.example/", "url-host", "the host may contain only letters"),
        ("https://stra\u00dfe.example/", "url-host", "the host contains characters that programs"),
        ("https://xn--a.example/", "url-host", "a part of the host begins with xn--"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_rejection_says_what_is_wrong(text, code, says):
    """Each rule has its message, and the code of its kind."""
    with pytest.raises(Invalid) as caught:
        parse_url(text, allow_http=False)

    assert (caught.value.code, caught.value.message[: len(says)]) == (code, says)


def test_row_3_longest_url_is_taken():
    """A URL of exactly 2048 characters is accepted."""
    head = "https://h.example/"

    assert (
        len(parse_url(head + "a" * (URL_CHARS_MAX - len(head)), allow_http=False).target)
        == URL_CHARS_MAX - len(head) + 1
    )


@pytest.mark.parametrize(
    "text",
    [
        "https://a:b@h.example/",
        "https://a@h.example/",
        "https://@h.example/",
        "https://good.example@169.254.169.254/",
        "https://good.example:443@169.254.169.254/",
        "https://a@b@h.example/",
        "https://a:b@[::1]/",
    ],
)
def test_row_4_userinfo(text):
    """Credentials before the host are rejected, and the message says where to set them."""
    assert "auth_header_name and auth_header_value" in rejection(text)


@pytest.mark.parametrize(
    "where",
    ["https://{}h.example/", "https://h{}.example/", "https://h.example/a{}b", "https://h.example/{}"],
)
@pytest.mark.parametrize(
    "char",
    ["\\", "\t", "\r", "\n", "\0", " ", "\x7f", "\x85", "\xa0", "\xad", "\u200b", "\u200c", "\u200d", "\u2028", "\u202e", "\u2060", "\u3000", "\ufeff", "\ud800"],
    ids=lambda char: f"U+{ord(char):04X}",
)  # fmt: skip
def test_row_5_unreadable_characters(where, char):
    """Backslashes, control characters, blanks and invisible characters are rejected anywhere in the URL."""
    rejection(where.format(char))


@pytest.mark.parametrize(
    "text",
    [r"https://evil.com\.good.com/", r"https:\\h.example/", r"https://good.example\@evil.example/", " https://h.example/", "https://h.example/\n"],
)  # fmt: skip
def test_row_5_no_trimming_and_no_repair(text):
    """A backslash is not read as a slash, and blanks around the URL are not trimmed."""
    rejection(text)


@pytest.mark.parametrize(
    "char", ["\u00e4", "\u2044", "\u4e2d", "\U0001f512"], ids=lambda char: f"U+{ord(char):04X}"
)
def test_path_and_query_are_ascii(char):
    """Path and query with other characters than visible ASCII are rejected with the fix."""
    for text in (f"https://h.example/{char}", f"https://h.example/?{char}"):
        assert "percent-encode" in rejection(text)


@pytest.mark.parametrize(
    "port",
    [
        "0",
        "65536",
        "99999",
        "100000",
        "00443",
        "0443",
        "-1",
        "+443",
        "4e2",
        "0x1bb",
        "",
        "443:443",
        "\uff14\uff14\uff13",
        "a",
    ],
)
def test_row_6_port_is_a_number(port):
    """A port that is not a plain number from 1 to 65535 is rejected."""
    rejection(f"https://h.example:{port}/")


@pytest.mark.parametrize(
    "port", [22, 25, 53, 110, 143, 445, 3306, 5432, 6379, 11211, *sorted(FORBIDDEN_PORTS)]
)
def test_row_6_ports_of_other_protocols(port):
    """The port of another protocol is rejected with the protocol's name, for host names and addresses."""
    assert f"port {port} belongs to another protocol ({FORBIDDEN_PORTS[port]})" in rejection(
        f"https://h.example:{port}/"
    )
    rejection(f"https://[2001:db8::1]:{port}/")
    rejection(f"http://192.0.2.1:{port}/", allow_http=True)


@pytest.mark.parametrize(
    "port", [1024, 80, 443, 1514, 3000, 3100, 4318, 5044, 5140, 5601, 6514, 8000, 8080, 8088, 8443, 9000, 9200, 9243, 9428, 9880, 10080, 12201, 12202, 13000, 65535]
)  # fmt: skip
def test_row_6_ports_of_collectors(port):
    """Ports of SIEMs and collectors are accepted, including 10080."""
    assert parse_url(f"https://h.example:{port}/", allow_http=False).port == port


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "0",
        "1.2.3",
        "1.2.3.4.5",
        "2130706433",
        "4294967297",
        "0x7f000001",
        "0X7F000001",
        "0x",
        "0177.0.0.1",
        "127.0.0.01",
        "00.0.0.0",
        "0x7f.1",
        "0x7f.0.0.1",
        "127.0.0.0x1",
        "256.0.0.1",
        "1.2.3.999",
        "h.example.1",
        "h.0x1f",
    ],
)
def test_rows_7_and_8_ipv4_has_one_spelling(host):
    """Anything that a resolver might interpret as an IPv4 address is rejected unless it is a plain dotted quad."""
    assert "four decimal numbers" in rejection(f"https://{host}/")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "127.255.255.254", "169.254.169.254"])
def test_row_7_dotted_quads_are_left_to_the_guard(host):
    """A dotted quad is recognised as an address, so that the guard checks it as one."""
    endpoint = parse_url(f"https://{host}/", allow_http=False)

    assert (endpoint.host, endpoint.is_address) == (host, True)


@pytest.mark.parametrize(
    "host",
    [
        FULL_WIDTH_ONE_TWO_SEVEN + ".0.0.1",
        CIRCLED_ONE_TWO_SEVEN + ".0.0.1",
        "127\u30020\u30020\u30021",
        "127\uff0e0\uff0e0\uff0e1",
        "127\uff610\uff610\uff611",
        "8.8.8.\u2488",
        "8.8.8.\u00b2",
        "\uff18.8.8.8",
        "\uff10\uff58\uff17f.1",
        "\u0661\u0662\u0667.0.0.1",
    ],
    ids=ascii,
)
def test_row_9_addresses_in_disguise(host):
    """Digits and dots from other parts of Unicode are not accepted as an address, public or not."""
    rejection(f"https://{host}/")


@pytest.mark.parametrize(
    "typed, host",
    [
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("B\u00dcCHER.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("\u4f8b\u3048.\u30c6\u30b9\u30c8", "xn--r8jz45g.xn--zckzah"),
        ("\u4f8b\u3048\u3002\u30c6\u30b9\u30c8", "xn--r8jz45g.xn--zckzah"),
        ("\u0430pple.example", "xn--pple-43d.example"),
        ("b\u00fc-cher.example", "xn--b-cher-3ya.example"),
        ("siem.0xg1", "siem.0xg1"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("xn--strae-oqa.example", "xn--strae-oqa.example"),
        ("xn--ls8h.example", "xn--ls8h.example"),
        ("xn--hgbk6aj7f53bba.example", "xn--hgbk6aj7f53bba.example"),
        ("xn--" + "\u0646\u200c\u0627".encode("punycode").decode() + ".example",) * 2,
        ("\uff4cocalhost", "localhost"),
        ("\u24dbocalho\u017ft", "localhost"),
        ("metadata.goo\u24d6le.internal", "metadata.google.internal"),
        ("\u212a.example", "k.example"),
    ],
    ids=ascii,
)
def test_row_9_names_are_folded_then_encoded(typed, host):
    """An international name becomes punycode, which shows homographs; a disguised ASCII name becomes plain ASCII."""
    assert host_of(f"https://{typed}/") == host


@pytest.mark.parametrize(
    "host",
    [
        "good.com\u2044evil.com",
        "good.com\uff0fevil.com",
        "good.com\uff20evil.com",
        "good.com\uff1a80",
        "good.com\uff03.evil.com",
        "\u2100.example",
        "evil.c\u2105.good.com",
        "stra\u00dfe.example",
        "\u03bf\u03b4\u03cc\u03c2.example",
        "\u13a0.example",
        "a\u034fb.example",
        "a\u3164b.example",
        "a\ufe0fb.example",
        "a\U000e0100b.example",
        "a\U000e01efb.example",
        "\u2603.example",
        "\u05d0a.example",
        "xn--\u00fc.example",
        "xn--.example",
        "xn--a.example",
        "xn--localhost-.example",
        "xn---" + "\u00fc".encode("punycode").decode() + ".example",
        "xn--99999999.example",
        "xn--" + "\uff11\uff12\uff17".encode("punycode").decode() + ".example",
        "xn--" + "B\u00dcCHER".encode("punycode").decode() + ".example",
        "\u00fc" * 64 + ".example",
    ],
    ids=ascii,
)
def test_row_9_doubtful_international_names(host):
    """A name that folds into a delimiter, that programs read differently, or that is not valid punycode is rejected."""
    rejection(f"https://{host}/")


@pytest.mark.parametrize(
    "host",
    ["localhost.", "h.example.", "h.example..", "h..example", ".h.example", ".", "..", "127.0.0.1.", "h.example\u3002", "a\u2026b"],
    ids=ascii,
)  # fmt: skip
def test_row_10_empty_labels_and_trailing_dots(host):
    """A trailing dot or an empty label is rejected, so that every name has one spelling."""
    rejection(f"https://{host}/")


def test_row_10_trailing_dot_is_named():
    """The message about a trailing dot names the dot."""
    assert "remove the dot" in rejection("https://h.example./")


@pytest.mark.parametrize("char", list("%!$&'()*+,;=~<>\"^`{|}]"))
def test_host_alphabet(char):
    """A host has letters, digits, hyphens, underscores and dots; percent-encoding in it is rejected, not decoded."""
    rejection(f"https://h{char}31.example/")


def test_host_length():
    """Labels end at 63 characters, names at 253."""
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])

    assert len(longest) == HOST_CHARS_MAX
    assert host_of(f"https://{longest}/") == longest
    assert "253" in rejection(f"https://{longest}d/")
    assert "63" in rejection(f"https://{'a' * 64}.example/")


@pytest.mark.parametrize(
    "authority",
    [
        "[127.0.0.1]",
        "[v1.x]",
        "[]",
        "[",
        "]",
        "[::1",
        "::1]",
        "[[::1]]",
        "[::1]]",
        "[::1]x",
        "[::1].example",
        "x[::1]",
        "[::1%eth0]",
        "[fe80::1%25eth0]",
        "[::1%]",
        "[:::1]",
        "[1:2:3:4:5:6:7:8:9]",
        "[::ffff:0177.0.0.1]",
        "[::ffff:127.1]",
        "[h.example]",
        "[\uff11::1]",
        "[::1]:",
        "[::1]:x",
        "[::1]:443:443",
        "::1",
        "2001:db8::1",
        "h.example:443:443",
    ],
    ids=ascii,
)
def test_row_20_brackets(authority):
    """Brackets must be closed and contain exactly an IPv6 address without a zone."""
    rejection(f"https://{authority}/")


@pytest.mark.parametrize(
    "text",
    [
        f"http://h.example/{CANARY}",
        f"{CANARY}://h.example/",
        f"https://u:{CANARY}@h.example/",
        f"https://h.example:{CANARY}/",
        f"https://h.example/{CANARY}#x",
        f"https://h.example/{CANARY} x",
        f"https://h.example/{CANARY}\u00e4",
        f"https://h.example:25/{CANARY}",
        f"https://127.1/?token={CANARY}",
        f"https://[{CANARY}]/",
        f"https://h..example/{CANARY}",
        "https://h.example/" + CANARY * 200,
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_messages_repeat_no_secret(text):
    """A rejection, its exception and its cause repeat no part of the URL that can contain a secret."""
    with pytest.raises(Invalid) as caught:
        parse_url(text, allow_http=False)

    error = caught.value
    assert CANARY not in f"{error!r} {error.message} {error.problems!r}"


ANYTHING = st.text(st.characters(exclude_categories=()))
NEARLY_URLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["https://", "http://", "HTTPS://", "https:/", "ftp://", ""]),
    st.one_of(
        ANYTHING,
        st.from_regex(r"[a-z0-9.\-_\[\]:%@\u00fc\uff11\u3002]{1,20}", fullmatch=True),
        st.ip_addresses().map(str),
    ),
    st.sampled_from(["", ":443", ":8088", ":0", ":"]),
    st.one_of(st.just(""), st.from_regex(r"[/?][!-~]*", fullmatch=True), ANYTHING),
)


@settings(deadline=None)
@given(st.one_of(ANYTHING, NEARLY_URLS), st.booleans())
def test_any_text_is_taken_whole_or_refused(text, allow_http):
    """Any text gives Invalid or an Endpoint that fits a request line; the Endpoint's URL parses to the same Endpoint."""
    try:
        endpoint = parse_url(text, allow_http=allow_http)
    except Invalid:
        return

    assert endpoint.scheme in ({"https", "http"} if allow_http else {"https"})
    assert 1 <= endpoint.port <= 65535
    assert endpoint.port not in FORBIDDEN_PORTS
    assert endpoint.target.startswith("/")
    assert all("!" <= char <= "~" and char not in "\\#" for char in endpoint.target + endpoint.host_header)
    assert text.endswith((endpoint.target, endpoint.target.removeprefix("/")))
    assert endpoint.is_address == is_ip(endpoint.host)
    assert endpoint.host == endpoint.host.lower()
    assert not endpoint.host.endswith(".")
    assert (
        parse_url(f"{endpoint.scheme}://{endpoint.host_header}{endpoint.target}", allow_http=allow_http)
        == endpoint
    )


@settings(deadline=None)
@given(st.ip_addresses())
def test_every_address_is_recognised(address):
    """Every IP address in its usual spelling is accepted and recognised."""
    host = f"[{address}]" if address.version == 6 else str(address)

    endpoint = parse_url(f"https://{host}/", allow_http=False)

    assert endpoint.is_address
    assert ipaddress.ip_address(endpoint.host) == address


@settings(deadline=None)
@given(st.text(st.characters(categories=["Ll", "Lo", "Lu"], max_codepoint=0xFFFF), min_size=1, max_size=12))
def test_agrees_with_idna_2008(label):
    """An accepted international name has the encoding of a current IDNA library, if that encodes it."""
    idna = pytest.importorskip("idna")
    try:
        ours = host_of(f"https://{label}.example/")
        theirs = idna.encode(f"{label}.example", uts46=True).decode("ascii")
    except (Invalid, idna.IDNAError):
        return

    assert ours == theirs


@settings(deadline=None)
@given(st.text(st.characters(), min_size=1, max_size=8))
def test_no_host_hides_a_delimiter(label):
    """No character folds into a delimiter that would end the host for another parser."""
    try:
        host = host_of(f"https://a{label}b.example/")
    except Invalid:
        return

    assert not set("/?#@:\\%[]").intersection(host)
    assert unicodedata.is_normalized("NFKC", host)


def is_ip(host: str) -> bool:
    """Whether the standard library takes the host for an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
