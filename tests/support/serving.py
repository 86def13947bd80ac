"""Runs the small HTTP receivers that tests write for themselves.

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with serving(server):
    make_destination(service, organization, f"http://127.0.0.1:{server.server_port}/in")
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer

POLL_S = 0.02
"""How often a server looks whether it is to stop, seconds: each test waits for that once."""


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    """Let a server answer on a thread until the block ends; then its socket is closed and its thread has ended.

    A handler that waits for the test must be let go before: an exception in the block may come while it waits.
    """
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": POLL_S}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
