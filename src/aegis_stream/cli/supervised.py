"""Any `aegis` command as a child that does not outlive its parent: `python -m aegis_stream.cli.supervised serve …`.

Called by the demonstration. The parent holds the other end of our standard input, and the kernel closes that however the
parent ends; then the command gets the SIGTERM that nobody else can send any more.
"""

import os
import signal
import threading

from .main import main


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main()
