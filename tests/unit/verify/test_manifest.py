"""Promises of the reading of checkpoint events: what contradicts itself says nothing."""

import base64
import json

import pytest

from aegis_stream.verify.manifest import LEAVES_MAX, part_of
from support.proof_log import ProofLog


def an_event(**fields):
    """Return a checkpoint event of five events, with other proof fields."""
    log = ProofLog().events(5)
    log.seal()
    event = json.loads(log.bodies[5])
    event["aegis"]["proof"].update(fields)
    return event


def zeros(count):
    """Return so many bytes as a field has them."""
    return base64.b64encode(bytes(count)).decode()


def test_a_checkpoint_event_is_read():
    """Its fields come out as bytes and numbers; also where a SIEM keeps numbers as texts or doubles."""
    part = part_of(an_event())

    assert part is not None
    assert (part.organization, part.first, part.last) == ("org_abc", 1, 5)
    assert (len(part.leaves), len(part.ids), len(part.contents)) == (160, 20, 80)
    assert part_of(an_event(first="1", last=5.0)) == part


@pytest.mark.parametrize(
    "fields",
    [
        {"contents": zeros(16)},
        {"contents": zeros(81)},
        {"ids": zeros(4)},
        {"leaves": zeros(128)},
        {"leaves": zeros(0)},
        {"first": 2},
        {"first": 6},
        {"first": 0},
        {"first": True},
        {"last": LEAVES_MAX + 1, "leaves": zeros(32 * (LEAVES_MAX + 1)), "ids": "", "contents": ""},
        {"v": 2},
        {"frontier": "?"},
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields):
    """Lengths fit the range, and the range is within its limit."""
    assert part_of(an_event(**fields)) is None
