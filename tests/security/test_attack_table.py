"""Rows 1–20 of the attack table: URLs that cannot be saved as a destination, and that are not connected to if one was saved anyway.

Each attack is named "row N: input". It is tried in two places, which know nothing of each other: where a destination is
written, through the API, and where a connection is made, as if the URL had come into the store past the API, or under
other settings.

The other rows: 21–24 and 28–29 in test_rebinding.py and test_pinned_connections.py, 25–37 in test_hostile_receivers.py, 38–45 in
test_hostile_input.py (44 in tests/integration/test_api_connections.py), 46 in tests/integration/test_api_rights.py, 47 in
test_vault.py there, 48 and 49 in test_api_destinations.py, 50 in test_api_testing.py, 51 in test_limiters.py, 52 in
tests/e2e/test_canary.py, 53 and 54 in tests/unit/control/test_access.py and test_api_keys.py, 55 in tests/unit/test_telemetry.py and
tests/integration/test_cli.py, 56 in tests/unit/receiver, 57 in tests/unit/domain/test_envelope.py,
60 in tests/unit/formats/test_flat.py, 64 in tests/integration/test_names.py (look-ups, answers),
tests/security/test_address_limits.py and tests/unit/sender/test_shares.py (connections),
67 in tests/security/test_own_addresses.py, 71 in tests/integration/test_api_destinations.py, 68 in tests/integration/test_vault.py and tests/unit/domain/test_patch.py,
74 in tests/integration/test_sender_tls.py.
"""

import json
import socket
from dataclasses import dataclass

import pytest
import pytest_asyncio

from aegis_stream.control.checks import NOWHERE
from aegis_stream.domain.attempt import Failure, FailureScope, Fault, FaultKind
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.domain.url import URL_CHARS_MAX, parse_url
from aegis_stream.errors import Invalid
from aegis_stream.formats import resolve
from aegis_stream.netguard import NetGuard, parse_networks
from aegis_stream.pipeline.pacing import Pacing
from aegis_stream.pipeline.route import route_of
from aegis_stream.sender import AsyncSender
from aegis_stream.settings import Settings
from security import wiretap
from security.receivers import REQUEST, Names, posting, receiving
from support.api import open_world, problem_of

PATH = "/forwarding-destinations"
ALLOWABLE = "AEGIS_ALLOWED_NETWORKS"
NEVER = "this cannot be allowed"


@dataclass(frozen=True)
class Attack:
    """One input.

    Args:
        row: of the attack table.
        url: what is written as the destination's URL.
        says: what the refusal must say.
        way_out: how the operator can allow it, or that nobody can; "" where the URL itself must be written otherwise.
    """

    row: int
    url: str
    says: str
    way_out: str = ""

    def __str__(self) -> str:
        return f"row {self.row}: {ascii(self.url[:60])[1:-1]}"


CODES = {
    "url-scheme": ("AEGIS_ALLOW_HTTP", "must begin with https://"),
    "url-unreadable": ("space, line break or invisible", "missing", "the limit is 2048", "fragment", "backslash"),
    "url-credentials": ("use auth_header_name and auth_header_value",),
    "url-port": ("from 1 to 65535", "belongs to another protocol"),
    "url-host": (
        *("no host", "four decimal numbers", "xn-- form", "not valid punycode", "letters, digits", "zone"),
        *("remove the dot", "not an IPv6 address", "brackets", "more than one colon"),
    ),
}  # fmt: skip
"""Error code → what the refusals with this code say; all others are the guard's."""


def code_of(attack: Attack) -> str:
    """Return the error code with which an attack is rejected."""
    return next((code for code, words in CODES.items() if attack.says in words), "forbidden-address")


def unreadable(row: int, says: str, *urls: str) -> list[Attack]:
    """URLs that the parser rejects."""
    return [Attack(row, url, says) for url in urls]


