"""Verify, read and deduplicate the requests of Aegis Audit Stream, in any Python web application.

It needs only the standard library, and nothing else of this product. In your own request handler:

    >>> from aegis_stream.receiver import Inbox, Verifier, event_id, is_test, parse_body, sign
    >>> verifier, inbox = Verifier(bearer="s3cret", hmac_key=b"k3y"), Inbox()
    >>> body = b'{"event": {"id": "pflt_1", "dataset": "aegis.preflight"}}'  # the raw body as received
    >>> headers = {"Authorization": "Bearer s3cret", "X-Aegis-Signature": sign(body, b"k3y")}
    >>> if not verifier.verify(headers, body):
    ...     raise SystemExit("answer 401")
    >>> for event in parse_body(body, "application/json"):
    ...     with inbox.once(event) as first_time:  # remembered if the block ends without an exception
    ...         print(event_id(event), "first time" if first_time else "again", "test" if is_test(event) else "real")
    pflt_1 first time real

Then answer 202. `WsgiReceiver` and `AsgiReceiver` do all of this and call you for each new event. The runnable
reference receiver is `aegis_stream.receiver.server`; it is not imported here.
"""

from .asgi import AsgiReceiver
from .body import (
    BODY_BYTES_MAX,
    Event,
    MalformedBodyError,
    TooLargeError,
    UnsupportedEncodingError,
    parse_body,
)
from .inbox import TEST_DATASET, BusyError, Inbox, event_id, is_test
from .verify import SIGNATURE_HEADER, Accepted, Refused, Verdict, Verifier, sign
from .wsgi import WsgiReceiver

__all__ = [
    "BODY_BYTES_MAX",
    "SIGNATURE_HEADER",
    "TEST_DATASET",
    "Accepted",
    "AsgiReceiver",
    "BusyError",
    "Event",
    "Inbox",
    "MalformedBodyError",
    "Refused",
    "TooLargeError",
    "UnsupportedEncodingError",
    "Verdict",
    "Verifier",
    "WsgiReceiver",
    "event_id",
    "is_test",
    "parse_body",
    "sign",
]
