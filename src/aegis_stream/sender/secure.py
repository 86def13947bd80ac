"""TLS between a socket and a connection.

Called by `dial`, which hands it to `wire` in the place of a transport. The standard library does the cryptography; only
the carrying of bytes is ours, because asyncio's and uvloop's own TLS transports ask OpenSSL once more after every
read, to be told by an exception that there is nothing: measured, 29 µs of CPU per exchange against 9 µs here.

A record is taken whole or not at all (OpenSSL's read-ahead is off), so that an empty inbox means: nothing to read.
"""

import asyncio
import ssl
from typing import cast

from .wire import Connection

_READ_BYTES = 64 * 1024  # more than any record holds
_WRITE_BYTES = 256 * 1024  # encrypted in slices, so that a big body is not held twice in whole


class SecurePipe(asyncio.Protocol):
    """Carries one connection's bytes through a TLS session; to the connection it is the transport.

    Args:
        connection: gets its transport when the handshake is done and the peer verified, not before.
        context: verifies certificate and name.
        host: the name to ask for (SNI) and to verify; an IP address is verified as one and not asked for.
    """

    __slots__ = ("_connection", "_in", "_open", "_out", "_ready", "_session", "_transport")

    def __init__(self, connection: Connection, context: ssl.SSLContext, host: str) -> None:
        self._connection = connection
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._session = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._transport: asyncio.Transport | None = None
        self._ready: asyncio.Future[None] | None = None
        self._open = False

    async def handshake(self) -> None:
        """Agree on keys and verify the peer; nothing of a request is written before this is done.

        Raises: ssl.SSLError (SSLCertVerificationError among them), ConnectionError, CancelledError. The caller then
            aborts.
        """
        self._ready = asyncio.get_running_loop().create_future()
        self._step()
        await self._ready

    def close(self) -> None:
        """Close after a handshake that failed; the alert that says why still goes out."""
        if self._transport is not None:
            self._transport.close()

    # What follows is called by the connection, as a transport.

    def write(self, data: bytes) -> None:
        """Encrypt and send; a session that is broken ends the exchange."""
        transport = self._transport
        assert transport is not None
        try:
            if len(data) <= _WRITE_BYTES:
                self._session.write(data)
                transport.write(self._out.read())
                return
            view = memoryview(data)
            for start in range(0, len(data), _WRITE_BYTES):
                self._session.write(view[start : start + _WRITE_BYTES])
                transport.write(self._out.read())
        except ssl.SSLError as exc:
            self._connection.connection_lost(exc)

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        """Encrypt and send each part."""
        for part in parts:
            self.write(part)

    def get_write_buffer_size(self) -> int:
        """Return the number of encrypted bytes that wait for the peer."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # What follows is called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take encrypted bytes."""
        self._in.write(data)
        if not self._open:
            self._step()
            if not self._open:
                return
        connection = self._connection
        try:
            while self._in.pending and not connection.dead:
                plain = self._session.read(_READ_BYTES)
                if not plain:
                    connection.eof_received()
                    return
                connection.data_received(plain)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            connection.connection_lost(exc)
        if self._out.pending and not connection.dead:
            # An answer of TLS itself, such as to a key update.
            self._write_out()

    def eof_received(self) -> None:
        """Take the end of the stream; servers that leave without a TLS goodbye are too common to refuse."""
        self._lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the loss of the socket."""
        self._lost(exc)

    def _step(self) -> None:
        ready = self._ready
        if ready is None or ready.done():
            return
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self._write_out()
        except ssl.SSLError as exc:
            self._write_out()  # the alert that tells the peer why
            ready.set_exception(exc)
        else:
            self._write_out()
            self._open = True
            self._connection.connection_made(cast(asyncio.Transport, self))
            ready.set_result(None)

    def _lost(self, exc: Exception | None) -> None:
        if self._open:
            self._connection.connection_lost(exc)
        elif self._ready is not None and not self._ready.done():
            self._ready.set_exception(ConnectionResetError("closed during the TLS handshake"))

    def _write_out(self) -> None:
        if self._transport is not None and self._out.pending:
            self._transport.write(self._out.read())
