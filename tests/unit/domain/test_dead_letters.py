"""Promises about causes of dead letters, and filters over them."""

import time

import pytest

from aegis_stream.domain.dead_letters import EVERY, DeadLetterFilter, group_id_of, pattern_of
from aegis_stream.domain.ids import Micros


@pytest.mark.parametrize(
    "one, other",
    [
        ("no answer within 10 s", "no answer within 30 s"),
        ("failed to parse [age] of document evt_01ab", "failed to parse [age] of document evt_77zz"),
        ("cannot connect to 10.0.0.5:443", "cannot connect to 10.0.0.6:443"),
        ("x" * 300 + " first", "x" * 300 + " second"),
    ],
)
def test_errors_that_differ_in_ids_and_numbers_are_one_cause(one, other):
    """Words with digits do not tell causes apart, nor does what comes after the first 200 characters."""
    assert pattern_of(one) == pattern_of(other)
    assert group_id_of("event", 400, one) == group_id_of("event", 400, other)


def test_other_words_another_status_and_another_kind_are_other_causes():
    """Text, status and what a failure is about tell causes apart."""
    ids = {
        group_id_of("event", 400, "bad field"),
        group_id_of("event", 400, "bad value"),
        group_id_of("event", 413, "bad field"),
        group_id_of("event", None, "bad field"),
        group_id_of("destination", 400, "bad field"),
    }

    assert len(ids) == 5


def test_a_hostile_text_costs_no_more_than_another():
    """A long word without a digit is not gone through again and again."""
    began = time.perf_counter()
    for number in range(200):
        pattern_of("a" * 199 + "b" * number)

    assert time.perf_counter() - began < 0.5


def test_a_filter_selects_by_kind_cause_and_time():
    """Each part of a filter narrows it; an error's text stands for its cause."""
    which = DeadLetterFilter("event", "bad value 1", Micros(100))

    assert which.matches("event", "bad value 2", 99)
    assert not which.matches("event", "bad value 2", 100)
    assert not which.matches("destination", "bad value 2", 99)
    assert not which.matches("event", "bad field 2", 99)
    assert EVERY.matches("destination", "anything", 10**18)


def test_a_group_is_covered_by_its_id_or_its_text():
    """A filter names a group by its id, or by an error of it; a kind excludes the groups of the other one."""
    group_id = group_id_of("event", 400, "bad value 1")

    assert DeadLetterFilter(error=group_id).covers(group_id, "event", "bad value 1")
    assert DeadLetterFilter(error="bad value 7").covers(group_id, "event", "bad value 1")
    assert not DeadLetterFilter("destination", group_id).covers(group_id, "event", "bad value 1")
    assert not DeadLetterFilter(error="grp_other").covers(group_id, "event", "bad value 1")
