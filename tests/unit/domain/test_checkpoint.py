"""Promises of `domain.checkpoint`: the events of a seal list every leaf once, in order, with what names and finds it."""

import base64
import json
import struct
from itertools import pairwise
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.checkpoint import (
    CHECKPOINT_DATASET,
    CONTENT_BYTES,
    LEAVES_PER_EVENT,
    Covered,
    Seal,
    checkpoint_events,
    checkpoint_id,
    labels_text,
    log_name,
)
from aegis_stream.domain.ids import Micros, OrganizationId
from aegis_stream.domain.merkle import HASH_BYTES, leaf_hash
from aegis_stream.domain.parsing import parse_event

NOTE = "log\n230\nroot\n\n\u2014 log signature\n"
SEAL = Seal(OrganizationId("org_a"), 0, Micros(1_778_841_201_456_789), NOTE, b"f" * 64)


def covered(count: int, first: int = 1, *, contents: bool = False) -> Covered:
    """Return so many events that all differ."""
    leaves = b"".join(leaf_hash(b"%d" % number) for number in range(count))
    ids = [f"pflt_{number}" for number in range(count)]
    digests = b"".join(b"%016d" % number for number in range(count)) if contents else None
    return Covered(first, leaves, ids, [("aegis.preflight", "BLOCKED")] * count, digests)


def proof_of(body: str) -> dict:
    """Return the part of a checkpoint event that is the proof."""
    return json.loads(body)["aegis"]["proof"]


@pytest.mark.parametrize("count", [1, 89, 90, 91, 180, 230])
def test_every_leaf_is_listed_once_and_the_last_event_has_the_note(count):
    """Parts are neighbours without gap, hold 90 leaves at most, and only the last one is signed."""
    whole = covered(count, 41, contents=True)

    proofs = [proof_of(one.body) for one in checkpoint_events(whole, SEAL)]

    assert proofs[0]["first"] == 41
    assert proofs[-1]["last"] == 40 + count
    assert all(before["last"] + 1 == after["first"] for before, after in pairwise(proofs))
    assert b"".join(base64.b64decode(one["leaves"]) for one in proofs) == whole.leaves
    assert b"".join(base64.b64decode(one["contents"]) for one in proofs) == whole.contents
    tags = b"".join(base64.b64decode(one["ids"]) for one in proofs)
    assert list(struct.unpack(f">{count}I", tags)) == [crc32(one.encode()) for one in whole.ids]
    assert all(len(base64.b64decode(one["leaves"])) <= LEAVES_PER_EVENT * HASH_BYTES for one in proofs)
    assert all("checkpoint" not in one and "frontier" not in one for one in proofs[:-1])
    assert proofs[-1]["checkpoint"] == NOTE
    assert base64.b64decode(proofs[-1]["frontier"]) == SEAL.frontier


def test_an_event_has_the_documented_shape():
    """Field by field, as the documentation shows it; its text is what the log stores."""
    (event,) = checkpoint_events(covered(2, 41), SEAL)

    told = json.loads(event.body)
    assert told.pop("aegis")["proof"] | {"leaves": "", "ids": "", "frontier": ""} == {
        "v": 1,
        "first": 41,
        "last": 42,
        "leaves": "",
        "ids": "",
        "labels": "aegis.preflight/BLOCKED*2",
        "frontier": "",
        "checkpoint": NOTE,
    }
    assert told == {
        "@timestamp": "2026-05-15T10:33:21.456789Z",
        "message": "checkpoint of events 41 to 42",
        "event": {"id": "ckpt_41_42", "kind": "event", "action": "checkpoint", "dataset": CHECKPOINT_DATASET},
        "organization": {"id": "org_a"},
    }


def test_a_full_event_stays_below_what_receivers_cut_off():
    """The leaves fit into what New Relic searches, and the whole into what Splunk keeps of a line."""
    event = max(checkpoint_events(covered(900, 10**11, contents=True), SEAL), key=lambda one: len(one.body))

    assert len(proof_of(event.body)["leaves"]) <= 4094
    assert len(event.body) < 10_000


def test_nobody_can_submit_one():
    """An event of this dataset is refused at the door."""
    (event,) = checkpoint_events(covered(1), SEAL)

    refused = parse_event(event.body.encode(), SEAL.org_id, SEAL.at, None)

    assert refused.field == "event.dataset"


def test_leaves_alone_are_told_without_a_note():
    """To refill a gap, the same events are made without note and frontier."""
    (event,) = checkpoint_events(covered(3), SEAL._replace(note=None))

    assert not {"checkpoint", "frontier", "contents"} & proof_of(event.body).keys()


def test_a_log_that_began_again_has_other_ids():
    """The same sequences of another history get another id, so that a receiver keeps both."""
    assert checkpoint_id(0, 41, 130) == "ckpt_41_130"
    assert checkpoint_id(40, 41, 130) == "ckpt_@41_41_130"


@given(st.lists(st.tuples(st.text(max_size=5), st.none() | st.text(max_size=5)), max_size=20))
def test_labels_are_told_apart_whatever_they_contain(labels):
    """Runs can be split again: no dataset or decision can pretend to be another label or a count."""
    runs = labels_text(labels).split(",") if labels else []
    counts = [int(run.partition("*")[2] or 1) for run in runs]

    assert sum(counts) == len(labels)
    assert labels_text([*labels, ("a", None), ("a", None)]).endswith(
        "a*2" if labels[-1:] != [("a", None)] else ""
    )
    assert len({labels_text([one]) for one in labels}) == len(set(labels))


def test_digests_have_their_size():
    """The size of a digest is the documented one."""
    assert CONTENT_BYTES == 16


def test_labels_are_written_as_documented():
    """Runs of equal labels have a count; what could be taken for a separator is escaped, and nothing else."""
    odd = ("a.b_c-d:e@F9", "no/one*2,%")

    assert labels_text([odd, odd, ("a b", None), ("a/b", None), ("\u00e9", None), ("", "")]) == (
        "a.b_c-d:e@F9/no%2Fone%2A2%2C%25*2,a%20b,a%2Fb,%C3%A9,/"
    )
    assert labels_text([]) == ""


def test_a_log_that_began_late_says_so_in_its_name():
    """The name of a log that begins with the first event is the organization's; another one tells its first sequence."""
    assert log_name("audit.example.com", SEAL.org_id, 0) == "audit.example.com/org_a"
    assert log_name("audit.example.com", SEAL.org_id, 40) == "audit.example.com/org_a@41"


def test_events_of_a_log_that_began_again_have_its_ids_and_the_suffix():
    """The id of each event has the log's beginning and the suffix; the sequences inside are the store's."""
    seal = SEAL._replace(base=40, suffix="_2")

    events = checkpoint_events(covered(91, 41), seal)

    assert [one.event_id for one in events] == ["ckpt_@41_41_130_2", "ckpt_@41_131_131_2"]
    assert [json.loads(one.body)["event"]["id"] for one in events] == [one.event_id for one in events]
    assert [proof_of(one.body)["first"] for one in events] == [41, 131]


def test_no_events_have_no_checkpoint():
    """To seal nothing is a mistake of the caller."""
    with pytest.raises(AssertionError):
        checkpoint_events(covered(0), SEAL)
