"""Datadog logs intake v2, `/api/v2/logs`: an array of events, each with the texts that Datadog requires.

Datadog shows `message` and reads `ddsource` and `service` as texts. An ECS object with the name of a reserved attribute
(`service`, `host`, `source`) is renamed to `ecs_service` and so on; its content stays.
"""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Raw, UnsetType

from aegis_stream.domain.attempt import Accepted, Answer, Request, Verdict

from .answers import is_success, read_answer, rejected, unexpected
from .fields import SOURCE, Described, message_of, splice
from .format import Format

AGE_MAX_S = 18 * 3600
"""Datadog drops a log with an older date after the 202."""

_RESERVED = ("service", "host", "source", "status", "hostname", "ddsource", "ddtags")


class _Log(Described, gc=False):
    service: Raw | UnsetType = UNSET
    host: Raw | UnsetType = UNSET
    source: Raw | UnsetType = UNSET
    status: Raw | UnsetType = UNSET
    hostname: Raw | UnsetType = UNSET
    ddsource: Raw | UnsetType = UNSET
    ddtags: Raw | UnsetType = UNSET


class _Reply(msgspec.Struct, gc=False):
    errors: list[Raw] = []


_read = msgspec.json.Decoder(_Log).decode
_read_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_reply = msgspec.json.Decoder(_Reply).decode
_ADDED = b'"ddsource":"aegis","service":"%s"' % SOURCE.encode()


def encode(bodies: Sequence[bytes]) -> Request:
    """Send an array; the members of each event stay the same, except those with a reserved name."""
    return Request(b"[" + b",".join([_log_of(body) for body in bodies]) + b"]")


def interpret(answer: Answer, count: int) -> Verdict:
    """Judge by status; a 2xx must have an empty body or Datadog's own object, without errors."""
    if not is_success(answer):
        return rejected(answer, count)
    if answer.status in (200, 202):
        reply = read_answer(_decode_reply, answer) if answer.body.strip() else _Reply()
        if reply is not None and not reply.errors:
            return Accepted(answer.status)
    return unexpected(answer, "Datadog")


def _log_of(body: bytes) -> bytes:
    log = _read(body)
    message = message_of(log)
    if (
        log.service is UNSET
        and log.host is UNSET
        and log.source is UNSET
        and log.status is UNSET
        and log.hostname is UNSET
        and log.ddsource is UNSET
        and log.ddtags is UNSET
        and (log.message is UNSET or message is log.message)
    ):
        return splice(_ADDED if log.message is not UNSET else _ADDED + b',"message":' + bytes(message), body)
    return _renamed(body, message)


def _renamed(body: bytes, message: Raw | bytes) -> bytes:
    """Rename members that have a reserved name; their values stay the same."""
    members = _read_members(body)
    taken = set(members)
    renamed: dict[str, Raw] = {}
    for name, value in members.items():
        other = name
        if name in _RESERVED or (name == "message" and bytes(value) != bytes(message)):
            while other in taken:
                other = f"ecs_{other}"
            taken.add(other)
        renamed[other] = value
    renamed |= {"message": Raw(bytes(message))}
    return splice(_ADDED, msgspec.json.encode(renamed))


DATADOG = Format(
    "datadog",
    encode,
    interpret,
    batches=True,
    frame_bytes=96,
    events_max=1000,
    body_bytes_max=5_000_000,
    event_bytes_max=1_000_000,
    age_max_s=AGE_MAX_S,
)
