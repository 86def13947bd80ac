"""The sender over TLS: which peers it trusts, and that it sends nothing to others."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aegis_stream.domain.attempt import FaultKind, Request
from aegis_stream.domain.certificate import CHARACTERS_MAX, COUNT_MAX
from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.errors import Invalid, Misconfigured
from aegis_stream.sender import AsyncSender, TrustStore

REQUEST = Request(b'{"a":1}')
OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nhi"
DAY = dt.timedelta(days=1)


class Authority:
    """A certificate authority of our own, or a certificate that signed itself."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self.sign(self.name, self.key, x509.BasicConstraints(ca=True, path_length=None))
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, name: x509.Name, key, *extensions, days: int = 30) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 60 * DAY)
            .not_valid_after(now + days * DAY)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def server_context(
        self, *, names: tuple[str, ...] = ("hook.test",), with_address: bool = True, days: int = 30
    ) -> ssl.SSLContext:
        address = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))] if with_address else []
        return self.context_for(
            "server", x509.SubjectAlternativeName([*map(x509.DNSName, names), *address]), days=days
        )

    def context_for(
        self, common_name: str, *extensions: x509.ExtensionType, days: int = 30
    ) -> ssl.SSLContext:
        """Return a server's context, whose certificate has this common name and these extensions."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        chain = self.sign(subject, key, *extensions, days=days).public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self.folder / "server.pem"
        path.write_bytes(private + chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


class FakeGuard:
    """Allows everything, and notes it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check(self, address: str) -> str | None:
        self.asked.append(address)
        return None


class FakeResolver:
    """Loopback is the answer."""

    async def resolve(self, host: str, port: int) -> list[str]:
        return ["127.0.0.1"]


class Server:
    """A TLS server that notes names asked for, heads and bytes."""

    def __init__(self, context: ssl.SSLContext | None, answer: bytes = OK) -> None:
        self.context = context
        self.answer = answer
        self.names: list[str | None] = []
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.tasks: set = set()
        self.port = 0
        if context is not None:
            context.sni_callback = lambda _socket, name, _context: self.names.append(name)

    async def serve(self, reader, writer) -> None:
        self.tasks.add(asyncio.current_task())
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.heads.append(head)
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    self.bodies.append(await reader.readexactly(length))
                    writer.write(self.answer)
        finally:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext | None, answer: bytes = OK) -> AsyncIterator[Server]:
    """Run a server."""
    server = Server(context, answer)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # failed handshakes are what we are after
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks)
        await asyncio.sleep(0.02)  # for the loop to drop the sockets


async def post(
    port: int,
    *,
    ca: str | None,
    host: str = "hook.test",
    requests: tuple[Request, ...] = (REQUEST,),
    timeout_s=10.0,
) -> list:
    """Post over a channel of its own, one request after the other."""
    sender = AsyncSender(user_agent="Aegis/1", guard=FakeGuard(), resolver=FakeResolver())
    endpoint = Endpoint("https", host, port, "/in", is_address=host[0].isdigit())
    channel = sender.open(Route(endpoint, (), ca, timeout_s))
    try:
        return [await channel.post(request) for request in requests]
    finally:
        channel.close()
        await asyncio.sleep(0)


async def test_given_authority_is_trusted(tmp_path):
    """With the authority's certificate, requests of any size arrive complete over one connection."""
    authority = Authority(tmp_path)
    big = Request(bytes(range(256)) * 4096)
    async with serving(authority.server_context()) as server:
        answers = await post(server.port, ca=authority.pem, requests=(REQUEST, big, REQUEST))

    assert [(a.status, a.body) for a in answers] == [(202, b"hi")] * 3
    assert server.bodies == [REQUEST.body, big.body, REQUEST.body]
    assert len(server.names) == 1


async def test_host_sni_and_address_agree(tmp_path):
    """Host header and SNI have the name, and the guard checked the address of the connection."""
    authority = Authority(tmp_path)
    async with serving(authority.server_context()) as server:
        await post(server.port, ca=authority.pem)

    assert server.names == ["hook.test"]
    assert b"Host: hook.test:%d\r\n" % server.port in server.heads[0]


async def test_address_is_verified_as_one(tmp_path):
    """A URL with an address requires a certificate for the address, and sends no SNI."""
    authority = Authority(tmp_path)
    async with serving(authority.server_context()) as server:
        good = await post(server.port, ca=authority.pem, host="127.0.0.1")
    async with serving(authority.server_context(with_address=False)) as other:
        bad = await post(other.port, ca=authority.pem, host="127.0.0.1")

    assert good[0].status == 202
    assert server.names == [None]
    assert (bad[0].kind, bad[0].message) == (
        FaultKind.TLS,
        "certificate does not match the host name 127.0.0.1",
    )


