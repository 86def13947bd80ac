"""Streams of bytes that two HTTP parsers could read differently, made from a seed."""

from random import Random

METHODS = [b"GET", b"POST", b"HEAD", b"PUT", b"CONNECT", b"OPTIONS", b"get", b"P\x00ST", b"", b"GET "]
TARGETS = [
    b"/",
    b"/a",
    b"/api/orgs/x/events",
    b"*",
    b"http://h/a",
    b"http://h",
    b"a",
    b"/a b",
    b"/\xff",
    b"/a#b",
    b"h:443",
    b"",
]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"HTTP/11", b""]
ENDS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\x0b\r\n"]
HOSTS = [b"Host: x", b"Host:x", b"host : x", b"Host: a b", b"Host: x\r\nHost: y", b"Host:"]
LENGTHS = [
    *[b"Content-Length: %d"] * 12,
    b"Content-Length:%d",
    b"content-length:  %d ",
    b"Content-Length: +%d",
    b"Content-Length: 0%d",
    b"Content-Length : %d",
    b"Content-Length: %d, %d",
    b"Content-Length: %d\r\nContent-Length: %d",
    b"Content-Length: %d\r\nContent-Length: 0",
    b"Content-Length: 0x%d",
    b"Content-Length: -%d",
    b"Content-Length\t: %d",
    b" Content-Length: %d",
    b"Content-Length: %d\x00",
    b"X: y\r\n Content-Length: %d",
]
CODINGS = [
    *[b"Transfer-Encoding: chunked"] * 10,
    b"Transfer-Encoding: Chunked",
    b"transfer-encoding:\tchunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer_Encoding: chunked",
]
OTHERS = [
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: Upgrade\r\nUpgrade: h2c",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket",
    b"Upgrade: TLS/1.0",
    b"Expect: 100-continue",
    b"Expect: x",
    b"X: y",
    b"X:",
    b"X",
    b": y",
    b"X\x00: y",
    b"X: a\x00b",
    b"X: a\rb",
    b"X: \xff",
    b"\tfold",
]
SIZES = [b"%x", b"%X", b"0%x", b"%x ", b"%x;ext=1", b" %x", b"0x%x", b"-%x", b"+%x", b"%x_"]
LAST_CHUNKS = [b"0", b"00", b"", b"0;x", b"0 "]
TRAILERS = [b"X: y\r\n", b"bad\r\n", b"Content-Length: 5\r\n", b" fold\r\n", b"X : y\r\n"]
INNER = b"POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


class Hostile:
    """Makes streams; the first of each list is the honest one, and comes most often."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def stream(self) -> bytes:
        """Return one to four requests, honest or not, some with a byte changed."""
        before = (b"", b"\r\n", b"\n", b"\r\n\r\n")
        count = self.random.randint(1, 4)
        whole = b"".join(self._mostly(before, 0.9) + self._request() for _ in range(count))
        if self.random.random() < 0.2:
            at = self.random.randrange(len(whole))
            whole = whole[:at] + bytes([self.random.randrange(256)]) + whole[at + 1 :]
        return whole

    def cut(self, stream: bytes) -> list[bytes]:
        """Cut a stream into segments as a network might."""
        if self.random.random() < 0.5:
            return [stream]
        pieces, at = [], 0
        while at < len(stream):
            size = self.random.choice((1, 1, 2, 3, 7, 50))
            pieces.append(stream[at : at + size])
            at += size
        return pieces

    def _mostly(self, choices, share: float) -> bytes:
        return choices[0] if self.random.random() < share else self.random.choice(choices)

    def _end(self) -> bytes:
        return self._mostly(ENDS, 0.98)

    def _request(self) -> bytes:
        random = self.random
        bodies = (
            b"",
            b"{}",
            INNER,
            INNER * 2,
            b"x" * random.randint(0, 50),
            b"0\r\n\r\n" + INNER,
            b"\r\n",
            b"\n" + INNER,
        )
        body, headers = random.choice(bodies), []
        if random.random() < 0.95:
            headers.append(self._mostly(HOSTS, 0.9))
        framing = random.random()
        if framing < 0.45:
            length = max(0, len(body) + random.choice([0] * 12 + [1, -1, -2, 5]))
            headers.append(random.choice(LENGTHS).replace(b"%d", b"%d" % length))
        elif framing < 0.85:
            headers.append(random.choice(CODINGS))
            body = self._chunked(body)
        headers += [random.choice(OTHERS) for _ in range(random.choice((0, 0, 1, 2)))]
        random.shuffle(headers)
        blank = (b" ", b"  ", b"\t", b"")
        line = (
            self._mostly(METHODS, 0.6)
            + self._mostly(blank, 0.97)
            + self._mostly(TARGETS, 0.5)
            + self._mostly(blank, 0.97)
        )
        lines = [line + self._mostly(VERSIONS, 0.85), *headers, b""]
        return b"".join(one + self._end() for one in lines) + body

    def _chunked(self, body: bytes) -> bytes:
        whole = b""
        while body:
            size = self.random.randint(1, len(body))
            written = self._mostly(SIZES, 0.9) % size
            whole += written + self._end() + body[:size] + self._end()
            body = body[size:]
        whole += self._mostly(LAST_CHUNKS, 0.9) + self._end()
        if self.random.random() < 0.2:
            whole += self._mostly(TRAILERS, 0.4)
        return whole + self._end()
