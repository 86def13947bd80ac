"""What a TLS server wants that we do not have: a client certificate.

Called by `dial` and `wire`. OpenSSL says only "handshake failure" or "certificate required", and some servers close without a
word. Pure.
"""

import ssl

CERTIFICATE_WANTED = "wants a client certificate, which is not supported: let it accept a header instead, or put a proxy in front of it"
"""What to do; follows the name of the peer."""
HANDSHAKE_BYTES_MAX = 64 * 1024
"""Most bytes of a handshake that are kept until it is done."""

_HANDSHAKE_RECORD = 22
_CERTIFICATE_REQUEST = 13
_ABOUT_CERTIFICATE = frozenset(
    {
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "SSLV3_ALERT_NO_CERTIFICATE",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    }
)
"""Alerts by which servers reject a client that sends no certificate."""


def is_about_certificate(exc: Exception | None) -> bool:
    """Tell whether an error is an alert about the certificate of the client.

    After the handshake it is: in TLS 1.3 the server looks for the client's certificate after we consider the handshake done.
    During the handshake it is if the server had requested one, see `requests_certificate`.
    """
    return isinstance(exc, ssl.SSLError) and getattr(exc, "reason", None) in _ABOUT_CERTIFICATE


def requests_certificate(received: bytes | bytearray) -> bool:
    """Tell whether these first bytes from a server of TLS 1.2 request a certificate; in TLS 1.3 the request is encrypted.

    Source: RFC 5246 sections 6.2.1 and 7.4: records of type, version and length; in them messages of type and length.
    """
    messages = bytearray()
    place = 0
    while place + 5 <= len(received) and received[place] == _HANDSHAKE_RECORD:
        end = place + 5 + int.from_bytes(received[place + 3 : place + 5], "big")
        messages += received[place + 5 : end]
        place = end
    place = 0
    while place + 4 <= len(messages):
        if messages[place] == _CERTIFICATE_REQUEST:
            return True
        place += 4 + int.from_bytes(messages[place + 1 : place + 4], "big")
    return False
