"""`aegis demo`: the service, a receiver and events that arrive, all on this machine, step by step.

Each step makes the call that a person would make with curl. At the end, by Ctrl-C or otherwise, only the data directory is
left.
"""

import io
import secrets
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aegis_stream.domain.ids import Micros, new_secret
from aegis_stream.domain.organization import OPERATOR_KEY_PREFIX
from aegis_stream.errors import AegisError
from aegis_stream.settings import Settings

from .client import Client
from .demo_events import demo_events
from .demo_next import say_what_next, write_keys
from .demo_receiver import Arrivals, Receiving, receiving
from .demo_service import POLL_S, StartFailed, local_service, serve_command
from .demo_steps import (
    Account,
    DemoContext,
    make_destination,
    make_ingest_key,
    make_organization,
    send_events,
    test_destination,
)
from .input_advice import binary_advice
from .screen import Screen, shorten

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_demo(settings: Settings, events: Path | None, port: int, config: Path | None) -> int:
    """Run the demonstration until SIGINT, SIGTERM or SIGHUP.

    Args:
        events: file of events, one JSON object per line; None for the built-in ones.
        port: port of the API; if it is taken, a free one is used.
        config: passed on to the service.
    Returns: 0 after a signal, if every event was stored and arrived; 1, after a message, if something could not start,
        ended by itself, was rejected or did not arrive. No process is left, and no secret on disk except those of the
        data directory.
    """
    context = DemoContext(
        settings,
        Screen(sys.stdout),
        settings.store.data_dir.absolute() / "demo",
        f"org_demo_{uuid.uuid4().hex[:8]}",
    )
    all_well = True
    try:
        with ExitStack() as stack:
            stack.callback(context.screen.say, "Stopped.")
            stack.enter_context(_signals_blocked_at_the_end())
            running = _play(context, stack, (events, port, config))
            all_well = running.all_arrived
            running.watch()
    except KeyboardInterrupt:
        return 0 if all_well else 1
    except BrokenPipeError:
        raise  # standard output is closed: main() handles that
    except (AegisError, OSError) as error:
        print(f"aegis demo: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 1


@dataclass(frozen=True, slots=True)
class _Running:
    """What runs after the last step."""

    service: subprocess.Popen[bytes]
    log: Path
    receiving: Receiving
    arrivals: Arrivals
    all_arrived: bool

    def watch(self) -> None:
        """Show what arrives from now on. Raises: StartFailed when service or receiver ends by itself."""
        while self.service.poll() is None and self.receiving.thread.is_alive():
            self.arrivals.settle()
            time.sleep(POLL_S)
        who = "the receiver" if self.service.poll() is None else "the service"
        raise StartFailed(f"{who} ended unexpectedly: see the log of the service, {self.log}")


def _play(context: DemoContext, stack: ExitStack, options: tuple[Path | None, int, Path | None]) -> _Running:
    """Do all steps in order; what must be undone at the end goes on the stack."""
    events, port, config = options
    screen, settings = context.screen, context.settings
    _make_folder(context)
    source = stack.enter_context(_open_events(events))
    operator_key = settings.secrets.operator_key or new_secret(OPERATOR_KEY_PREFIX, secrets.token_bytes(32))
    bearer = secrets.token_hex(16)
    arrivals = Arrivals(screen, context.org_id, time.monotonic)

    screen.say("1. Start a receiver with TLS", f"   $ aegis receiver --tls --bearer {shorten(bearer)}")
    fails: Callable[[], bool] = context.failing.exists
    receiver = stack.enter_context(
        receiving(arrivals, bearer=bearer, folder=context.folder / "tls", fails=fails)
    )
    screen.say(f"   listens on {receiver.url}", "")

    screen.say("2. Start the service", *serve_command(settings, port, config))
    log = context.folder / "service.log"
    service = stack.enter_context(local_service(settings, config, operator_key, log))
    service.start(port)
    url = service.wait_for_url(port)
    screen.say(f"   answers on {url}, logs to {log}", "")

    api_key = make_organization(context, url, operator_key)
    with Client(url, api_key, context.org_id) as client:
        admin = Account(client, shorten(api_key))
        ingest_key = make_ingest_key(context, admin)
        destination = make_destination(context, admin, receiver, bearer)
        test_destination(context, admin, destination["id"])
        all_arrived = send_events(context, (url, ingest_key), source, arrivals, service.process)
    write_keys(context, stack, url, api_key)
    say_what_next(
        context, url, destination["id"], receiver, next(reversed(arrivals.fingerprints), "EVENT_ID")
    )
    return _Running(service.process, log, receiver, arrivals, all_arrived)


def _make_folder(context: DemoContext) -> None:
    try:
        context.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        context.folder.mkdir(mode=0o700, exist_ok=True)
        context.failing.unlink(missing_ok=True)
    except OSError as error:
        raise StartFailed(
            f"cannot use the data directory {context.folder.parent}: {error.strerror}; set AEGIS_DATA_DIR to another"
        ) from error


@contextmanager
def _open_events(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield io.BytesIO(demo_events(Micros(time.time_ns() // 1000)))
        return
    with path.open("rb") as file:
        if (advice := binary_advice(file.peek(16).lstrip())) is not None:
            raise StartFailed(f"no event of {path} was sent: {advice}")
        yield file


@contextmanager
def _signals_blocked_at_the_end() -> Iterator[None]:
    """Let the first signal interrupt the block, and ignore further ones during the cleanup after it."""

    def interrupt(*_: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
