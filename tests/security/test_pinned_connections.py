"""Rows 27–29 of the attack table: where a connection goes, how its peer is verified, and who may use it.

Row 27 is mostly in tests/integration/test_sender_tls.py: unknown authority, self-signed, another name, expired, TLS 1.1, no
way to switch verification off. Here is what is missing there.
"""

import ssl

import pytest

from aegis_stream.domain.attempt import Fault, FaultKind, Response
from aegis_stream.netguard import NetGuard, parse_networks
from aegis_stream.sender import AsyncSender
from security import wiretap
from security.certificates import Authority
from security.receivers import REQUEST, Names, Peer, make_route, posting, receiving

HOST = "siem.example.net"
ADDRESS, DECOY = "127.0.0.3", "127.0.0.1"
OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


async def answer_all(peer: Peer) -> None:
    """Answer every request."""
    while True:
        await peer.take()
        await peer.give(OK)


class AskedGuard:
    """The real guard, which records what it was asked."""

    def __init__(self, networks: str) -> None:
        self._guard = NetGuard(parse_networks(networks))
        self.asked: list[str] = []

    def check(self, address: str) -> str | None:
        """Check, and record."""
        self.asked.append(address)
        return self._guard.check(address)


# ── row 27 ──


@pytest.mark.parametrize(
    "flaw, says",
    [
        pytest.param({"sha1": True}, "digest algorithm too weak", id="row 27: SHA-1"),
        pytest.param({"starts_in_days": 2}, "not valid yet", id="row 27: not valid yet"),
        pytest.param({"key_bits": 1024}, "key too weak", id="row 27: key of 1024 bits"),
    ],
)
async def test_a_flawed_certificate_gets_no_byte(tmp_path, flaw, says):
    """A flawed certificate, although of the right authority and name, ends the attempt before any byte of the request."""
    authority = Authority(tmp_path)
    async with (
        receiving(answer_all, context=authority.server_context(HOST, **flaw)) as flawed,
        receiving(answer_all, context=authority.server_context(HOST)) as sound,
    ):
        answers = []
        for receiver in (flawed, sound):
            async with posting(receiver.port, host=HOST, scheme="https", ca=authority.pem) as channel:
                answers.append(await channel.post(REQUEST))

    assert isinstance(answers[0], Fault)
    assert (answers[0].kind, says in answers[0].message) == (FaultKind.TLS, True)
    assert (flawed.connections, flawed.taken) == (0, [])
    assert isinstance(answers[1], Response)


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["row 27: TLS 1.0", "row 27: TLS 1.1"]
)
async def test_old_tls_gets_no_byte(tmp_path, version):
    """A receiver that supports only TLS 1.0 or 1.1 gets nothing, even with a valid certificate."""
    authority = Authority(tmp_path)
    context = authority.server_context(HOST)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = context.maximum_version = version
    async with (
        receiving(answer_all, context=context) as receiver,
        posting(receiver.port, host=HOST, scheme="https", ca=authority.pem) as channel,
    ):
        answer = await channel.post(REQUEST)

    assert isinstance(answer, Fault)
    assert answer.kind is FaultKind.TLS
    assert (receiver.connections, receiver.taken) == (0, [])


# ── row 28 ──


async def test_host_name_and_address_agree():
    """Row 28: over plain HTTP, Host has the name, and the connection goes to the address that the guard checked."""
    sockets = []

    async def script(peer: Peer) -> None:
        sockets.append(peer.writer.get_extra_info("sockname")[0])
        await answer_all(peer)

    guard = AskedGuard(f"{ADDRESS}/32")
    async with (
        receiving(script, address=ADDRESS) as receiver,
        receiving(answer_all, address=DECOY, port=receiver.port) as decoy,
        posting(receiver.port, host=HOST, guard=guard, names=Names([ADDRESS])) as channel,
    ):
        await channel.post(REQUEST)

    (_, head, _), *_ = receiver.taken
    assert f"\r\nHost: {HOST}:{receiver.port}\r\n".encode() in head
    assert (guard.asked, sockets, decoy.connections) == ([ADDRESS], [ADDRESS], 0)


