"""Promises of `alerts`: a request for a client certificate is seen, and nothing else is taken for one."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.sender.alerts import is_about_certificate, requests_certificate


def message(kind: int, body: bytes = b"x" * 40) -> bytes:
    """Return a message of a handshake."""
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def records(data: bytes, size: int) -> bytes:
    """Return messages in records of at most this size."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"\x16\x03\x03" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


HELLO, CERTIFICATE, EXCHANGE, REQUEST, DONE = (message(kind) for kind in (2, 11, 12, 13, 14))


@pytest.mark.parametrize("size", [1, 3, 50, 16384])
def test_a_request_is_seen_however_it_is_cut(size):
    """The request is found among the messages of a server, in records of any size, also before an alert."""
    whole = records(HELLO + CERTIFICATE + EXCHANGE + REQUEST + DONE, size)

    assert requests_certificate(whole)
    assert requests_certificate(whole + b"\x15\x03\x03\x00\x02\x02\x28")


def test_other_messages_are_no_request():
    """A handshake without a request has none, whatever the bytes of a certificate are."""
    body = message(13) * 3

    assert not requests_certificate(records(HELLO + message(11, body) + DONE, 16384))
    assert not requests_certificate(b"\x15\x03\x03\x00\x02\x02\x28" + records(REQUEST, 100))
    assert not requests_certificate(b"")


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data):
    """Searching any bytes for a request of a certificate raises nothing."""
    requests_certificate(data)
    requests_certificate(b"\x16" + data)


@pytest.mark.parametrize("exc", [None, ConnectionResetError(), ssl.SSLError(1, "x")])
def test_only_alerts_are_about_a_certificate(exc):
    """Other errors are not about the client's certificate."""
    assert not is_about_certificate(exc)
