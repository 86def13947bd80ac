"""Splunk's indexer acknowledgement: asking whether what was accepted has been indexed.

HEC says yes before an event enters the pipeline. A token with acknowledgement adds an ackId to its answer
(`Accepted.ack_id`); until it is confirmed, the events of that request are accepted, not delivered.
"""

from collections.abc import Iterable

import msgspec

from aegis_stream.domain.attempt import Answer, Request

from .answers import is_success, read_answer

ACK_PATH = "/services/collector/ack"
"""Where to ask, on the destination's host, with the query of its URL: the channel is part of an ackId."""
ASK_IDS_MAX = 1000
"""Most numbers in one question."""


class _Acks(msgspec.Struct, gc=False):
    acks: dict[str, bool]


_decode = msgspec.json.Decoder(_Acks).decode


def encode_question(ack_ids: Iterable[int]) -> Request:
    """Ask about ackIds of one channel; at most ASK_IDS_MAX."""
    return Request(msgspec.json.encode({"acks": sorted(ack_ids)}))


def confirmed(answer: Answer, ack_ids: Iterable[int]) -> frozenset[int]:
    """Return the ackIds whose events are indexed; of the others nothing is known yet. Splunk confirms each only once."""
    if not is_success(answer):
        return frozenset()
    reply = read_answer(_decode, answer)
    return frozenset(one for one in ack_ids if reply is not None and reply.acks.get(str(one)) is True)