async def test_host_sni_certificate_and_address_agree(tmp_path):
    """Row 28: over TLS, Host, SNI and the verified certificate have the name, and the connection goes to the checked address."""
    authority = Authority(tmp_path)
    sockets = []

    async def script(peer: Peer) -> None:
        sockets.append(peer.writer.get_extra_info("sockname")[0])
        await answer_all(peer)

    guard = AskedGuard(f"{ADDRESS}/32")
    names = Names([ADDRESS], [DECOY])
    async with (
        receiving(script, address=ADDRESS, context=authority.server_context(HOST)) as receiver,
        receiving(
            answer_all, address=DECOY, port=receiver.port, context=authority.server_context(HOST)
        ) as decoy,
        posting(
            receiver.port, host=HOST, scheme="https", ca=authority.pem, guard=guard, names=names
        ) as channel,
    ):
        with wiretap.listening() as tap:
            answer = await channel.post(REQUEST)

    assert isinstance(answer, Response)
    (_, head, _), *_ = receiver.taken
    assert head.count(b"\r\nHost: ") == 1
    assert f"\r\nHost: {HOST}:{receiver.port}\r\n".encode() in head
    assert receiver.names == [HOST]
    assert (names.asked, guard.asked, sockets) == ([HOST], [ADDRESS], [ADDRESS])
    assert tap.connects == [(ADDRESS, receiver.port)]
    assert (decoy.connections, decoy.names) == (0, [])


async def test_a_certificate_for_another_name_at_the_right_address_is_refused(tmp_path):
    """Row 28: a checked address with a certificate for another name, such as that of its machine, is rejected."""
    authority = Authority(tmp_path)
    context = authority.server_context("machine-7.example.net", "example.net")
    async with (
        receiving(answer_all, context=context) as receiver,
        posting(receiver.port, host=HOST, scheme="https", ca=authority.pem) as channel,
    ):
        answer = await channel.post(REQUEST)

    assert isinstance(answer, Fault)
    assert answer.message == f"certificate does not match the host name {HOST}"
    assert (receiver.names, receiver.taken) == ([HOST], [])


# ── row 29 ──


async def test_destinations_share_no_connection():
    """Row 29: two destinations at one receiver, even with the same route, use separate connections, and credentials never mix."""
    async with receiving(answer_all) as receiver:
        sender = AsyncSender(user_agent="Aegis/1", guard=NetGuard(parse_networks("127.0.0.1/32")))
        routes = [make_route(receiver.port, secret=secret) for secret in ("one", "two", "two")]
        channels = [sender.open(route) for route in routes]
        for _ in range(4):
            for channel in channels:
                await channel.post(REQUEST)
        for channel in channels:
            channel.close()
        sender.close()

    by_connection: dict[int, list[bytes]] = {}
    for number, head, _ in receiver.taken:
        by_connection.setdefault(number, []).append(head.partition(b"Authorization: ")[2][:3])
    assert by_connection == {1: [b"one"] * 4, 2: [b"two"] * 4, 3: [b"two"] * 4}


async def test_trust_is_not_shared(tmp_path):
    """Row 29: a connection that was verified with one destination's authority is not used for another destination's authority."""
    authority, other = Authority(tmp_path), Authority(tmp_path, "Another authority")
    async with (
        receiving(answer_all, context=authority.server_context(HOST)) as receiver,
        posting(receiver.port, host=HOST, scheme="https", ca=authority.pem) as trusting,
        posting(receiver.port, host=HOST, scheme="https", ca=other.pem) as doubting,
        posting(receiver.port, host=HOST, scheme="https") as public,
    ):
        answers = [await one.post(REQUEST) for one in (trusting, doubting, public, trusting)]

    assert [type(one) for one in answers] == [Response, Fault, Fault, Response]
    assert all(one.kind is FaultKind.TLS for one in answers if isinstance(one, Fault))
    assert (receiver.connections, len(receiver.taken)) == (1, 2)
