"""Elasticsearch, OpenSearch, VictoriaLogs and others with a `_bulk` URL; and single documents by `_doc` and `_create`.

Every event is a `create` with its event.id: data streams accept nothing else, and an event that is sent twice is stored once
(409). The answer of `_bulk` is read item by item, because it is 200 even if all items failed. `filter_path` omits everything
that we do not read, above all the reasons of errors, which can repeat parts of the event.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote

import msgspec

from aegis_stream.domain.attempt import Accepted, Answer, Failure, FailureScope, Request, Response, Verdict

from .answers import is_success, read_answer, rejected, unexpected
from .elastic_errors import Error, failure_of, named_failure
from .fields import id_of, one_line, text_of, with_plain_time
from .format import Format

ID_BYTES_MAX = 512
"""Longest `_id`, bytes of UTF-8; a longer one makes the whole request fail."""
EVENTS_MAX = 1000
"""Most events in a request, so that the answer about all of them is shorter than ANSWER_BYTES_MAX."""
ANSWER_BYTES_MAX = 192 * 1024
"""Most bytes of an answer that are read: 110 for each event if all fail, 230 if `filter_path` is ignored."""

_DOTS = frozenset({".", ".."})
"""Ids that would be path segments with a meaning of their own, even percent-encoded."""
_ITEMS_BEGIN = re.compile(r'"items"\s*:\s*\[')
_BETWEEN_ITEMS = re.compile(r"\s*,?\s*")
_STORED = frozenset({"created", "updated"})
_CREATED = frozenset({"created", None})
"""Results that come with a 201; VictoriaLogs sends none."""
_FAILURE_STORE = "stored in the failure store, not in the data stream: check there what the mapping or the pipeline rejects"
_BAD_REQUEST = Failure(
    FailureScope.DESTINATION,
    "answered 400 to the whole request: check the URL's index and parameters, as in /logs-aegis.preflight-default/_bulk",
    status_code=400,
    fix_needed=True,
)


_Status = Annotated[int, msgspec.Meta(ge=100, le=999)]


class _Item(msgspec.Struct, gc=False):
    """The result of one event. VictoriaLogs sends only the status."""

    status: _Status
    result: str | None = None
    failure_store: str | None = None
    error: Error | str | None = None


class _Bulk(msgspec.Struct, gc=False):
    items: list[dict[str, _Item]]


class _Document(msgspec.Struct, gc=False):
    result: str
    failure_store: str | None = None


_decode_bulk = msgspec.json.Decoder(_Bulk).decode
_decode_document = msgspec.json.Decoder(_Document).decode


def encode_bulk(bodies: Sequence[bytes]) -> Request:
    """Send each event as two lines: the action with its id, and the event."""
    parts: list[bytes | msgspec.Raw] = []
    for body in bodies:
        parts += (b'{"create":{"_id":', _id_of(body), b"}}\n", one_line(with_plain_time(body)), b"\n")
    return Request(b"".join(parts), "application/x-ndjson")


def encode_document(bodies: Sequence[bytes]) -> Request:
    """Send one event; the destination makes an id for it."""
    (body,) = bodies
    return Request(with_plain_time(body))


def encode_create(bodies: Sequence[bytes]) -> Request:
    """Send one event with its id in the path."""
    (body,) = bodies
    document_id = text_of(_id_of(body))
    if document_id in _DOTS:
        document_id = _hashed(document_id.encode())
    return Request(with_plain_time(body), path_suffix="/" + quote(document_id, safe=""))


def interpret_bulk(answer: Answer, count: int) -> Verdict | list[Verdict]:
    """Judge every event by its item; an event without an item counts as not delivered.

    We wrote the lines of the request, so a 400 to the whole request that Elasticsearch itself sent is about the URL.

    In a truncated answer the complete items count, and the other events are unjudged: they can be sent again at once, because
    their ids prevent a second copy.
    """
    if not is_success(answer):
        named = named_failure(answer, alone=False)
        return named or (_BAD_REQUEST if _is_about_url(answer) else rejected(answer, count))
    bulk = read_answer(_decode_bulk, answer)
    items = _items_of(bulk.items) if bulk is not None else _whole_items(answer.body, count)
    if not items or len(items) > count:
        return unexpected(answer, "Elasticsearch")
    if len(items) == count and all(
        one.status == 201 and one.result in _CREATED and not one.failure_store for one in items
    ):
        return Accepted(201)
    missing = Failure(
        FailureScope.DESTINATION,
        f"answered {answer.status}, but the answer ends before the result of this event",
        status_code=answer.status,
        unjudged=True,
    )
    return [*map(_judge, items), *[missing] * (count - len(items))]


def interpret_document(answer: Answer, count: int) -> Verdict:
    """Judge a single document: 201 created, or 409 if it is already there."""
    if isinstance(answer, Response) and answer.status == 409:
        return Accepted(409)
    if not is_success(answer):
        return named_failure(answer, alone=True) or rejected(answer, count)
    document = read_answer(_decode_document, answer)
    if document is None:
        return unexpected(answer, "Elasticsearch")
    if document.result == "created":
        return Accepted(answer.status, warning=_FAILURE_STORE if document.failure_store == "used" else None)
    if document.result == "noop":
        return _dropped(answer.status)
    return Failure(
        FailureScope.DESTINATION,
        f"answered {answer.status}: a document was replaced: end the URL with /_doc, /_create or /_bulk, without an id",
        status_code=answer.status,
        fix_needed=True,
    )


def _id_of(body: bytes) -> bytes | msgspec.Raw:
    """Return event.id as a JSON string that fits into `_id`; the SHA-256 of a longer one, which is always the same."""
    raw = id_of(body)
    if len(raw) <= ID_BYTES_MAX:
        return raw  # JSON is never shorter than the UTF-8 that it encodes
    text = text_of(raw).encode()
    return raw if len(text) <= ID_BYTES_MAX else b'"%s"' % _hashed(text).encode()


def _hashed(document_id: bytes) -> str:
    return hashlib.sha256(document_id).hexdigest()


def _items_of(items: list[dict[str, _Item]]) -> list[_Item]:
    """Unwrap the items from {"create": …}, up to the first that is not wrapped."""
    found: list[_Item] = []
    for one in items:
        if len(one) != 1:
            break
        found.extend(one.values())
    return found


def _whole_items(body: bytes, count: int) -> list[_Item]:
    """Return the complete items at the beginning of a truncated answer, at most `count` + 1."""
    text = body.decode("utf-8", "replace")
    begin = _ITEMS_BEGIN.search(text)
    if begin is None:
        return []
    found: list[dict[str, _Item]] = []
    place, decode = begin.end(), json.JSONDecoder().raw_decode
    while len(found) <= count:
        try:
            value, place = decode(text, place)
            found.append(msgspec.convert(value, dict[str, _Item]))
        except (ValueError, msgspec.ValidationError, RecursionError):
            break
        separator = _BETWEEN_ITEMS.match(text, place)
        place = separator.end() if separator is not None else place
    return _items_of(found)


def _judge(item: _Item) -> Verdict:
    status, result = item.status, item.result
    if result in _STORED or (status == 201 and result is None):
        return Accepted(status, warning=_FAILURE_STORE if item.failure_store == "used" else None)
    if status < 400:
        return _dropped(status)
    kind = item.error.type if isinstance(item.error, Error) else None
    if status == 409 and kind in (None, "version_conflict_engine_exception"):
        return Accepted(status)
    return failure_of(status, item.error)


def _dropped(status: int) -> Failure:
    return Failure(
        FailureScope.EVENT,
        f"answered {status}, but nothing was stored: an ingest pipeline drops the event",
        status_code=status,
        permanent=True,
    )


def _is_about_url(answer: Answer) -> bool:
    return isinstance(answer, Response) and answer.status == 400 and answer.body.lstrip()[:1] == b"{"


ELASTIC_BULK = Format(
    "elastic_bulk",
    encode_bulk,
    interpret_bulk,
    batches=True,
    frame_bytes=64,
    events_max=EVENTS_MAX,
    body_bytes_max=10_000_000,
    answer_bytes_max=ANSWER_BYTES_MAX,
    query=(
        (
            "filter_path",
            "errors,items.*.status,items.*.result,items.*.failure_store,items.*.error.type,items.*.error.caused_by.type",
        ),
    ),
)
ELASTIC_DOC = Format("elastic_doc", encode_document, interpret_document, batches=False)
ELASTIC_CREATE = Format("elastic_create", encode_create, interpret_document, batches=False)
