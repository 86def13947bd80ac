"""A SQLite database file, opened for reading alone (protocol ReadOnlyDatabase)."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import apsw

from aegis_stream.domain.ids import Micros
from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.store.database import Schema, Unit
from aegis_stream.store.suitability import Demands, Finding

from .connect import BUSY_TIMEOUT_MS, refuse_unsuitable
from .schema import migrations
from .unit import on_snapshot

T = TypeVar("T")

_STEPS_BETWEEN_LOOKS = 100_000
"""Instructions of SQLite's machine between two looks at the time: some milliseconds."""
FAULTS_SHOWN_MAX = 5


class _NoClock:
    """A read-only database judges no lease."""

    def now(self) -> Micros:
        raise AssertionError("a read-only database judges no lease")

    steady = now


class ReadOnlySqlite:
    """A database file that is only read.

    Args:
        path: of the file, which exists.
    Raises: Unavailable when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        uri = f"file:{quote(str(path.resolve()))}?mode=ro"
        with _readable():
            self._raw = apsw.Connection(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        self._raw.set_busy_timeout(BUSY_TIMEOUT_MS)
        try:
            with _readable():
                self.schema = Schema(int(self._raw.pragma("user_version") or 0), migrations()[-1][0])
        except Unavailable:
            self._raw.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def read_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot. Raises: Unavailable when the file cannot be read."""
        with _readable():
            return on_snapshot(self._raw, _NoClock(), work)

    def suitability(self, _demands: Demands, _clock: Callable[[], Micros]) -> tuple[Finding, ...]:
        """Tell what SQLite cannot be trusted on: see the protocol."""
        try:
            refuse_unsuitable(self._path)
        except Misconfigured as error:
            return (Finding("database", "refuse", error.message, "do this before the next start"),)
        return ()

    def quick_check(self, seconds_max: float) -> list[str] | None:
        """Let SQLite check the file.

        Returns: what is wrong with it, some faults at most; None when the time was over before the end.
        """
        deadline = time.monotonic() + seconds_max
        self._raw.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
        try:
            rows = self._raw.execute(f"PRAGMA quick_check({FAULTS_SHOWN_MAX:d})").fetchall()
        except apsw.InterruptError:
            return None
        except apsw.Error as error:
            return [str(error)]
        finally:
            self._raw.set_progress_handler(None)
        return [str(text) for (text,) in rows if text != "ok"]


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Turn what SQLite says of a file that it cannot read into our error. Raises: Unavailable."""
    try:
        yield
    except apsw.Error as error:
        raise Unavailable(f"the database cannot be read: {error}", code="store-unreadable") from error
