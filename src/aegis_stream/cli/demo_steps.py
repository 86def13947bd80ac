"""The steps of the demonstration that call the API: organization, key, destination, test, events."""

import json
import shlex
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from aegis_stream.receiver import event_id
from aegis_stream.settings import Settings

from .client import Client
from .demo_receiver import Arrivals, Fingerprint, Receiving, fingerprint_of
from .demo_service import POLL_S, START_S, StartFailed
from .input_advice import advice_on
from .screen import Screen, shorten
from .sending import Dispatch, Line, Summary, read_batches

SILENCE_S = 30.0
"""After this much silence, events that have not arrived count as lost, seconds."""
REJECTIONS_SHOWN_MAX = 12
RETRY = {"max_attempts": 3, "base_seconds": 2, "multiplier": 2, "max_seconds": 10}
"""Shorter delays than the default, so that a person can watch retries."""


@dataclass(frozen=True, slots=True)
class DemoContext:
    """What all steps use."""

    settings: Settings
    screen: Screen
    folder: Path
    org_id: str

    @property
    def failing(self) -> Path:
        """While this file exists, the receiver fails."""
        return self.folder / "fail"


class Account(NamedTuple):
    """A client of the API, and its key as it may be shown."""

    client: Client
    shown_key: str


def make_organization(context: DemoContext, url: str, operator_key: str) -> str:
    """Create the organization. Returns: its admin key."""
    body = {"name": "Demo", "id": context.org_id}
    context.screen.say(
        "3. Create an organization and its admin key, with the operator key",
        *_curl(f"{url}/api/orgs", shorten(operator_key), body),
    )
    with Client(url, operator_key) as operator:
        made = operator.call("POST", "/api/orgs", body=body)
    key: str = made["api_key"]
    _say_answer(context, {"org_id": made["org_id"], "api_key": shorten(key)})
    return key


def make_ingest_key(context: DemoContext, admin: Account) -> str:
    """Create a key for events. Returns: its text."""
    body = {"name": "demo", "scope": "ingest"}
    path = admin.client.org_path("api-keys")
    context.screen.say(
        "4. Create a key that can only send events", *_curl(admin.client.url + path, admin.shown_key, body)
    )
    made = admin.client.call("POST", path, body=body)
    key: str = made["api_key"]
    _say_answer(context, {"id": made["id"], "scope": made["scope"], "api_key": shorten(key)})
    return key


def make_destination(
    context: DemoContext, admin: Account, receiver: Receiving, bearer: str
) -> dict[str, Any]:
    """Create a destination for the receiver. Returns: it, as the API answers."""
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
    context.screen.say("5. Create a destination", *_curl(admin.client.url + path, admin.shown_key, shown))
    made: dict[str, Any] = admin.client.call("POST", path, body=body)
    _say_answer(context, {name: made[name] for name in ("id", "url", "status", "auth_header_set")})
    return made


def test_destination(context: DemoContext, admin: Account, destination_id: str) -> None:
    """Send the test event. Raises: StartFailed when the receiver does not accept it."""
    path = admin.client.org_path("forwarding-destinations", destination_id, "test")
    context.screen.say("6. Test the destination", *_curl(admin.client.url + path, admin.shown_key, None))
    answer = admin.client.call("POST", path)
    _say_answer(context, answer)
    if not answer["ok"]:
        raise StartFailed(f"the receiver did not accept the test event: {answer.get('error')}")


def send_events(
    context: DemoContext,
    account: tuple[str, str],
    source: BinaryIO,
    arrivals: Arrivals,
    service: subprocess.Popen[bytes],
) -> bool:
    """Send the events, wait until they arrive, and compare them.

    Returns: True if every event was stored, arrived, and is equal.
    Raises: StartFailed when not one event was stored.
    """
    url, ingest_key = account
    name = getattr(source, "name", "built-in events")
    context.screen.say(
        f"7. Send events: {name}",
        f"   $ curl -sS {url}/api/orgs/{context.org_id}/events -H 'Authorization: Bearer {shorten(ingest_key)}' \\",
        "     -H 'Content-Type: application/x-ndjson' --data-binary @events.ndjson",
    )
    expected: dict[str, Fingerprint] = {}

    def expect(lines: list[Line]) -> None:
        for line in lines:
            event = json.loads(line.body)
            expected.setdefault(str(event_id(event)), fingerprint_of(event, context.org_id))

    first_line = b""
    with Client(url, ingest_key, context.org_id) as client:
        dispatch = Dispatch(
            client=client,
            retry_for_s=START_S,
            make_id=lambda: f"evt_{uuid.uuid4().hex}",
            now_s=time.monotonic,
            sleep=time.sleep,
            note=lambda text: context.screen.say(f"   {text}"),
            on_stored=expect,
        )
        for batch in read_batches(source):
            first_line = first_line or batch[0].body
            dispatch.send(batch)
    _wait_for(arrivals, expected, service)
    arrivals.start_new_burst()
    return _compare(context, dispatch.summary, expected, (arrivals, name, first_line))


def _wait_for(arrivals: Arrivals, expected: dict[str, Fingerprint], service: subprocess.Popen[bytes]) -> None:
    began_s = time.monotonic()
    while len(arrivals.fingerprints) < len(expected) or not expected.keys() <= arrivals.fingerprints.keys():
        if time.monotonic() - max(began_s, arrivals.last_s) > SILENCE_S or service.poll() is not None:
            return
        time.sleep(POLL_S)


def _compare(
    context: DemoContext,
    summary: Summary,
    expected: dict[str, Fingerprint],
    came: tuple[Arrivals, str, bytes],
) -> bool:
    """Show how many events were sent, stored, and arrived, and how many are equal. Returns and raises as `send_events`."""
    arrivals, name, first_line = came
    arrived = {
        event_id: arrivals.fingerprints[event_id]
        for event_id in expected
        if event_id in arrivals.fingerprints
    }
    equal = sum(_is_same(expected[event_id], fingerprint) for event_id, fingerprint in arrived.items())
    counts = (
        f"   sent {summary.sent:,}   stored {len(expected):,}   arrived {len(arrived):,}   equal {equal:,}"
    )
    if not expected:
        context.screen.say("", counts, "")
        reason = advice_on(first_line) or summary.rejected[0].error
        raise StartFailed(f"no event of {name} was stored: {reason}")
    verdict = "all equal"
    if equal < len(expected):
        verdict = "NOT ALL ARRIVED: see aegis dead-letter list, and the log of the service"
    elif summary.rejected_total:
        verdict = f"{summary.rejected_total:,} REJECTED"
    context.screen.say(
        "",
        f"{counts}   {verdict}",
        *(f"   line {one.line} was rejected: {one.error}" for one in summary.rejected[:REJECTIONS_SHOWN_MAX]),
        "",
    )
    return verdict == "all equal"


def _is_same(sent: Fingerprint, came: Fingerprint) -> bool:
    return sent.digest == came.digest and sent.timestamp in (None, came.timestamp)


def _curl(url: str, shown_key: str, body: object | None) -> tuple[str, ...]:
    """Return the curl command that makes the same call, with shortened secrets."""
    first, second = f"   $ curl -sS -X POST {url} \\", f"     -H 'Authorization: Bearer {shown_key}'"
    if body is None:
        return first, second
    text = json.dumps(body, ensure_ascii=False)
    return first, f"{second} \\", f"     -H 'Content-Type: application/json' -d {shlex.quote(text)}"


def _say_answer(context: DemoContext, answer: object) -> None:
    context.screen.say(f"   {json.dumps(answer, ensure_ascii=False)}", "")
