"""Splunk's indexer acknowledgement: asking whether accepted events have been indexed.

HEC answers before an event enters the pipeline. With acknowledgement, its answer has an ackId (`Accepted.ack_id`); until that
is confirmed, the events of the request are accepted but not delivered.
"""

from collections.abc import Iterable

import msgspec

from aegis_stream.domain.attempt import Answer, Request

from .answers import is_success, read_answer

ACK_PATH = "/services/collector/ack"
"""Path on the destination's host; the query of its URL is added, since an ackId belongs to a channel."""
ASK_IDS_MAX = 1000
"""Most ackIds in one question."""


class _Acks(msgspec.Struct, gc=False):
    acks: dict[str, bool]


_decode = msgspec.json.Decoder(_Acks).decode


def encode_question(ack_ids: Iterable[int]) -> Request:
    """Ask about ackIds of one channel; at most ASK_IDS_MAX."""
    return Request(msgspec.json.encode({"acks": sorted(ack_ids)}))


def confirmed(answer: Answer, ack_ids: Iterable[int]) -> frozenset[int]:
    """Return the ackIds whose events are indexed; the others are undecided. Splunk confirms each ackId only once."""
    if not is_success(answer):
        return frozenset()
    reply = read_answer(_decode, answer)
    return frozenset(one for one in ack_ids if reply is not None and reply.acks.get(str(one)) is True)