# What the parser refuses, before anything is resolved: rows 1–6, 8–10 and 20.
UNREADABLE = [
    *unreadable(1, "AEGIS_ALLOW_HTTP", "http://siem.example.com/", "HTTP://siem.example.com/"),
    *unreadable(
        2,
        "must begin with https://",
        *("file:///etc/passwd", "FILE:///etc/passwd", "gopher://h.example/_x", "ftp://h.example/"),
        *("ws://h.example/", "wss://h.example/", "data:text/plain,x", "jar:https://h.example/!/x"),
        *("javascript:alert(1)", "dict://h.example/", "ldap://h.example/", "//h.example/", "https:h.example"),
    ),
    *unreadable(2, "space, line break or invisible", "ht\ttps://h.example/", "https\n://h.example/"),
    *unreadable(3, "no host", "https://", "https:///in", "https://:443/", "https://?x"),
    *unreadable(3, "missing", ""),
    *unreadable(3, "the limit is 2048", "https://h.example/" + "a" * URL_CHARS_MAX),
    *unreadable(3, "fragment", "https://h.example/#x", "https://h.example#@evil.example/"),
    *unreadable(
        4,
        "use auth_header_name and auth_header_value",
        *("https://a:b@h.example/", "https://good.com@169.254.169.254/", "https://@h.example/"),
        *("https://good.com:443@127.0.0.1/", "https://a:b@[::1]/"),
    ),
    *unreadable(5, "backslash", r"https://evil.com\.good.com/", r"https:\\h.example/", "https://h.example/\\x"),
    *unreadable(
        5,
        "space, line break or invisible",
        *("https://h.example/\t", "https://h.example/\r\nHost: x", "https://h.example/\0", "https://h .example/"),
        *("https://h\u200b.example/", "https://h\u2060.example/", "https://\u202eh.example/", " https://h.example/"),
        *("https://h.example/\n", "https://h\xad.example/", "\ufeffhttps://h.example/"),
    ),
    *unreadable(6, "from 1 to 65535", *(f"https://h.example:{port}/" for port in ("0", "65536", "-1", "0443"))),
    *unreadable(
        6,
        "belongs to another protocol",
        *(f"https://h.example:{port}/" for port in (22, 25, 53, 110, 143, 445, 3306, 5432, 6379, 11211)),
    ),
    *unreadable(7, "four decimal numbers", "https://127.1/", "https://0/", "https://127.0.1/"),
    *unreadable(
        8,
        "four decimal numbers",
        *("https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://0x7f.1/"),
        *("https://127.0.0.01/", "https://017700000001/", "https://0X7F.0.0.1/", "https://4294967297/"),
        *("https://127.0.0.1.1/", "https://256.0.0.1/", "https://h.0x7f/"),
    ),
    *unreadable(
        9,
        "four decimal numbers",
        *("https://\uff11\uff12\uff17.0.0.1/", "https://\u2460\u2461\u2466.0.0.1/", "https://127\u30020\u30020\u30021/"),
        *("https://127\uff0e0\uff0e0\uff0e1/", "https://\u0661\u0662\u0667.0.0.1/", "https://0\uff58\uff17f.1/"),
    ),
    *unreadable(9, "xn-- form", "https://stra\u00dfe.example/", "https://a\u3164b.example/"),
    *unreadable(9, "not valid punycode", "https://xn--localhost-.example/", "https://xn--.example/"),
    *unreadable(9, "letters, digits", "https://good.com\uff0fevil.com/", "https://good.com\uff20evil.com/"),
    *unreadable(10, "remove the dot", "https://localhost./", "https://127.0.0.1./", "https://h.example./"),
    *unreadable(
        19, "zone", "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[2606:4700::1111%25lo]/"
    ),
    *unreadable(
        20,
        "not an IPv6 address",
        *("https://[127.0.0.1]/", "https://[v1.x]/", "https://[]/", "https://[::ffff:127.1]/", "https://[h.example]/"),
    ),
    *unreadable(20, "brackets", "https://[::1/", "https://[[::1]]/", "https://[::1]x/", "https://[::1].example/"),
    *unreadable(20, "letters, digits", "https://h.example]/"),
    *unreadable(20, "more than one colon", "https://::1]/", "https://x[::1]/", "https://::1/"),
]  # fmt: skip

