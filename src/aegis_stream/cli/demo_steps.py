"""The steps of the demonstration that call the API: organization, key, destination, test, events."""

import json
import shlex
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from aegis_stream.receiver import event_id

from .client import Client
from .demo_context import DemoContext
from .demo_receiver import Arrivals, Fingerprint, Receiving, fingerprint_of
from .demo_service import POLL_S, START_S, StartFailed
from .input_advice import advice_on
from .screen import shorten
from .sending import Dispatch, Line, Summary, read_batches

SILENCE_S = 30.0
"""After this much silence, events that have not arrived count as lost, seconds."""
REJECTIONS_SHOWN_MAX = 12
RETRY: Mapping[str, float] = {"max_attempts": 3, "base_seconds": 2, "multiplier": 2, "max_seconds": 10}
"""Shorter delays than the default, so that a person can watch retries."""


class Account(NamedTuple):
    """A client of the API, and its key as it may be shown."""

    client: Client
    shown_key: str


def make_organization(context: DemoContext, url: str, operator_key: str) -> str:
    """Create the organization. Returns: its admin key."""
    body = {"name": "Demo", "id": context.org_id}
    context.begin(
        "Create an organization and its admin key, with the operator key",
        *curl(f"{url}/api/orgs", shorten(operator_key), body),
    )
    with Client(url, operator_key) as operator:
        made = operator.call("POST", "/api/orgs", body=body)
    key: str = made["api_key"]
    say_answer(context, {"org_id": made["org_id"], "api_key": shorten(key)})
    return key


def make_ingest_key(context: DemoContext, admin: Account) -> str:
    """Create a key for events. Returns: its text."""
    body = {"name": "demo", "scope": "ingest"}
    path = admin.client.org_path("api-keys")
    context.begin(
        "Create a key that can only send events", *curl(admin.client.url + path, admin.shown_key, body)
    )
    made = admin.client.call("POST", path, body=body)
    key: str = made["api_key"]
    say_answer(context, {"id": made["id"], "scope": made["scope"], "api_key": shorten(key)})
    return key


def make_destination(
    context: DemoContext,
    admin: Account,
    receiver: Receiving,
    bearer: str,
    retry: Mapping[str, float] = RETRY,
) -> dict[str, Any]:
    """Create a destination for the receiver. Returns: it, as the API answers."""
    body = {"name": "Demo receiver", "retry": retry, **address_of(receiver, bearer)}
    path = admin.client.org_path("forwarding-destinations")
    shown = body | shown_address_of(receiver, bearer)
    context.begin("Create a destination", *curl(admin.client.url + path, admin.shown_key, shown))
    made: dict[str, Any] = admin.client.call("POST", path, body=body)
    say_answer(context, {name: made[name] for name in ("id", "url", "status", "auth_header_set")})
    return made


def address_of(receiver: Receiving, bearer: str) -> dict[str, str]:
    """Return the fields of a destination that lead to a receiver and its credentials."""
    return {
        "url": f"{receiver.url}audit",
        "auth_header_name": "Authorization",
        "auth_header_value": f"Bearer {bearer}",
        "ca_certificate": receiver.ca_certificate.read_text(encoding="ascii"),
    }


def shown_address_of(receiver: Receiving, bearer: str) -> dict[str, str]:
    """Return the same fields as they may be shown."""
    shown = {"auth_header_value": f"Bearer {shorten(bearer)}", "ca_certificate": "-----BEGIN …"}
    return address_of(receiver, bearer) | shown


def test_destination(context: DemoContext, admin: Account, destination_id: str) -> None:
    """Send the test event. Raises: StartFailed when the receiver does not accept it."""
    path = admin.client.org_path("forwarding-destinations", destination_id, "test")
    context.begin("Test the destination", *curl(admin.client.url + path, admin.shown_key, None))
    answer = admin.client.call("POST", path)
    passed = [one["name"] for one in answer["stages"] if one["ok"]]
    say_answer(
        context, {name: answer[name] for name in ("ok", "status_code", "latency_ms")} | {"passed": passed}
    )
    if not answer["ok"]:
        raise StartFailed(f"the receiver did not accept the test event: {answer.get('error')}")


