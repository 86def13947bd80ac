"""`aegis demo`: the service, a receiver and events that arrive, all on this machine, step by step.

Everything goes the way that a person would go with curl; demo_receiver.py is the other end. When it ends, by Ctrl-C or
otherwise, nothing is left but the data directory.
"""

import io
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote

from aegis_stream.domain.ids import Micros, new_secret
from aegis_stream.domain.organization import OPERATOR_KEY_PREFIX
from aegis_stream.errors import AegisError
from aegis_stream.receiver import event_id
from aegis_stream.settings import Settings

from .client import Client
from .demo_events import demo_events
from .demo_receiver import Arrivals, Print, Receiving, print_of, receiving
from .demo_service import LOOK_S, START_S, StartFailed, local_service, serve_command
from .screen import Screen, shorten
from .sending import Dispatch, Line, read_batches

SILENCE_S = 30.0
"""Events that have not arrived after this much silence are given up, seconds."""
REJECTIONS_SHOWN_MAX = 12
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RETRY = {"max_attempts": 3, "base_seconds": 2, "multiplier": 2, "max_seconds": 10}
"""Quicker than the default, so that one can watch it."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """What all steps stand on."""

    settings: Settings
    screen: Screen
    folder: Path
    org_id: str

    @property
    def failing(self) -> Path:
        """The file whose presence makes the receiver fail."""
        return self.folder / "fail"


class _Account(NamedTuple):
    """What calls the API, and its key as it may be shown."""

    client: Client
    shown_key: str


def run_demo(settings: Settings, events: Path | None, port: int, config: Path | None) -> int:
    """Run the demonstration until SIGINT, SIGTERM or SIGHUP.

    Args:
        events: NDJSON file of the person's own; None for a few built-in ones.
        port: of the API; another one is taken when it is not free.
        config: handed on to the service.
    Returns: 0 after a signal, when all events arrived; 1, after a message, when something could not be started, ended
        by itself or did not arrive. No process is left, and no secret on disk but those of the data directory.
    """
    stage = _Stage(
        settings,
        Screen(sys.stdout),
        settings.store.data_dir.absolute() / "demo",
        f"org_demo_{uuid.uuid4().hex[:8]}",
    )
    all_well = True
    try:
        with ExitStack() as stack:
            stack.callback(stage.screen.say, "Stopped.")
            stack.enter_context(_deaf_to_signals_at_the_end())
            running = _play(stage, stack, (events, port, config))
            all_well = running.all_arrived
            running.watch()
    except KeyboardInterrupt:
        return 0 if all_well else 1
    except BrokenPipeError:
        raise  # nobody reads what we say: main() knows how to end then
    except (AegisError, OSError) as error:
        print(f"aegis demo: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 1


@dataclass(frozen=True, slots=True)
class _Running:
    """Everything, after the last step."""

    service: subprocess.Popen[bytes]
    log: Path
    receiving: Receiving
    arrivals: Arrivals
    all_arrived: bool

    def watch(self) -> None:
        """Show what arrives from now on. Raises: StartFailed when service or receiver ends by itself."""
        while self.service.poll() is None and self.receiving.thread.is_alive():
            self.arrivals.settle()
            time.sleep(LOOK_S)
        who = "the receiver" if self.service.poll() is None else "the service"
        raise StartFailed(f"{who} has ended by itself; the service's log is {self.log}")


def _play(stage: _Stage, stack: ExitStack, wishes: tuple[Path | None, int, Path | None]) -> _Running:
    """Do all steps, one after the other; what must be undone at the end goes on the stack."""
    events, port, config = wishes
    screen, settings = stage.screen, stage.settings
    _make_folder(stage)
    source = stack.enter_context(_open_events(events))
    operator_key = settings.secrets.operator_key or new_secret(OPERATOR_KEY_PREFIX, secrets.token_bytes(32))
    bearer = secrets.token_hex(16)
    arrivals = Arrivals(screen, stage.org_id, time.monotonic)

    screen.say("1. A receiver, over TLS", f"   $ aegis receiver --tls --bearer {shorten(bearer)}")
    fails: Callable[[], bool] = stage.failing.exists
    receiver = stack.enter_context(
        receiving(arrivals, bearer=bearer, folder=stage.folder / "tls", fails=fails)
    )
    screen.say(f"   listens on {receiver.url}", "")

    screen.say("2. The service", *serve_command(settings, port, config))
    log = stage.folder / "service.log"
    service = stack.enter_context(local_service(settings, config, operator_key, log))
    service.start(port)
    url = service.wait_for_url(port)
    screen.say(f"   answers on {url}, its log is {log}", "")

    api_key = _make_organization(stage, url, operator_key)
    with Client(url, api_key, stage.org_id) as client:
        admin = _Account(client, shorten(api_key))
        ingest_key = _make_ingest_key(stage, admin)
        destination = _make_destination(stage, admin, receiver, bearer)
        _press_test(stage, admin, destination["id"])
        all_arrived = _send(stage, (url, ingest_key), source, arrivals, service.process)
    _write_keys(stage, stack, url, api_key)
    _say_what_next(stage, url, destination["id"], receiver, _newest_id(arrivals))
    return _Running(service.process, log, receiver, arrivals, all_arrived)


def _make_folder(stage: _Stage) -> None:
    try:
        stage.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stage.folder.mkdir(mode=0o700, exist_ok=True)
        stage.failing.unlink(missing_ok=True)
    except OSError as error:
        raise StartFailed(f"AEGIS_DATA_DIR {stage.folder.parent} cannot be used: {error.strerror}") from error


@contextmanager
def _open_events(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield io.BytesIO(demo_events(Micros(time.time_ns() // 1000)))
        return
    with path.open("rb") as file:
        yield file


@contextmanager
def _deaf_to_signals_at_the_end() -> Iterator[None]:
    """Let signals interrupt what happens inside, but not the cleaning up behind it."""

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


# ── the steps of a user ──


def _make_organization(stage: _Stage, url: str, operator_key: str) -> str:
    body = {"name": "Demo", "id": stage.org_id}
    stage.screen.say(
        "3. An organization (by the operator's key) and its admin key",
        *_curl(f"{url}/api/orgs", shorten(operator_key), body),
    )
    with Client(url, operator_key) as operator:
        made = operator.call("POST", "/api/orgs", body=body)
    key: str = made["api_key"]
    _say_answer(stage, {"org_id": made["org_id"], "api_key": shorten(key)})
    return key


def _make_ingest_key(stage: _Stage, admin: _Account) -> str:
    body = {"name": "demo", "scope": "ingest"}
    path = admin.client.org_path("api-keys")
    stage.screen.say(
        "4. A key that may only bring events", *_curl(admin.client.url + path, admin.shown_key, body)
    )
    made = admin.client.call("POST", path, body=body)
    key: str = made["api_key"]
    _say_answer(stage, {"id": made["id"], "scope": made["scope"], "api_key": shorten(key)})
    return key


def _make_destination(stage: _Stage, admin: _Account, receiver: Receiving, bearer: str) -> dict[str, Any]:
    body = {
        "name": "Demo receiver",
        "url": f"{receiver.url}audit",
        "auth_header_name": "Authorization",
        "auth_header_value": f"Bearer {bearer}",
        "ca_certificate": receiver.ca_certificate.read_text(encoding="ascii"),
        "retry": RETRY,
    }
    path = admin.client.org_path("forwarding-destinations")
    shown = body | {"auth_header_value": f"Bearer {shorten(bearer)}", "ca_certificate": "-----BEGIN …"}
    stage.screen.say("5. A destination", *_curl(admin.client.url + path, admin.shown_key, shown))
    made: dict[str, Any] = admin.client.call("POST", path, body=body)
    _say_answer(stage, {name: made[name] for name in ("id", "url", "status", "auth_header_set")})
    return made


def _press_test(stage: _Stage, admin: _Account, destination_id: str) -> None:
    path = admin.client.org_path("forwarding-destinations", destination_id, "test")
    stage.screen.say("6. Its test button", *_curl(admin.client.url + path, admin.shown_key, None))
    answer = admin.client.call("POST", path)
    _say_answer(stage, answer)
    if not answer["ok"]:
        raise StartFailed(f"the test event was not taken: {answer.get('error')}")


def _send(
    stage: _Stage,
    account: tuple[str, str],
    source: BinaryIO,
    arrivals: Arrivals,
    service: subprocess.Popen[bytes],
) -> bool:
    """Send the events, wait until they are there, and compare. Returns: whether all of them are, and equal."""
    url, ingest_key = account
    name = getattr(source, "name", "built-in events")
    stage.screen.say(
        f"7. Events: {name}",
        f"   $ curl -sS {url}/api/orgs/{stage.org_id}/events -H 'Authorization: Bearer {shorten(ingest_key)}' \\",
        "     -H 'Content-Type: application/x-ndjson' --data-binary @events.ndjson",
    )
    expected: dict[str, Print] = {}

    def expect(lines: list[Line]) -> None:
        for line in lines:
            event = json.loads(line.body)
            expected.setdefault(str(event_id(event)), print_of(event, stage.org_id))

    with Client(url, ingest_key, stage.org_id) as client:
        dispatch = Dispatch(
            client=client,
            retry_for_s=START_S,
            make_id=lambda: f"evt_{uuid.uuid4().hex}",
            now_s=time.monotonic,
            sleep=time.sleep,
            note=lambda text: stage.screen.say(f"   {text}"),
            on_taken=expect,
        )
        for batch in read_batches(source):
            dispatch.send(batch)
    _wait_for(arrivals, expected, service)
    arrivals.begin_anew()
    summary = dispatch.summary
    arrived = {event_id: arrivals.prints[event_id] for event_id in expected if event_id in arrivals.prints}
    equal = sum(_is_same(expected[event_id], came) for event_id, came in arrived.items())
    all_equal = equal == len(expected)
    stage.screen.say(
        "",
        f"   sent {summary.sent:,}   stored {len(expected):,}   arrived {len(arrived):,}   equal {equal:,}"
        + (
            "   all equal"
            if all_equal
            else "   NOT ALL ARRIVED: see aegis dead-letter list, and the service's log"
        ),
        *(f"   line {one.line} was rejected: {one.error}" for one in summary.rejected[:REJECTIONS_SHOWN_MAX]),
        "",
    )
    return all_equal


def _wait_for(arrivals: Arrivals, expected: dict[str, Print], service: subprocess.Popen[bytes]) -> None:
    began_s = time.monotonic()
    while len(arrivals.prints) < len(expected) or not expected.keys() <= arrivals.prints.keys():
        if time.monotonic() - max(began_s, arrivals.last_s) > SILENCE_S or service.poll() is not None:
            return
        time.sleep(LOOK_S)


def _is_same(sent: Print, came: Print) -> bool:
    return sent.digest == came.digest and sent.timestamp in (None, came.timestamp)


def _newest_id(arrivals: Arrivals) -> str:
    return next(reversed(arrivals.prints), "EVENT_ID")


def _curl(url: str, shown_key: str, body: object | None) -> tuple[str, ...]:
    """Return the command that does the same, with secrets cut short."""
    first, second = f"   $ curl -sS -X POST {url} \\", f"     -H 'Authorization: Bearer {shown_key}'"
    if body is None:
        return first, second
    text = json.dumps(body, ensure_ascii=False)
    return first, f"{second} \\", f"     -H 'Content-Type: application/json' -d {shlex.quote(text)}"


def _say_answer(stage: _Stage, answer: object) -> None:
    stage.screen.say(f"   {json.dumps(answer, ensure_ascii=False)}", "")


# ── what to try next ──


def _write_keys(stage: _Stage, stack: ExitStack, url: str, api_key: str) -> None:
    """Put the key where commands can find it, for as long as the demonstration runs."""
    files = {
        "auth-header": f"Authorization: Bearer {api_key}\n",
        "env": f"export AEGIS_URL={url} AEGIS_API_KEY={api_key}\n",
    }
    for name, text in files.items():
        path = stage.folder / name
        path.unlink(missing_ok=True)
        stack.callback(path.unlink, missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    stack.callback(stage.failing.unlink, missing_ok=True)


def _say_what_next(stage: _Stage, url: str, destination_id: str, receiver: Receiving, event_id: str) -> None:
    base = f"{url}/api/orgs/{stage.org_id}"
    header = shlex.quote(f"@{stage.folder / 'auth-header'}")
    failing, env = shlex.quote(str(stage.failing)), shlex.quote(str(stage.folder / "env"))
    decision = json.dumps({"decision": "BLOCKED", "destination": "VENDOR", "summary": "Two card numbers."})
    redrive = f"{base}/forwarding-destinations/{destination_id}/dead-letters/redrive"
    json_type = "-H 'Content-Type: application/json'"
    stage.screen.say(
        f"API documentation: {url}/docs",
        "",
        "Try next, in another terminal:",
        "   # record an event; it shows up here",
        f"   curl -sS {base}/preflight-decisions -H {header} {json_type} -d '{decision}'",
        "   # list the destinations",
        f"   curl -sS {base}/forwarding-destinations -H {header}",
        "   # what became of an event",
        f"   curl -sS {base}/events/{quote(event_id, safe='')} -H {header}",
        "   # what the receiver has counted",
        f"   curl -sS --cacert {shlex.quote(str(receiver.ca_certificate))} {receiver.url}",
        "   # make the receiver fail, record another event, and watch it retry until it is a dead letter",
        f"   touch {failing}",
        "   # heal it, and send dead letters again",
        f"   rm {failing}; curl -sS -X POST {redrive} -H {header} {json_type} -d '{{}}'",
        "   # the same with the command line",
        f"   . {env}; aegis destination show {destination_id} --org {stage.org_id}",
        f"   . {env}; aegis event tail --org {stage.org_id}",
        "",
        "Runs until Ctrl-C.",
    )
