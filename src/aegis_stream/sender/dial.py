"""From a checked URL to a connection with a checked address.

Called by `pool` when a request finds no idle connection. At every connect the guard checks every address of the name. The
connection goes to one of these addresses, not to the name, so a later change of the DNS answer has no effect.
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from aegis_stream.domain.attempt import FaultKind
from aegis_stream.domain.endpoint import Endpoint
from aegis_stream.domain.trace import Stage, Trace

from .address_limiter import AddressLimiter, AddressLimiters
from .alerts import CERTIFICATE_WANTED, is_about_certificate
from .look_ups import LookUpsFull, TooManyAddresses
from .race import Failed, Progress, Race, Reach
from .resolve import Resolver
from .secure import SecurePipe
from .shares import ConnectionShares
from .wire import Connection

ADDRESSES_TRIED_MAX = 32
"""Most addresses of a name that one attempt tries; a quarter of a second for each leaves time for the answer."""
NO_PLACE_S = 0.25
"""How long dials of a channel do not ask again after there was no place for their look-up, seconds: they wait behind each other."""
RESOLVED_S = 1.0
"""How long a channel reuses a DNS answer, seconds: a burst of connects then causes one query."""

_EXPIRED, _NOT_YET_VALID, _SELF_SIGNED, _SELF_SIGNED_IN_CHAIN = 10, 9, 18, 19
_WRONG_NAME, _WRONG_ADDRESS = 62, 64
_TOO_WEAK = frozenset({66, 67, 68})  # the key of the server or of an authority, the digest of a signature
TLS_HINT = "; if it expects TLS, the URL must begin with https://"
_OUR_OWN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_REACH = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class Guard(Protocol):
    """Decides which addresses we may connect to."""

    def check(self, address: str) -> str | None:
        """Return None if we may connect to this IP address, else the reason as a clause for a person."""
        ...


class ConnectFailed(Exception):
    """No connection could be made; `pool` turns this into a Fault."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


Make = Callable[[str, AddressLimiter], Connection]


class AddressFull(Exception):
    """No connection now: the organization already has its share of connections, to the address or in all."""

    def __init__(self, limiter: ConnectionShares) -> None:
        super().__init__()
        self.limiter = limiter


class NoDescriptor(Exception):
    """No connection now: this process or machine has too many files open, or no memory for sockets."""

    def __init__(self, exc: OSError) -> None:
        super().__init__(exc.errno)
        self.message = f"this service cannot open another connection now: {_words(exc)}"