# Names that the guard refuses before they are resolved, and what they would resolve to.
NAMES = [
    (Attack(10, "https://localhost/", "without a dot", ALLOWABLE), "127.0.0.1"),
    (Attack(10, "https://a.b.localhost/", "local name (.localhost)", ALLOWABLE), "127.0.0.1"),
    (Attack(10, "https://printer.local/", "local name (.local)", ALLOWABLE), "192.168.1.7"),
    (Attack(10, "https://vault.internal/", "local name (.internal)", ALLOWABLE), "10.0.0.7"),
    (Attack(10, "https://collector/", "without a dot", ALLOWABLE), "10.0.0.7"),
    (Attack(9, "https://\uff4cocalhost/", "without a dot", ALLOWABLE), "127.0.0.1"),
    (Attack(9, "https://\u24dbocalho\u017ft/", "without a dot", ALLOWABLE), "127.0.0.1"),
    (Attack(13, "https://metadata.google.internal/", "metadata service", NEVER), "169.254.169.254"),
    (Attack(13, "https://METADATA.google.internal/", "metadata service", NEVER), "169.254.169.254"),
    (Attack(13, "https://x.metadata.google.internal/", "metadata service", NEVER), "169.254.169.254"),
    (Attack(9, "https://metadata.goo\u24d6le.internal/", "metadata service", NEVER), "169.254.169.254"),
    (Attack(13, "https://metadata.goog/", "metadata service", NEVER), "169.254.169.254"),
    (Attack(13, "https://instance-data.ec2.internal/", "metadata service", NEVER), "169.254.169.254"),
]


def addresses(row: int, rule: str, way_out: str, *spelled: str) -> list[Attack]:
    """Addresses that a rule of the guard forbids, as hosts of URLs."""
    hosts = (f"[{one}]" if ":" in one else one for one in spelled)
    return [Attack(row, f"https://{host}/in", rule, way_out) for host in hosts]


