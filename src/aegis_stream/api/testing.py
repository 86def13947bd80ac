"""Test events: sent once, at once, with the destination's own format and credential, and in no log.

A test must not become a way to look around: it is rare for each organization, says the same about every address that is
not allowed, names no address that a name resolved to, and shows of an answer the beginning, without our own secrets.
"""

import base64
import binascii
import math
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import unquote

import msgspec
from litestar import Request, post
from litestar.params import FromPath

from aegis_stream.domain.attempt import Answer, Failure, Fault, FaultKind, Verdict
from aegis_stream.domain.audit import destination_action
from aegis_stream.domain.destination import MASK, Destination, DestinationSpec
from aegis_stream.domain.event import TEST_DATASET
from aegis_stream.domain.ids import RANDOM_BYTES, new_id
from aegis_stream.domain.times import to_text
from aegis_stream.pipeline.attempt import attempt
from aegis_stream.pipeline.token_answer import NoToken
from aegis_stream.pipeline.token_sender import TokenSender

from .audit import record
from .destinations import ONE
from .docs import errors
from .schemas import TestBody
from .scopes import caller_of
from .service import Service, service_of

EXCERPT_CHARACTERS_MAX = 500
ECHO_CHARACTERS_MIN = 8
"""Shortest piece of a credential that is taken out of an answer; shorter ones are part of ordinary words."""
FAULT_LATENCY_STEP_MS = 100
"""Where nothing answered, the time is told in steps this large: how fast a network says no tells what is in it."""
FORBIDDEN = (
    "the host points to a forbidden address: a destination must be public, or in a network that the operator has "
    "allowed (AEGIS_ALLOWED_NETWORKS)"
)

_PEER = re.compile(r"\b(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)(?=[\s,;]|$)")

AnyRequest = Request[Any, Any, Any]


@post(ONE + "/test", status_code=200, tags=["Forwarding destinations"], responses=errors(403))
async def send_test(request: AnyRequest, destination_id: FromPath[str]) -> TestBody:
    """Send one test event at once, with the destination's own format and credential, also while it is paused."""
    service, caller = service_of(request), caller_of(request)
    destination = await service.destination(caller, destination_id)
    service.access.admit_test(caller)
    spec = destination.spec
    sender = TokenSender(service.sender)
    try:
        route = service.route_of(spec, destination.org_id)
        answer, verdicts = await attempt(sender, spec, route, [_test_event(service, destination)])
        bearers = sender.bearers()
    finally:
        sender.close()
    shown = _shown(answer, verdicts[0] if isinstance(verdicts, list) else verdicts, spec, bearers)
    failure = None if shown.ok else str(shown.error)
    after = {"status_code": shown.status_code}
    await record(request, destination_action("destination_test", destination, after=after, failure=failure))
    return shown


def _shown(answer: Answer | None, verdict: Verdict, spec: DestinationSpec, bearers: list[str]) -> TestBody:
    if answer is None:
        return TestBody(False, None, 0.0, verdict.message if isinstance(verdict, Failure) else "", "")
    if isinstance(answer, Fault):
        steps = math.ceil(answer.latency_us / 1000 / FAULT_LATENCY_STEP_MS)
        message = verdict.message if isinstance(verdict, Failure) else answer.message
        told = tell_fault(answer, message, spec)
        return TestBody(False, None, float(steps * FAULT_LATENCY_STEP_MS), told, "")
    latency_ms = round(answer.latency_us / 1000, 1)
    if not isinstance(verdict, Failure):
        return TestBody(True, answer.status, latency_ms)
    excerpt = redact(answer.body.decode("utf-8", "replace"), spec, bearers)
    return TestBody(False, answer.status, latency_ms, verdict.message, excerpt[:EXCERPT_CHARACTERS_MAX])


