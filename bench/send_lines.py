"""The peer's load generator, a separate program: lines over TCP, a closed loop like load.lua.

peer.py starts it: `python -m bench.send_lines PORT PAGE RUN`. It counts a line as sent when the kernel has accepted it; with
flow control on the other side, no such line is dropped.
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
"""Blocks that are prepared: the ids repeat after 20,000 lines, which a relay does not notice."""
WAIT_S = 0.002


def send(port: int, control: Control, run: str) -> None:
    """Send until the page says stop."""
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
