"""Any `aegis` command as a child that does not outlive its parent: `python -m aegis_stream.cli.supervised serve …`.

Used by the demonstration. The parent holds the other end of our standard input. However the parent ends, the kernel closes
it, and this process then sends itself SIGTERM.
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
