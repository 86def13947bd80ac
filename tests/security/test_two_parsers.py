"""Request smuggling: no stream of bytes gives the front door a request that a second parser (h11) does not see.

`AEGIS_FUZZ_STREAMS=100000` makes a long run; the seed of a stream that differs is in the message.
"""

import os

import h11
import pytest

from support.front import connect
from support.hostile_streams import Hostile

STREAMS = int(os.environ.get("AEGIS_FUZZ_STREAMS", "4000"))
PARTS = 8

Request = tuple[str, bytes, bytes]


def path_of(target: bytes) -> bytes:
    """Return the path of a request target."""
    if target.lower().startswith((b"http://", b"https://")):
        target = b"/" + ([*target.split(b"/", 3), b""])[3]
    return target.partition(b"?")[0]


def seen_by_h11(stream: bytes) -> list[Request]:
    """Return the requests that h11 reads before it refuses something."""
    connection, found = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), []
    connection.receive_data(stream)
    method, target, body = "", b"", b""
    try:
        while connection.their_state is not h11.MUST_CLOSE:
            buffer = connection._receive_buffer
            if connection.their_state is h11.IDLE and not method and bytes(buffer._data[:2]) == b"\r\n":
                buffer._extract(2)  # RFC 9112 section 2.2 lets a server ignore one empty line; h11 does not
            event = connection.next_event()
            if isinstance(event, h11.Request):
                method, target, body = event.method.decode(), path_of(event.target), b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                found.append((method, target, body))
                method = ""
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    break
                connection.start_next_cycle()
            else:
                break
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        pass
    return found


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_stream_holds_a_request_that_h11_does_not_see(part):
    """Of any stream, in any split, what the front door serves is the beginning of what h11 reads: paths and bodies too."""
    served = 0
    for seed in range(part, STREAMS, PARTS):
        hostile = Hostile(seed)
        stream = hostile.stream()
        connection, _, reception = connect()

        for piece in hostile.cut(stream):
            connection.data_received(piece)

        theirs = seen_by_h11(stream)
        assert reception.requests == theirs[: len(reception.requests)], f"seed {seed}: {stream!r}"
        served += len(reception.requests)
    assert served > STREAMS // PARTS // 20, "most streams must not be junk"