@dataclass(frozen=True, slots=True)
class Sent:
    """What a step sent.

    Args:
        name: of the file.
        stored: fingerprint of each event that the service stored, by its id.
        first_line: of the file.
    """

    name: str
    summary: Summary
    stored: dict[str, Fingerprint]
    first_line: bytes


def send_events(
    context: DemoContext,
    account: tuple[str, str],
    source: BinaryIO,
    arrivals: Arrivals,
    service: subprocess.Popen[bytes],
) -> tuple[Sent, bool]:
    """Send the events, wait until they arrive, and compare them.

    Returns: what was sent, and True if every event was stored, arrived, and is equal.
    Raises: StartFailed when not one event was stored.
    """
    url, ingest_key = account
    context.begin(
        f"Send events: {_name_of(source)}",
        f"   $ curl -sS {url}/api/orgs/{context.org_id}/events -H 'Authorization: Bearer {shorten(ingest_key)}' \\",
        "     -H 'Content-Type: application/x-ndjson' --data-binary @events.ndjson",
    )
    sent = record_events(context, account, source)
    wait_for_arrivals(arrivals, sent, service)
    return sent, compare(context, sent, arrivals)


def record_events(context: DemoContext, account: tuple[str, str], source: BinaryIO) -> Sent:
    """Send the events to the service at a URL with a key; a request without an answer is repeated for START_S."""
    url, ingest_key = account
    stored: dict[str, Fingerprint] = {}

    def store(lines: list[Line]) -> None:
        for line in lines:
            event = json.loads(line.body)
            stored.setdefault(str(event_id(event)), fingerprint_of(event, context.org_id))

    first_line = b""
    with Client(url, ingest_key, context.org_id) as client:
        dispatch = Dispatch(
            client=client,
            retry_for_s=START_S,
            make_id=lambda: f"evt_{uuid.uuid4().hex}",
            now_s=time.monotonic,
            sleep=time.sleep,
            note=lambda text: context.screen.say(f"   {text}"),
            on_stored=store,
        )
        for batch in read_batches(source):
            first_line = first_line or batch[0].body
            dispatch.send(batch)
    return Sent(_name_of(source), dispatch.summary, stored, first_line)


def wait_for_arrivals(arrivals: Arrivals, sent: Sent, service: subprocess.Popen[bytes]) -> None:
    """Wait until all stored events have arrived, SILENCE_S have passed without an arrival, or the service has ended."""
    began_s = time.monotonic()
    came = arrivals.fingerprints
    while len(came) < len(sent.stored) or not sent.stored.keys() <= came.keys():
        if time.monotonic() - max(began_s, arrivals.last_s) > SILENCE_S or service.poll() is not None:
            break
        time.sleep(POLL_S)
    arrivals.start_new_burst()


def compare(context: DemoContext, sent: Sent, arrivals: Arrivals) -> bool:
    """Show how many events were sent, stored, and arrived, and how many are equal.

    Returns: True if every event was stored, arrived, and is equal.
    Raises: StartFailed when not one event was stored.
    """
    expected, summary = sent.stored, sent.summary
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
        reason = advice_on(sent.first_line) or summary.rejected[0].error
        raise StartFailed(f"no event of {sent.name} was stored: {reason}")
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


def _name_of(source: BinaryIO) -> str:
    return getattr(source, "name", "built-in events")


def _is_same(sent: Fingerprint, came: Fingerprint) -> bool:
    return sent.digest == came.digest and sent.timestamp in (None, came.timestamp)


def curl(url: str, shown_key: str, body: object | None, method: str = "POST") -> tuple[str, ...]:
    """Return the curl command that makes the same call, with shortened secrets."""
    first, second = f"   $ curl -sS -X {method} {url} \\", f"     -H 'Authorization: Bearer {shown_key}'"
    if body is None:
        return first, second
    text = json.dumps(body, ensure_ascii=False)
    return first, f"{second} \\", f"     -H 'Content-Type: application/json' -d {shlex.quote(text)}"


def say_answer(context: DemoContext, answer: object) -> None:
    """Show an answer of the API, without secrets."""
    context.screen.say(f"   {json.dumps(answer, ensure_ascii=False)}", "")
