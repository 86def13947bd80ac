"""What every step of the demonstration uses: the screen, the folder, the events."""

import fcntl
import io
import itertools
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from aegis_stream.domain.ids import Micros
from aegis_stream.settings import Settings

from .demo_events import demo_events
from .demo_service import StartFailed
from .input_advice import binary_advice
from .screen import Screen


class DemoOptions(NamedTuple):
    """What the command line says.

    Args:
        events: file of events, one JSON object per line; None for the built-in ones.
        port: port of the API; if it is taken, a free one is used.
        config: passed on to the service.
    """

    events: Path | None
    port: int
    config: Path | None


@dataclass(frozen=True, slots=True)
class DemoContext:
    """What all steps use."""

    settings: Settings
    screen: Screen
    folder: Path
    org_id: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def begin(self, title: str, *lines: str) -> None:
        """Show the number and the title of the next step, and what it does."""
        self.screen.say(f"{next(self._numbers)}. {title}", *lines)

    @property
    def failing(self) -> Path:
        """While this file exists, the receiver fails."""
        return self.folder / "fail"


@contextmanager
def own_folder(context: DemoContext) -> Iterator[None]:
    """Make the folder of the demonstration in the data directory, and keep it for the block.

    Raises: StartFailed when it cannot be made, or another demonstration has it: both would write the same files.
    """
    folder = context.folder
    with ExitStack() as stack:
        try:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            # The system releases the lock when the process ends, however it ends.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            context.failing.unlink(missing_ok=True)
        except BlockingIOError as error:
            raise StartFailed(
                f"another demonstration runs in {folder}: stop it, or set AEGIS_DATA_DIR to another directory"
            ) from error
        except OSError as error:
            raise StartFailed(
                f"cannot use the data directory {folder.parent}: {error.strerror}; set AEGIS_DATA_DIR to another"
            ) from error
        yield


@contextmanager
def open_events(path: Path | None) -> Iterator[BinaryIO]:
    """Open the file of events, or the built-in ones for None. Raises: StartFailed when it is no text; OSError."""
    if path is None:
        yield io.BytesIO(demo_events(Micros(time.time_ns() // 1000)))
        return
    with path.open("rb") as file:
        if (advice := binary_advice(file.peek(16).lstrip())) is not None:
            raise StartFailed(f"no event of {path} was sent: {advice}")
        yield file