# Addresses that are well written and lead where nobody may go. A refusal names the rule that stands in the table.
ADDRESSES = [
    *addresses(7, "loopback (127.0.0.0/8)", ALLOWABLE, "127.0.0.1", "127.0.0.2", "127.255.255.254"),
    *addresses(7, "this host (0.0.0.0/8)", NEVER, "0.0.0.0", "0.1.2.3"),
    *addresses(11, "private network (10.0.0.0/8)", ALLOWABLE, "10.0.0.0", "10.1.2.3", "10.255.255.255"),
    *addresses(11, "private network (172.16.0.0/12)", ALLOWABLE, "172.16.0.1", "172.31.255.255"),
    *addresses(11, "private network (192.168.0.0/16)", ALLOWABLE, "192.168.0.1", "192.168.255.255"),
    *addresses(12, "(100.64.0.0/10)", ALLOWABLE, "100.64.0.0", "100.127.255.255"),
    *addresses(13, "link-local and cloud metadata (169.254.0.0/16)", NEVER, "169.254.169.254", "169.254.170.2", "169.254.0.1"),
    *addresses(13, "cloud metadata of Azure (168.63.129.16/32)", NEVER, "168.63.129.16"),
    *addresses(13, "cloud metadata of Alibaba (100.100.100.200/32)", NEVER, "100.100.100.200"),
    *addresses(13, "cloud metadata of Oracle (192.0.0.192/32)", NEVER, "192.0.0.192"),
    *addresses(13, "cloud metadata of AWS (fd00:ec2::/32)", NEVER, "fd00:ec2::254", "fd00:ec2::23"),
    *addresses(13, "cloud metadata of Google (fd20:ce::254/128)", NEVER, "fd20:ce::254"),
    *addresses(14, "protocol assignments (192.0.0.0/24)", ALLOWABLE, "192.0.0.8"),
    *addresses(14, "6to4 relays (192.88.99.0/24)", ALLOWABLE, "192.88.99.1"),
    *addresses(14, "benchmarks (198.18.0.0/15)", ALLOWABLE, "198.18.0.1", "198.19.255.255"),
    *addresses(14, "documentation (192.0.2.0/24)", ALLOWABLE, "192.0.2.1"),
    *addresses(14, "documentation (198.51.100.0/24)", ALLOWABLE, "198.51.100.1"),
    *addresses(14, "documentation (203.0.113.0/24)", ALLOWABLE, "203.0.113.1"),
    *addresses(14, "multicast (224.0.0.0/4)", NEVER, "224.0.0.1", "239.255.255.255"),
    *addresses(14, "reserved (240.0.0.0/4)", ALLOWABLE, "240.0.0.1", "255.255.255.254"),
    *addresses(14, "broadcast (255.255.255.255/32)", NEVER, "255.255.255.255"),
    *addresses(15, "loopback (::1/128)", ALLOWABLE, "::1", "0:0:0:0:0:0:0:1"),
    *addresses(15, "(::/8)", NEVER, "::", "::2", "ff::1"),
    *addresses(16, "loopback (127.0.0.0/8)", ALLOWABLE, "::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:ffff:7f00:1"),
    *addresses(16, "link-local and cloud metadata (169.254.0.0/16)", NEVER, "::ffff:a9fe:a9fe", "::ffff:169.254.169.254"),
    *addresses(16, "cloud metadata of Azure (168.63.129.16/32)", NEVER, "::ffff:168.63.129.16"),
    *addresses(16, "IPv4-mapped address (::ffff:0:0/96)", "write the IPv4 address itself", "::ffff:8.8.8.8"),
    *addresses(16, "(::/8)", NEVER, "::ffff:0:7f00:1", "::5efe:7f00:1", "::7f00:1", "::127.0.0.1", "::a9fe:a9fe"),
    *addresses(16, "loopback (127.0.0.0/8)", ALLOWABLE, "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:127.0.0.1"),
    *addresses(16, "link-local and cloud metadata (169.254.0.0/16)", NEVER, "2606:4700::5efe:a9fe:a9fe"),
    *addresses(17, "link-local and cloud metadata (169.254.0.0/16)", NEVER, "64:ff9b::a9fe:a9fe", "64:ff9b::169.254.169.254"),
    *addresses(17, "loopback (127.0.0.0/8)", ALLOWABLE, "64:ff9b::7f00:1"),
    *addresses(17, "private network (10.0.0.0/8)", ALLOWABLE, "64:ff9b::a00:1"),
    *addresses(17, "(::/8)", NEVER, "64:ff9b::1:0:0", "64:ff9b:0:1::808:808"),
    *addresses(18, "(64:ff9b:1::/48)", NEVER, "64:ff9b:1::a9fe:a9fe", "64:ff9b:1::808:808", "64:ff9b:1:a9fe:a9:fe00::"),
    *addresses(18, "6to4, reaching any IPv4 address (2002::/16)", NEVER, "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1"),
    *addresses(18, "Teredo, reaching any IPv4 address (2001::/32)", NEVER, "2001:0:a9fe:a9fe::1", "2001:0:808:808::5601:5601"),
    *addresses(18, "documentation (2001:db8::/32)", ALLOWABLE, "2001:db8::1"),
    *addresses(18, "documentation (3fff::/20)", ALLOWABLE, "3fff::1"),
    *addresses(18, "segment routing (5f00::/16)", ALLOWABLE, "5f00::1"),
    *addresses(18, "discarded traffic (100::/64)", NEVER, "100::1"),
    *addresses(19, "private network (fc00::/7)", ALLOWABLE, "fc00::1", "fdff:ffff::1"),
    *addresses(19, "link-local and cloud metadata (fe80::/10)", NEVER, "fe80::1", "fe80::a9fe:a9fe", "febf::1"),
    *addresses(19, "old site-local (fec0::/10)", ALLOWABLE, "fec0::1"),
    *addresses(19, "multicast (ff00::/8)", NEVER, "ff02::1", "ff0e::1"),
]  # fmt: skip