class Dialer:
    """Makes the connections of one channel.

    Args:
        context: how to verify the peer, or None for plain HTTP.
        timeout_s: of the route, for messages.

    Attributes:
        trace: gets a mark for each stage up to the open connection; None for deliveries.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        context: ssl.SSLContext | None,
        *,
        guard: Guard,
        resolver: Resolver,
        limiters: AddressLimiters,
        timeout_s: float,
    ) -> None:
        self.trace: Trace | None = None
        self._endpoint = endpoint
        self._context = context
        self._guard = guard
        self._resolver = resolver
        self._limiters = limiters
        self._timeout_s = timeout_s
        # Tenants read the messages. They know the name, but must not learn what it resolves to in this network.
        self._peer = f"{endpoint.host} port {endpoint.port}"
        self._reach = Reach()
        self._finding = asyncio.Lock()
        self._resolving = asyncio.Lock()
        self._resolved: list[str] = []
        self._unresolved = ""
        self._resolved_until = 0.0
        self._no_place_until = 0.0

    async def dial(self, make: Make, deadline: float) -> Connection:
        """Return a new open connection to an address that the guard has allowed.

        Args:
            make: makes the connection from the peer's name, for messages, and the limiter of its address; raises AddressFull.
            deadline: loop time by which it must be open.
        Raises: ConnectFailed with the reason; AddressFull, NoDescriptor or LookUpsFull for a limit of ours; CancelledError. In each case no connection stays open.
        """
        addresses = await self._addresses(deadline)
        self._mark(Stage.RESOLVE)
        for address in addresses:
            reason = (
                self._guard.check(address)
                if _is_address(address)
                else "points to something that is not an IP address"
            )
            if reason is not None:
                raise ConnectFailed(FaultKind.FORBIDDEN, f"{self._endpoint.host} {reason}")
        self._mark(Stage.GUARD)
        if len(addresses) == 1:
            return await self._connect(make, Progress(addresses[0]), deadline)
        if not self._reach.knows_one:
            await self._acquire(deadline)  # one dial looks for an address that works; the others follow it
            try:
                if not self._reach.knows_one:
                    return await self._race(make, addresses, deadline)
            finally:
                self._finding.release()
        return await self._race(make, addresses, deadline)

    def _mark(self, stage: Stage) -> None:
        if self.trace is not None:
            self.trace.mark(stage)

    async def _acquire(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._finding.acquire()
        except TimeoutError as exc:
            raise ConnectFailed(FaultKind.TIMEOUT, self._late_message()) from exc

    async def _race(self, make: Make, addresses: list[str], deadline: float) -> Connection:
        async def connect(progress: Progress) -> Connection:
            try:
                return await self._connect(make, progress, deadline)
            except AddressFull as full:
                raise Failed(full, dead=False) from full
            except ConnectFailed as failed:
                if failed.kind not in (FaultKind.CONNECT, FaultKind.TIMEOUT):
                    raise
                raise Failed(failed) from failed

        now = asyncio.get_running_loop().time()
        tried = self._reach.in_order(addresses, now)[:ADDRESSES_TRIED_MAX]
        return await Race(connect, self._reach).run(tried, deadline)

    async def _addresses(self, deadline: float) -> list[str]:
        host = self._endpoint.host
        if self._endpoint.is_address:
            return [host]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline), self._resolving:
                if loop.time() < self._no_place_until:
                    raise LookUpsFull
                if loop.time() >= self._resolved_until:
                    await self._resolve(host)
                    self._resolved_until = loop.time() + RESOLVED_S
        except TimeoutError as exc:
            message = f"name {host} did not resolve within {self._timeout_s:g} s"
            raise ConnectFailed(FaultKind.TIMEOUT, message) from exc
        if not self._resolved:
            raise ConnectFailed(FaultKind.DNS, self._unresolved)
        return self._resolved

    async def _resolve(self, host: str) -> None:
        self._resolved = []
        self._unresolved = f"name {host} does not resolve: it has no address"
        try:
            self._resolved = await self._resolver.resolve(host, self._endpoint.port)
        except LookUpsFull:
            self._no_place_until = asyncio.get_running_loop().time() + NO_PLACE_S
            raise
        except (
            OSError,
            ValueError,
        ) as exc:  # ValueError: not a valid name, such as one with a label of 64 letters
            self._unresolved = _resolve_message(host, exc)

    async def _connect(self, make: Make, progress: Progress, deadline: float) -> Connection:
        address = progress.address
        connection = make(self._peer, self._limiters.at(address))
        pipe = (
            SecurePipe(connection, self._context, self._endpoint.host) if self._context is not None else None
        )
        if pipe is None:
            connection.closed_hint = TLS_HINT
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: cast(asyncio.Protocol, pipe or connection), address, self._endpoint.port
                )
                progress.accepted = True
                self._settle_socket(transport, address)
                self._mark(Stage.CONNECT)
                if pipe is not None:
                    await pipe.handshake()
                    if self.trace is not None:
                        self.trace.tls_version, self.trace.certificate = pipe.peer()
                        self.trace.mark(Stage.TLS)
        except OSError as exc:
            _drop(connection, pipe)
            if exc.errno in _OUR_OWN:
                raise NoDescriptor(exc) from exc
            if limit.expired():
                raise ConnectFailed(FaultKind.TIMEOUT, self._late_message()) from exc
            raise self._failure_of(exc, pipe) from exc
        except BaseException:
            _drop(connection, pipe)
            raise
        if connection.dead:
            # The peer closed it before we sent the first byte.
            hint = pipe.closed_hint if pipe is not None else connection.closed_hint
            raise ConnectFailed(
                FaultKind.CLOSED, f"{self._peer} closed the connection without an answer{hint}"
            )
        return connection

    def _late_message(self) -> str:
        return f"no connection to {self._peer} within {self._timeout_s:g} s"

    def _settle_socket(self, transport: asyncio.BaseTransport, address: str) -> None:
        """Verify where the connection goes, and send small requests without delay.

        Raises: ConnectFailed if the other end is not the checked address, or has closed already.
        """
        peername = transport.get_extra_info("peername")
        if not peername:
            raise ConnectFailed(FaultKind.CONNECT, f"{self._peer} closed the connection at once")
        if not _same_address(str(peername[0]), address):
            message = f"{self._peer} was reached at a different address than the checked one"
            raise ConnectFailed(FaultKind.FORBIDDEN, message)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):  # if the peer has closed, the first read shows it
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _failure_of(self, exc: OSError, pipe: SecurePipe | None) -> ConnectFailed:
        peer = self._peer
        if pipe is not None and pipe.requests_certificate:
            if is_about_certificate(exc):
                return ConnectFailed(FaultKind.TLS, f"{peer} {CERTIFICATE_WANTED}")
            if isinstance(exc, ConnectionError):
                message = f"{peer} closed the connection during the TLS handshake{pipe.closed_hint}"
                return ConnectFailed(FaultKind.TLS, message)
        if isinstance(exc, ssl.SSLError):
            return ConnectFailed(FaultKind.TLS, _tls_message(self._endpoint.host, peer, exc))
        if isinstance(exc, ConnectionRefusedError):
            return ConnectFailed(FaultKind.CONNECT, f"connection refused by {peer}")
        if exc.errno in _REACH:
            return ConnectFailed(FaultKind.CONNECT, f"{peer} cannot be reached: {_words(exc)}")
        if self._context is not None and isinstance(exc, ConnectionError):
            return ConnectFailed(FaultKind.TLS, f"{peer} closed the connection during the TLS handshake")
        return ConnectFailed(FaultKind.CONNECT, f"no connection to {peer}: {_words(exc)}")


def _drop(connection: Connection, pipe: SecurePipe | None) -> None:
    connection.abort()
    if pipe is not None:
        pipe.close()


def _is_address(text: str) -> bool:
    return _same_address(text, text)


def _same_address(actual: str, expected: str) -> bool:
    try:
        return ipaddress.ip_address(actual) == ipaddress.ip_address(expected)
    except ValueError:
        return False


def _resolve_message(host: str, exc: Exception) -> str:
    if isinstance(exc, TooManyAddresses):
        return f"name {host} {exc}"
    if isinstance(exc, socket.gaierror) and exc.errno == socket.EAI_AGAIN:
        return f"name {host} does not resolve now: the name server does not answer"
    return f"name {host} does not resolve"


def _tls_message(host: str, peer: str, exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        code = exc.verify_code
        if code in (_WRONG_NAME, _WRONG_ADDRESS):
            return f"certificate does not match the host name {host}"
        if code == _EXPIRED:
            return "certificate is not trusted: it has expired"
        if code == _NOT_YET_VALID:
            return "certificate is not trusted: it is not valid yet"
        if code in _TOO_WEAK:
            return f"certificate is not trusted: {exc.verify_message}; get a new one with SHA-256 and a longer key"
        why = (
            "self-signed certificate" if code in (_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN) else exc.verify_message
        )
        return f"certificate is not trusted: {why}; set ca_certificate to the authority's certificate"
    reason = (exc.reason or "handshake failed").replace("_", " ").lower()
    if exc.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        return f"{peer} does not speak TLS: check whether the URL must begin with http://"
    if exc.reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"):
        return f"{peer} does not support TLS 1.2 or newer"
    return f"no TLS session with {peer}: {reason}"


def _words(exc: OSError) -> str:
    return os.strerror(exc.errno).lower() if exc.errno else "the connection was lost"