@pytest.mark.parametrize(
    ("names", "days", "trusted", "message"),
    [
        (("hook.test",), 30, False, "set ca_certificate to the authority's certificate"),
        (("else.test",), 30, True, "certificate does not match the host name hook.test"),
        (("*.hook.test",), 30, True, "certificate does not match the host name hook.test"),
        (("hook.test",), -1, True, "certificate is not trusted: it has expired"),
    ],
)
async def test_untrusted_peer_gets_no_byte(tmp_path, names, days, trusted, message):
    """An unknown authority, another name or an expired certificate ends the attempt before any byte of the request."""
    authority = Authority(tmp_path)
    other = Authority(tmp_path, "Other CA")
    async with serving(authority.server_context(names=names, days=days)) as server:
        answers = await post(server.port, ca=(authority if trusted else other).pem)

    assert answers[0].kind is FaultKind.TLS
    assert message in answers[0].message
    assert (server.heads, server.bodies) == ([], [])


async def test_self_signed_peer_is_refused_by_default(tmp_path):
    """Without ca_certificate a self-signed peer is rejected, and the message says what to do."""
    authority = Authority(tmp_path)
    path = tmp_path / "self.pem"
    private = authority.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + authority.pem.encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    async with serving(context) as server:
        answers = await post(server.port, ca=None)

    assert (answers[0].kind, answers[0].message) == (
        FaultKind.TLS,
        "certificate is not trusted: self-signed certificate; set ca_certificate to the authority's certificate",
    )
    assert server.heads == []


async def test_old_tls_is_refused(tmp_path):
    """TLS 1.1 is not used."""
    authority = Authority(tmp_path)
    context = authority.server_context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with serving(context) as server:
        answers = await post(server.port, ca=authority.pem)

    assert (answers[0].kind, server.heads) == (FaultKind.TLS, [])


async def test_tls_1_2_is_spoken(tmp_path):
    """TLS 1.2 is accepted."""
    authority = Authority(tmp_path)
    context = authority.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(context) as server:
        answers = await post(server.port, ca=authority.pem, requests=(REQUEST, REQUEST))

    assert [a.status for a in answers] == [202, 202]
    assert len(server.names) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_peer_that_wants_a_client_certificate_is_told(tmp_path, version):
    """A server that rejects clients without a certificate is a fault that says so, in TLS 1.2 and 1.3."""
    authority = Authority(tmp_path)
    context = authority.server_context()
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.pem)
    async with serving(context) as server:
        answers = await post(server.port, ca=authority.pem)

    assert (
        "wants a client certificate" in answers[0].message
        or "may want a client certificate" in answers[0].message
    )
    assert server.heads == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_may_be_optional(tmp_path, version):
    """A server that requests a certificate and does without gets the request."""
    authority = Authority(tmp_path)
    context = authority.server_context()
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=authority.pem)
    async with serving(context) as server:
        answers = await post(server.port, ca=authority.pem)

    assert answers[0].status == 202


async def test_plain_peer_is_told_apart(tmp_path):
    """A peer that speaks plain HTTP on the port is named as such."""

    async def serve(reader, writer) -> None:
        writer.write(b"HTTP/1.1 400 Bad\r\n\r\n")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    answers = await post(listener.sockets[0].getsockname()[1], ca=Authority(tmp_path).pem)
    listener.close()
    await asyncio.sleep(0.02)

    assert answers[0].kind is FaultKind.TLS
    assert "does not speak TLS" in answers[0].message


@pytest.mark.parametrize("hang_up", [True, False])
async def test_handshake_that_does_not_come_about(tmp_path, hang_up):
    """A peer that closes or sends nothing during the handshake is a fault by the deadline, and the connection is closed."""
    ended = asyncio.Event()

    async def serve(reader, writer) -> None:
        await reader.read(1)
        if not hang_up:
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()
        ended.set()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    answers = await post(listener.sockets[0].getsockname()[1], ca=Authority(tmp_path).pem, timeout_s=0.3)
    await asyncio.wait_for(ended.wait(), 5)
    listener.close()
    await asyncio.sleep(0.02)

    assert answers[0].kind is (FaultKind.TLS if hang_up else FaultKind.TIMEOUT)
    assert answers[0].latency_us < 600_000


async def test_answer_spread_over_records_is_whole(tmp_path):
    """An answer of several TLS records is read as one."""
    authority = Authority(tmp_path)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 16384\r\n\r\n" + b"x" * 16384
    async with serving(authority.server_context(), answer) as server:
        answers = await post(server.port, ca=authority.pem, requests=(REQUEST, REQUEST))

    assert [(a.status, a.body) for a in answers] == [(200, b"x" * 16384)] * 2
    assert len(server.names) == 1


async def test_second_answer_in_a_record_of_its_own_is_dropped(tmp_path):
    """Bytes after an answer over TLS are not read as an answer either."""
    authority = Authority(tmp_path)
    async with serving(authority.server_context(), OK + OK) as server:
        answers = await post(server.port, ca=authority.pem, requests=(REQUEST, REQUEST))

    assert [a.status for a in answers] == [202, 202]
    assert len(server.names) == 2


