"""From a checked URL to a connection with a checked address.

Called by `pool` when a request finds no idle connection. The guard sees every address that a name has, at every
connect; the connection is made to one of exactly these addresses and to no name, so that an answer of the name server
that changes in between changes nothing.
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from aegis_stream.domain.attempt import FaultKind
from aegis_stream.domain.endpoint import Endpoint

from .address_limiter import AddressLimiter, AddressLimiters
from .resolve import Resolver
from .secure import SecurePipe
from .wire import Connection

ADDRESSES_TRIED_MAX = 4
"""Addresses of a name that one attempt tries; all of them are checked."""
RESOLVED_S = 1.0
"""Seconds for which a channel uses an answer again: a burst of connects then costs the name server one question."""

_EXPIRED, _NOT_YET_VALID, _SELF_SIGNED, _SELF_SIGNED_IN_CHAIN = 10, 9, 18, 19
_WRONG_NAME, _WRONG_ADDRESS = 62, 64
_TOO_WEAK = frozenset({66, 67, 68})  # a key of the server's or of an authority, a signature's digest
_REACH = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class Guard(Protocol):
    """Who decides whether we may connect."""

    def check(self, address: str) -> str | None:
        """Return None when this IP address may be connected to, else the reason as a clause for a person."""
        ...


class Refused(Exception):
    """No connection; `pool` turns it into a Fault."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


Make = Callable[[str, AddressLimiter], Connection]


class AddressFull(Exception):
    """No connection just now: all that the organization may have to the address are there."""

    def __init__(self, limiter: AddressLimiter) -> None:
        super().__init__(limiter.address)
        self.limiter = limiter


class Dialer:
    """Makes the connections of one channel.

    Args:
        context: how to verify the peer, or None for plain HTTP.
        timeout_s: the route's, for messages.
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
        self._endpoint = endpoint
        self._context = context
        self._guard = guard
        self._resolver = resolver
        self._limiters = limiters
        self._timeout_s = timeout_s
        # Messages reach the tenant, who may know the name and must not learn what it resolves to in here.
        self._peer = f"{endpoint.host} port {endpoint.port}"
        self._resolving = asyncio.Lock()
        self._resolved: list[str] = []
        self._unresolved = ""
        self._resolved_until = 0.0

    async def dial(self, make: Make, deadline: float) -> Connection:
        """Return a new open connection to an address that the guard has allowed.

        Args:
            make: makes the connection, given the peer's name for messages and the limiter it joins; raises AddressFull.
            deadline: loop time by which it must be open.
        Raises: Refused, saying why not; AddressFull; CancelledError. In each case nothing stays open.
        """
        addresses = await self._addresses(deadline)
        for address in addresses:
            reason = (
                self._guard.check(address)
                if _is_address(address)
                else "points to something that is not an IP address"
            )
            if reason is not None:
                raise Refused(FaultKind.FORBIDDEN, f"{self._endpoint.host} {reason}")
        tried = addresses[:ADDRESSES_TRIED_MAX]
        loop = asyncio.get_running_loop()
        for left in range(len(tried), 1, -1):
            now = loop.time()
            try:
                # An address that swallows packets leaves the ones after it their share of the time.
                return await self._connect(make, tried[-left], now + (deadline - now) / left)
            except AddressFull:
                continue
            except Refused as refused:
                if refused.kind not in (FaultKind.CONNECT, FaultKind.TIMEOUT):
                    raise
        return await self._connect(make, tried[-1], deadline)

    async def _addresses(self, deadline: float) -> list[str]:
        host = self._endpoint.host
        if self._endpoint.is_address:
            return [host]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline), self._resolving:
                if loop.time() >= self._resolved_until:
                    await self._resolve(host)
                    self._resolved_until = loop.time() + RESOLVED_S
        except TimeoutError as exc:
            message = f"name {host} did not resolve within {self._timeout_s:g} s"
            raise Refused(FaultKind.TIMEOUT, message) from exc
        if not self._resolved:
            raise Refused(FaultKind.DNS, self._unresolved)
        return self._resolved

    async def _resolve(self, host: str) -> None:
        self._resolved = []
        self._unresolved = f"name {host} does not resolve: it has no address"
        try:
            self._resolved = await self._resolver.resolve(host, self._endpoint.port)
        except (
            OSError,
            ValueError,
        ) as exc:  # ValueError: no name at all, such as one with a label of 64 letters
            self._unresolved = _resolve_message(host, exc)

    async def _connect(self, make: Make, address: str, deadline: float) -> Connection:
        connection = make(self._peer, self._limiters.at(address))
        pipe = (
            SecurePipe(connection, self._context, self._endpoint.host) if self._context is not None else None
        )
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: pipe or connection, address, self._endpoint.port
                )
                self._settle_socket(transport, address)
                if pipe is not None:
                    await pipe.handshake()
        except OSError as exc:
            _drop(connection, pipe)
            if limit.expired():
                message = f"no connection to {self._peer} within {self._timeout_s:g} s"
                raise Refused(FaultKind.TIMEOUT, message) from exc
            raise self._refused(exc) from exc
        except BaseException:
            _drop(connection, pipe)
            raise
        if connection.dead:
            # Closed by the peer between its first and our first byte.
            raise Refused(FaultKind.CLOSED, f"{self._peer} closed the connection without an answer")
        return connection

    def _settle_socket(self, transport: asyncio.BaseTransport, address: str) -> None:
        """Make sure of where the connection goes, and let small requests leave at once.

        Raises: Refused when the other end is not the address that was checked, or is gone already.
        """
        peername = transport.get_extra_info("peername")
        if not peername:
            raise Refused(FaultKind.CONNECT, f"{self._peer} closed the connection at once")
        if not _same_address(str(peername[0]), address):
            message = f"{self._peer} was reached at a different address than the checked one"
            raise Refused(FaultKind.FORBIDDEN, message)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):  # a peer that is gone again shows in the first read
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _refused(self, exc: OSError) -> Refused:
        peer = self._peer
        if isinstance(exc, ssl.SSLError):
            return Refused(FaultKind.TLS, _tls_message(self._endpoint.host, peer, exc))
        if isinstance(exc, ConnectionRefusedError):
            return Refused(FaultKind.CONNECT, f"connection refused by {peer}")
        if exc.errno in _REACH:
            return Refused(FaultKind.CONNECT, f"{peer} cannot be reached: {_words(exc)}")
        if self._context is not None and isinstance(exc, ConnectionError):
            return Refused(FaultKind.TLS, f"{peer} closed the connection during the TLS handshake")
        return Refused(FaultKind.CONNECT, f"no connection to {peer}: {_words(exc)}")


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
