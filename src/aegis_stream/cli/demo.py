"""`aegis demo`: the service, a receiver and events that arrive, all on this machine, step by step.

Each step makes the call that a person would make with curl. At the end, by Ctrl-C or otherwise, only the data directory is
left.
"""

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

from aegis_stream.domain.ids import new_secret
from aegis_stream.domain.organization import OPERATOR_KEY_PREFIX
from aegis_stream.errors import AegisError
from aegis_stream.settings import Settings

from .client import Client
from .demo_context import DemoContext, DemoOptions, open_events, own_folder
from .demo_copy import ReceivedCopy
from .demo_next import make_console_link, say_what_next, write_keys
from .demo_proof import Proving, prove, seal_in_stream, send_what_was_before
from .demo_receiver import Arrivals, Receiving, receiving
from .demo_service import POLL_S, SEALED, StartFailed, choose_port, local_service, networks_of, serve_command
from .demo_steps import (
    Account,
    make_destination,
    make_ingest_key,
    make_organization,
    send_events,
    test_destination,
)
from .screen import Screen, shorten

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_demo(settings: Settings, options: DemoOptions, *, nodes: bool = False) -> int:
    """Run the demonstration until SIGINT, SIGTERM or SIGHUP.

    Args:
        nodes: show two nodes on a PostgreSQL instead; that ends by itself.
    Returns: 0 after a signal or at the end, if every event was stored and arrived; 1, after a message, if something could not start,
        ended by itself, was rejected, did not arrive or could not be proven. No process is left, and no secret on disk except those of the
        data directory.
    """
    url = settings.store.database_url
    if url is not None and url.is_postgres:
        print(  # noqa: T201
            "aegis demo: AEGIS_DATABASE_URL names a PostgreSQL database, and this would fill it with organizations and events of "
            "its own: unset it",
            file=sys.stderr,
        )
        return 1
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
            if nodes:
                from .demo_nodes import play_nodes  # noqa: PLC0415 - knows what PostgreSQL needs

                return 0 if play_nodes(context, stack, options) else 1
            running = _play(context, stack, options)
            all_well = running.all_well
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
    all_well: bool

    def watch(self) -> None:
        """Show what arrives from now on. Raises: StartFailed when service or receiver ends by itself."""
        while self.service.poll() is None and self.receiving.thread.is_alive():
            self.arrivals.settle()
            time.sleep(POLL_S)
        who = "the receiver" if self.service.poll() is None else "the service"
        raise StartFailed(f"{who} ended unexpectedly: see the log of the service, {self.log}")


def _play(context: DemoContext, stack: ExitStack, options: DemoOptions) -> _Running:
    """Do all steps in order; what must be undone at the end goes on the stack."""
    events, port, config = options
    screen, settings = context.screen, context.settings
    stack.enter_context(own_folder(context))
    source = stack.enter_context(open_events(events))
    operator_key = settings.secrets.operator_key or new_secret(OPERATOR_KEY_PREFIX, secrets.token_bytes(32))
    bearer = secrets.token_hex(16)
    arrivals = Arrivals(screen, context.org_id, time.monotonic)

    context.begin("Start a receiver with TLS", f"   $ aegis receiver --tls --bearer {shorten(bearer)}")
    fails: Callable[[], bool] = context.failing.exists
    copy = stack.enter_context(ReceivedCopy(context.folder / "received.ndjson"))
    receiver = stack.enter_context(
        receiving(arrivals, bearer=bearer, folder=context.folder / "tls", fails=fails, copy=copy)
    )
    screen.say(f"   listens on {receiver.url}", "")

    context.begin("Start the service")
    port = choose_port(screen, port)
    screen.say(*serve_command(settings, port, config))
    log = context.folder / "service.log"
    variables = {
        "AEGIS_DATA_DIR": str(settings.store.data_dir.absolute()),
        "AEGIS_ALLOWED_NETWORKS": networks_of(settings),
        "AEGIS_OPERATOR_KEY": operator_key,
        **SEALED,
    }
    service = stack.enter_context(local_service(config, variables, log))
    service.start(port)
    url = service.wait_for_url(port)
    screen.say(f"   answers on {url}, logs to {log}", "")

    api_key = make_organization(context, url, operator_key)
    seal_in_stream(context, variables, config)
    with Client(url, api_key, context.org_id) as client:
        admin = Account(client, shorten(api_key))
        ingest_key = make_ingest_key(context, admin)
        destination = make_destination(context, admin, receiver, bearer)
        test_destination(context, admin, destination["id"])
        send_what_was_before(context, admin, destination["id"], service.is_running)
        sent, all_arrived = send_events(context, (url, ingest_key), source, arrivals, service.process)
        proving = Proving(copy, destination["id"], tuple(sent.stored))
        all_proven = prove(context, admin, proving, service.is_running)
        opens = make_console_link(client)
    write_keys(context, stack, url, api_key)
    say_what_next(context, (url, opens), destination["id"], receiver, proving.ids[-1])
    return _Running(service.process, log, receiver, arrivals, all_arrived and all_proven)


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