def tell_fault(fault: Fault, message: str, spec: DestinationSpec) -> str:
    """Say why there was no answer, without the addresses that the host's name resolved to."""
    about_token = spec.oauth2 is not None and isinstance(fault, NoToken)
    if fault.kind is FaultKind.FORBIDDEN:
        return f"the token endpoint: {FORBIDDEN}" if about_token else FORBIDDEN
    url = spec.oauth2.token_url if spec.oauth2 is not None and about_token else spec.url
    host = re.split(r"[/?]", url.partition("://")[2])[0].rpartition("@")[2]
    return _PEER.sub(lambda found: found[0] if found[0] in host else "the host", message)


def redact(text: str, spec: DestinationSpec, bearers: Sequence[str] = ()) -> str:
    """Take our own secrets out of what a peer answered, before anybody sees it: the values of headers, and the URL's tail.

    Of a value every piece goes that is long enough to be of use, in capitals or not: peers like to repeat the
    beginning of a token.

    Args:
        bearers: the tokens that were sent.
    Returns: printable text, a little longer than what is shown of it.
    """
    text = text[: EXCERPT_CHARACTERS_MAX * 2]
    hidden = [False] * len(text)
    # All places are found before any is hidden: what is left of one secret must not be too short to be found as another's.
    for start, end in _places_of_secrets(text, spec, bearers):
        hidden[start:end] = [True] * (end - start)
    parts = groupby(zip(text, hidden, strict=True), key=itemgetter(1))
    shown = "".join(MASK if is_hidden else "".join(one for one, _ in part) for is_hidden, part in parts)
    return "".join(character if character.isprintable() or character == "\n" else " " for character in shown)


def _places_of_secrets(text: str, spec: DestinationSpec, bearers: Sequence[str]) -> Iterator[tuple[int, int]]:
    client_secret = spec.oauth2.client_secret if spec.oauth2 is not None else ""
    values = (spec.auth_header_value or "", *(value for _, value in spec.headers), client_secret, *bearers)
    secrets = [_folded(one) for value in values for one in _header_secrets(value)]
    short = [one for one in secrets if 4 <= len(one) < ECHO_CHARACTERS_MIN]
    folded = _folded(text)
    for secret in (*_url_secrets(spec.url), *short):
        yield from (found.span() for found in re.finditer(re.escape(_folded(secret)), folded))
    width = ECHO_CHARACTERS_MIN
    pieces = {secret[at : at + width] for secret in secrets for at in range(len(secret) - width + 1)}
    for place in range(len(text) - width + 1):
        if folded[place : place + width] in pieces:
            yield place, place + width


def _folded(text: str) -> str:
    """Return a text of the same length in small letters, as far as these are single ones."""
    return "".join(small if len(small := one.lower()) == 1 else one for one in text)


def _url_secrets(url: str) -> set[str]:
    _, _, tail = url.partition("://")[2].partition("/")
    parts = re.split(r"[/?&=;]", tail)
    return {one for one in (tail, *parts, *(unquote(part) for part in parts)) if len(one) >= 6}


def _header_secrets(value: str) -> list[str]:
    """Return the credential, and of Basic authentication user and password as well."""
    scheme, _, rest = value.partition(" ")
    secrets = [value]
    if scheme.lower() == "basic":
        try:
            secrets.append(base64.b64decode(rest, validate=True).decode("utf-8", "replace"))
        except (binascii.Error, ValueError):
            return secrets
        secrets.append(secrets[-1].partition(":")[2])
    return secrets


def _test_event(service: Service, destination: Destination) -> bytes:
    now = service.clock.now()
    return msgspec.json.encode(
        {
            "@timestamp": to_text(now),
            "message": "Test event from Aegis Audit Stream: if you can read this, forwarding to this destination works.",
            "event": {
                "id": new_id("test", now, service.random.random_bytes(RANDOM_BYTES)),
                "kind": "event",
                "action": "forwarding_test",
                "dataset": TEST_DATASET,
            },
            "aegis": {"test": True},
            "organization": {"id": destination.org_id},
        }
    )


HANDLERS = [send_test]
