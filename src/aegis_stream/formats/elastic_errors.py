"""What an error of Elasticsearch or OpenSearch is about, and what to do about it.

Errors are distinguished by their type and the type of their cause. Their reasons are not read: they repeat parts of the
event, and our messages never contain text from a peer.
"""

import msgspec

from aegis_stream.domain.attempt import Answer, Failure, FailureScope, Response

_FIX_STATUSES = frozenset({401, 403, 404})
_FIELD = "a field does not fit the mapping"
_PIPELINE = "an ingest pipeline rejects it"
_REFUSED_BY_HAND = "fail_processor_exception"
"""Error of a pipeline that rejects an event on purpose: always a 500, and always the same for the same event."""
_ABOUT_EVENT = {
    "document_parsing_exception": _FIELD,
    "mapper_parsing_exception": _FIELD,
    "strict_dynamic_mapping_exception": "the mapping allows no new fields",
    "illegal_argument_exception": "the mapping would have too many fields, or an ingest pipeline fails or does not exist",
    _REFUSED_BY_HAND: _PIPELINE,
    "ingest_processor_exception": _PIPELINE,
}
_CAUSES = {
    "max_bytes_length_exceeded_exception": "a text has more than 32766 bytes, the limit of its field's type: shorten it, or change the mapping",
}
"""Causes that say more about an event than the type of the error."""
_ABOUT_DESTINATION = {
    "index_not_found_exception": "the index does not exist: check the URL",
    "index_closed_exception": "the index is closed: open it",
    "invalid_index_name_exception": "the name in the URL is not a valid index name: check the URL",
    "cluster_block_exception": "the index or the cluster is blocked for writing: check whether its disk is full",
    "validation_exception": "the cluster's shard limit is reached: remove indices, or raise the limit",
    "security_exception": "the credential may not write to this index",
    "es_rejected_execution_exception": "the cluster is too busy",
    "rejected_execution_exception": "the cluster is too busy",
    "circuit_breaking_exception": "the cluster is short of memory",
    "unavailable_shards_exception": "no shard of the index is available for writing",
}
"""Known types of errors; a message never repeats an unknown type."""


class Cause(msgspec.Struct, gc=False):
    """The cause of an error."""

    type: str | None = None


class Error(msgspec.Struct, gc=False):
    """An error in an item of `_bulk`, or in an answer about a whole request."""

    type: str | None = None
    caused_by: Cause | None = None


class _Whole(msgspec.Struct, gc=False):
    error: Error


_decode_whole = msgspec.json.Decoder(_Whole).decode


def failure_of(status: int, error: Error | str | None) -> Failure:
    """Return the failure of a rejected event.

    A known type of error decides: a closed index answers 400 for every event, and a pipeline that rejects one event answers
    500. Otherwise the status decides.

    Args:
        status: 400–999, of the event's item or of the answer.
        error: from the same place; a text in old versions.
    """
    kind, cause = _types(error)
    if kind in _ABOUT_DESTINATION:
        return _about_destination(status, _ABOUT_DESTINATION[kind])
    by_status = status in _FIX_STATUSES or status in (409, 429) or status >= 500
    if by_status and kind != _REFUSED_BY_HAND:
        return _about_destination(status, "the event could not be stored")
    return _about_event(status, _CAUSES.get(cause) or _ABOUT_EVENT.get(kind, "the event was rejected"))


def named_failure(answer: Answer, *, alone: bool) -> Failure | None:
    """Return the failure of a request that was rejected as a whole, or None if the error says no more than the status.

    Args:
        alone: the request has one event, so the error may be about the event.
    """
    # 429 and 502 and above may come with a Retry-After, which `by_status` reads.
    if not isinstance(answer, Response) or not 400 <= answer.status <= 500 or answer.status == 429:
        return None
    try:
        error = _decode_whole(answer.body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    kind, _ = _types(error)
    known = kind in _ABOUT_DESTINATION or (alone and kind in _ABOUT_EVENT)
    return failure_of(answer.status, error) if known else None


def _types(error: Error | str | None) -> tuple[str, str]:
    if not isinstance(error, Error):
        return "", ""
    cause = error.caused_by.type if error.caused_by is not None else None
    return error.type or "", cause or ""


def _about_destination(status: int, advice: str) -> Failure:
    busy = status in (409, 429) or status >= 500
    return Failure(
        FailureScope.DESTINATION,
        f"answered {status} for the event: {advice}",
        status_code=status,
        fix_needed=not busy,
        overload=status in (429, 503),
    )


def _about_event(status: int, advice: str) -> Failure:
    return Failure(
        FailureScope.EVENT, f"answered {status} for the event: {advice}", status_code=status, permanent=True
    )
