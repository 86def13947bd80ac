"""A receiver whose answers a test changes while it runs.

with switch() as receiver:
    receiver.status = 401
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.serving import serving


@dataclass
class Switch:
    """The receiver.

    Args:
        status: of every answer from now on.
        credential: value of Authorization that is accepted whatever `status` says; "" for none.
        bodies: of the requests that were answered 202.
    """

    url: str
    status: int = 202
    credential: str = ""
    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def switch() -> Iterator[Switch]:
    """Run a receiver until the block ends."""
    held: list[Switch] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            (one,) = held
            body = self.rfile.read(int(self.headers["content-length"]))
            known = one.credential and self.headers["authorization"] == one.credential
            status = 202 if known else one.status
            if status == 202:
                one.bodies.append(body)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.append(Switch(f"http://127.0.0.1:{server.server_address[1]}/"))
    with serving(server):
        yield held[0]