async def test_garbage_in_the_session_is_a_fault(tmp_path):
    """Bytes that are no TLS record end the exchange as a TLS fault."""
    authority = Authority(tmp_path)
    context = authority.server_context()

    async def serve(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport._ssl_protocol._transport.write(b"\x17\x03\x03\x00\x05hello")
        with contextlib.suppress(OSError):
            await reader.read()
        writer.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    answers = await post(listener.sockets[0].getsockname()[1], ca=authority.pem)
    listener.close()
    await asyncio.sleep(0.02)

    assert answers[0].kind is FaultKind.TLS


@pytest.mark.parametrize(
    "extensions",
    [
        [],
        [x509.SubjectAlternativeName([x509.DNSName("other.test")])],
        [x509.SubjectAlternativeName([x509.RFC822Name("a@hook.test")])],
        [x509.SubjectAlternativeName([x509.UniformResourceIdentifier("https://hook.test/")])],
        [x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.2"))])],
    ],
    ids=["none", "another name", "an address of mail", "a URL", "another address"],
)
@pytest.mark.parametrize("host", ["hook.test", "127.0.0.1"])
async def test_common_name_is_no_name(tmp_path, extensions, host):
    """A certificate is accepted by its subjectAltName only, never by its common name."""
    authority = Authority(tmp_path)
    async with serving(authority.context_for(host, *extensions)) as server:
        [fault] = await post(server.port, ca=authority.pem, host=host)

    assert (fault.kind, fault.message) == (FaultKind.TLS, f"certificate does not match the host name {host}")
    assert not server.bodies


@pytest.mark.parametrize(
    "text",
    ["", "x", "é", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "\x00", "\ud800"],
)
def test_bad_certificate_text_is_refused_at_open(text):
    """A text without a certificate is Invalid and names its field, before there is a channel."""
    sender = AsyncSender(user_agent="Aegis/1", guard=FakeGuard(), resolver=FakeResolver())

    with pytest.raises(Invalid) as caught:
        sender.open(Route(Endpoint("https", "hook.test", 443, "/", is_address=False), (), text, 1.0))

    assert caught.value.problems[0].field == "ca_certificate"


def test_contexts_are_kept_by_policy(tmp_path):
    """There is one context per text, up to the limit; the least recently used one is evicted."""
    first, second, third = (Authority(tmp_path).pem for _ in range(3))
    trust = TrustStore(contexts_max=2)

    kept, dropped = trust.context(first), trust.context(second)
    trust.context(first)
    trust.context(third)

    assert trust.context(first) is kept
    assert trust.context(second) is not dropped


def test_an_organization_evicts_its_own_contexts(tmp_path):
    """However many authorities an organization uses, the contexts of the others stay."""
    trust = TrustStore(contexts_max=10, organization_max=3)
    theirs = Authority(tmp_path).pem
    kept = trust.context(theirs, "org_a")

    for i in range(20):
        trust.context(f"{theirs}\n{i}", "org_b")

    assert trust.context(theirs, "org_a") is kept
    assert len(trust._contexts) == 4


@pytest.mark.parametrize(
    "change", [lambda pem: pem * (COUNT_MAX + 1), lambda pem: pem + "\n" * CHARACTERS_MAX]
)
def test_too_many_certificates_are_not_parsed(tmp_path, change):
    """A text beyond the limits is Invalid and names its field, also if it was stored before there were limits."""
    with pytest.raises(Invalid, match="the limit is") as caught:
        TrustStore().context(change(Authority(tmp_path).pem))

    assert caught.value.problems[0].field == "ca_certificate"


def test_verification_is_always_on(tmp_path):
    """Every context verifies certificate and name, from TLS 1.2 on."""
    trust = TrustStore()

    for context in (trust.context(None), trust.context(Authority(tmp_path).pem)):
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_configured_bundle_replaces_the_systems(tmp_path):
    """An operator's bundle is what is trusted by default; one that cannot be read is a configuration error."""
    authority = Authority(tmp_path)
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(authority.pem)
    sender = AsyncSender(
        user_agent="Aegis/1", guard=FakeGuard(), resolver=FakeResolver(), trust=TrustStore(str(bundle))
    )
    async with serving(authority.server_context()) as server:
        channel = sender.open(
            Route(Endpoint("https", "hook.test", server.port, "/", is_address=False), (), None, 5.0)
        )
        answer = await channel.post(REQUEST)
        channel.close()

    assert answer.status == 202
    with pytest.raises(Misconfigured):
        TrustStore(str(tmp_path / "none.pem")).context(None)


def test_uvloop_does_the_same(tmp_path):
    """On uvloop, TLS exchanges, refusals and handshakes that hang work alike."""

    async def run() -> None:
        await test_given_authority_is_trusted(tmp_path)
        await test_host_sni_and_address_agree(tmp_path)
        await test_self_signed_peer_is_refused_by_default(tmp_path)
        await test_handshake_that_does_not_come_about(tmp_path, hang_up=False)
        await test_handshake_that_does_not_come_about(tmp_path, hang_up=True)
        await test_answer_spread_over_records_is_whole(tmp_path)

    uvloop.run(run())
