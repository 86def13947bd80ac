"""Lines of the demonstration on standard output, written from several threads, with shortened secrets."""

import re
import threading
from typing import TextIO

SECRET_TAIL = 4
"""Characters of a secret that are shown, to tell two secrets apart."""

_KIND = re.compile(r"aegis_[a-z]{2}_")


class Screen:
    """Writes whole lines to a stream, one at a time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def say(self, *lines: str) -> None:
        """Write lines. Raises: OSError when standard output is closed."""
        text = "".join(line + "\n" for line in lines)
        encoding = self._stream.encoding or "utf-8"
        with self._lock:
            # A terminal that knows only ASCII gets escapes instead of an exception.
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()


def shorten(secret: str) -> str:
    """Return what may be shown of a secret: its kind and its last characters."""
    kind = _KIND.match(secret)
    return f"{kind[0] if kind else ''}…{secret[-SECRET_TAIL:]}"