# What only a resolver can say: no URL can be written with it.
ANSWERS = [
    *(Attack(8, one, "not an IP address", NEVER) for one in ("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "0")),
    *(Attack(9, one, "not an IP address", NEVER) for one in ("\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021")),
    *(Attack(10, one, "not an IP address", NEVER) for one in ("localhost", "127.0.0.1.", "")),
    Attack(19, "fe80::1%eth0", "zone", NEVER),
    Attack(19, "2606:4700::1111%1", "zone", NEVER),
    *(Attack(20, one, "not an IP address", NEVER) for one in ("[::1]", "[127.0.0.1]", "v1.x", "::1]")),
]  # fmt: skip

BY_GUARD = [*(one for one, _ in NAMES), *ADDRESSES]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory):
    """The application, a tenant and its destination, shared by all tests: a rejected URL leaves no state but the count of such names."""
    async with open_world(tmp_path_factory.mktemp("world"), tests_per_minute=1000) as world:
        tenant = await world.make_organization()
        yield world, tenant, await world.make_destination(tenant)


def body_of(attack: Attack) -> dict:
    """Return a request that writes this URL."""
    text = json.dumps({"url": attack.url})
    return {"content": text.encode(), "headers": {"content-type": "application/json"}}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("attack", [*UNREADABLE, *BY_GUARD], ids=str)
async def test_refused_when_it_is_saved(place, attack):
    """As the URL of a new or changed destination it is 422 with its code for the field url, the rule and the fix; nothing is stored."""
    _, tenant, destination_id = place
    admin = tenant.admin
    before = (await admin.get(PATH)).json()

    made = await admin.post(PATH, **body_of(attack))
    changed = await admin.patch(f"{PATH}/{destination_id}", **body_of(attack))

    for answer in (made, changed):
        problem = problem_of(answer, 422, "url")
        assert problem["type"].rpartition("/")[2] == code_of(attack)
        message = problem["errors"][0]["message"]
        assert attack.says in message
        assert attack.way_out in message
    assert (await admin.get(PATH)).json() == before


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("attack", ADDRESSES, ids=str)
async def test_refused_when_a_name_leads_there_as_it_is_saved(place, attack):
    """Row 71: behind an ordinary name the address is forbidden, and the answer reveals neither the address nor its network."""
    world, tenant, _ = place
    address = parse_url(attack.url, allow_http=False).host
    world.resolver.addresses["siem.example.net"] = [address]

    answer = await tenant.admin.post(PATH, json={"url": "https://siem.example.net/in"})

    assert problem_of(answer, 422, "url")["errors"][0]["message"] == NOWHERE
    assert address not in answer.text


@pytest.mark.parametrize("attack", UNREADABLE, ids=str)
def test_refused_again_before_it_is_sent(attack):
    """A URL that got into the store anyway has no route, so no connection can be made."""
    with pytest.raises(Invalid) as caught:
        route_of(DestinationSpec(url=attack.url), Settings())

    (problem,) = caught.value.problems
    assert problem.field == "url"
    assert attack.says in problem.message


@pytest.mark.parametrize("attack", ADDRESSES, ids=str)
@pytest.mark.parametrize("named", [False, True], ids=["as host", "behind a name"])
async def test_refused_again_when_it_is_connected_to(attack, named):
    """As the host or behind a name, nothing is sent: the attempt ends as forbidden by that rule and needs a person."""
    endpoint = parse_url(attack.url, allow_http=False)
    names = Names([endpoint.host])
    if named:
        endpoint = parse_url("https://siem.example.net/in", allow_http=False)

    await assert_forbidden(endpoint, names, attack)

    assert names.asked == (["siem.example.net"] if named else [])


@pytest.mark.parametrize(
    "attack, address", NAMES, ids=lambda value: str(value) if isinstance(value, Attack) else ""
)
async def test_refused_again_when_a_local_name_is_connected_to(attack, address):
    """An internal name is forbidden by what it resolves to."""
    await assert_forbidden(parse_url(attack.url, allow_http=False), Names([address]), None)


@pytest.mark.parametrize("attack", ANSWERS, ids=str)
async def test_refused_when_a_resolver_says_so(attack):
    """An answer of the resolver that is not a plain address is neither connected to nor resolved again."""
    endpoint = parse_url("https://siem.example.net/in", allow_http=False)

    await assert_forbidden(endpoint, Names([attack.url]), None)

    assert attack.says in (NetGuard().check(attack.url) or "")


async def assert_forbidden(endpoint: Endpoint, names: Names, attack: Attack | None) -> None:
    """Post, and check that nothing was sent and that the failure needs a person."""
    sender = AsyncSender(user_agent="Aegis/1", guard=NetGuard(), resolver=names)
    channel = sender.open(Route(endpoint, (), None, 10.0))
    with wiretap.listening() as tap:
        answer = await channel.post(REQUEST)
    channel.close()
    sender.close()

    assert isinstance(answer, Fault)
    assert answer.kind is FaultKind.FORBIDDEN
    assert (tap.connects, tap.look_ups) == ([], [])
    verdict = resolve("json", "https://siem.example.net/in").interpret(answer, 1)
    assert isinstance(verdict, Failure)
    assert (verdict.scope, verdict.fix_needed, verdict.overload) == (FailureScope.DESTINATION, True, False)
    if attack is not None:
        assert attack.says in verdict.message
        assert attack.way_out in verdict.message


def test_a_forbidden_address_is_no_network_error():
    """A forbidden address is an outage at once, which needs a person; a single refused connection is not."""
    judge = resolve("json", "https://siem.example.net/in").interpret
    forbidden, refused = Pacing(64), Pacing(64)

    forbidden.failed(judge(Fault(FaultKind.FORBIDDEN, "x", 0), 1), 1, 0.0)
    refused.failed(judge(Fault(FaultKind.CONNECT, "x", 0), 1), 1, 0.0)

    assert (forbidden.in_outage, refused.in_outage) == (True, False)


@pytest.mark.parametrize("attack", [one for one in ADDRESSES if one.way_out == NEVER], ids=str)
@pytest.mark.parametrize("networks", ["10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7", "0.0.0.0/0,::/0"])
def test_row_13_never_stays_never(attack, networks):
    """Rules that cannot be allowed stay, even if private networks or all networks are listed."""
    host = parse_url(attack.url, allow_http=False).host

    assert NEVER in (NetGuard(parse_networks(networks)).check(host) or "")


@pytest.mark.parametrize("attack", [one for one in ADDRESSES if one.way_out == ALLOWABLE], ids=str)
def test_the_way_out_is_one(attack):
    """If the text says that an operator can allow the address, listing all networks allows it."""
    host = parse_url(attack.url, allow_http=False).host

    assert NetGuard(parse_networks("0.0.0.0/0,::/0")).check(host) is None


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "url",
    [
        *("https://8.8.8.8/in", "https://[2606:4700::1111]/in", "https://siem.example.com:8088/services/collector"),
        *("https://[64:ff9b::808:808]/in", "https://[64:ff9b::8.8.8.8]/in"),  # row 17, or NAT64 networks break
        *("https://xn--bcher-kva.example/in", "https://b\u00fccher.example/in", "https://localhost.example.com/"),
        *(f"https://h.example:{port}/" for port in (443, 8080, 8088, 9243, 9880, 10080)),  # row 6: where SIEMs listen
    ],
    ids=ascii,
)  # fmt: skip
async def test_what_is_public_can_be_saved(place, url):
    """Public names and addresses are accepted, on the ports of collectors: nothing outside the table is forbidden."""
    _, tenant, _ = place

    answer = await tenant.admin.post(PATH, json={"url": url})

    assert answer.status_code == 201, answer.text
    assert (await tenant.admin.delete(f"{PATH}/{answer.json()['id']}")).status_code == 204


async def test_the_wiretap_hears():
    """The tap sees every connect and stops those that leave this machine, so an empty tap proves that nothing was sent."""

    async def answer_one(peer):
        await peer.take()
        await peer.give(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with receiving(answer_one) as receiver:
        with wiretap.listening() as tap:
            async with posting(receiver.port, host="siem.example.net") as channel:
                answer = await channel.post(REQUEST)
            with socket.socket() as away, pytest.raises(PermissionError):
                away.connect(("192.0.2.1", 9))

    assert answer.status == 204
    assert tap.connects == [("127.0.0.1", receiver.port), ("192.0.2.1", 9)]
