"""The peer's load generator, a program of its own: lines over TCP, closed-loop like load.lua.

Called by peer.py: `python -m bench.send_lines PORT PAGE RUN`. It counts a line as handed over when the kernel has taken
it; with flow control on the other side, nothing handed over is dropped.
"""

import socket
import sys
import time
from pathlib import Path

from .control import ACKED, BACKLOG_MAX, FIRST_SLOT, RECEIVED, SENT, STOP, Control, open_page
from .events import event_body

LINES = 100
"""Lines in one write, as many as our ingest requests carry."""
BLOCKS = 200
"""Different blocks made beforehand: the ids repeat after 20,000 lines, which is nothing to a relay."""
WAIT_S = 0.002


def send(port: int, control: Control, run: str) -> None:
    """Send until told to stop."""
    blocks = [
        b"".join(event_body(run, number) + b"\n" for number in range(start, start + LINES))
        for start in range(0, BLOCKS * LINES, LINES)
    ]
    sent = 0
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.settimeout(60)
        while not control.get(STOP):
            if sent - control.get(RECEIVED) >= control.get(BACKLOG_MAX):
                time.sleep(WAIT_S)
                continue
            connection.sendall(blocks[sent // LINES % BLOCKS])
            sent += LINES
            control.set(FIRST_SLOT + SENT, sent)
            control.set(FIRST_SLOT + ACKED, sent)
        control.set(FIRST_SLOT + SENT, -1)


if __name__ == "__main__":
    with open_page(Path(sys.argv[2])) as page:
        send(int(sys.argv[1]), page, sys.argv[3])
