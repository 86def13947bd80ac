"""How a process of ours begins and ends: its limits, and what makes it stop."""

import asyncio
import gc
import os
import resource
import signal

from aegis_stream.settings import Settings

FILES_BESIDE = 4096
"""Open files a process needs beside its clients' connections: databases, and a worker's connections to destinations."""


def raise_rlimits(files: int = 0) -> None:
    """Let this process have as many files open as it may need, and leave no image of its memory when it crashes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files + FILES_BESIDE
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))


def check_ca_bundle(settings: Settings) -> None:
    """Read the file that AEGIS_CA_BUNDLE names, if it names one: a wrong one stops the start. Raises: Misconfigured."""
    if settings.egress.ca_bundle is not None:
        from aegis_stream.wiring.outbound import make_trust  # noqa: PLC0415 - the API starts faster without the sender

        make_trust(settings).context(None)


GARBAGE_THRESHOLDS = 20_000, 20, 50
"""New objects between two searches for garbage, and how many searches of one generation lead to one of the next. With the
interpreter's own (700, 10, 10) the searches cost a tenth of an ingest request, and find nothing: cycles are rare here."""


def freeze() -> None:
    """Take what was made at the start out of the garbage collector's sight, and let it look less often at the rest.

    The command that started this process has switched the collector off: what a start loads is no garbage.
    """
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()


def stop_on_signals(at_once: asyncio.Event | None = None) -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set; a second one of them sets `at_once`."""
    stop = asyncio.Event()

    def note() -> None:
        if stop.is_set() and at_once is not None:
            at_once.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, note)
    return stop


def stop_on_end_of_input(*stop: asyncio.Event) -> None:
    """End with the supervisor: it holds the other end of our standard input, and the kernel closes that in any case."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            for one in stop:
                one.set()

    loop.add_reader(0, read)
