"""A receiver that passes on every body, for the reconciliation after a run, when nothing is measured."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES_MAX = 16_000_000
IDLE_S = 60.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextlib.contextmanager
def checking_receiver(take: Callable[[Sequence[bytes]], None]) -> Iterator[str]:
    """Run a receiver of NDJSON in a thread of this process until the block ends; yield its URL.

    Args:
        take: called with the lines of every request, before the 202.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = IDLE_S

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            if length > BODY_BYTES_MAX:
                self.send_error(413)
                return
            take([line for line in self.rfile.read(length).split(b"\n") if line])
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Log nothing."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/check"
        finally:
            server.shutdown()
            thread.join()
