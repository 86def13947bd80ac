"""Promises of what a page is told while it is open."""

from dataclasses import replace

import msgspec

from aegis_stream.console.live_state import change, live_state
from aegis_stream.control.overview import Overview
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.organization import Organization
from aegis_stream.domain.standing import Standing, State

NOW = Micros(1_800_000_000 * SECOND)
BASE = "/console/o/org_abc"
TAKING = Standing(
    dst_id="dst_one",
    name="Elastic prod",
    state=State.TAKING,
    since=NOW,
    status_code=None,
    cause="",
    waiting=0,
    waiting_since=None,
    retrying=0,
    dead_letters=0,
    delivered=12,
    last_success_at=Micros(NOW - 2 * SECOND),
    last_error_at=None,
    p99_ms=8.0,
    created_at=NOW,
    updated_at=NOW,
)
FAILING = replace(
    TAKING,
    dst_id="dst_two",
    name="Splunk <b>\u202e",
    state=State.FAILING,
    status_code=401,
    cause="answered 401: it does not accept the credential: check it\nsecond line",
    waiting=4212,
    waiting_since=Micros(NOW - 1080 * SECOND),
    dead_letters=3,
    last_error_at=NOW,
)


def overview_of(*standings, head=100):
    """Build an overview."""
    organization = Organization(1, "org_abc", "Acme", head, NOW)
    return Overview(organization, Micros(NOW - 2 * SECOND) if head else None, list(standings), head > 0)


def test_all_of_a_failing_organization():
    """The cells, the sentence with its button, the count of the title, the icon, and what lists compare."""
    state = live_state(overview_of(TAKING, FAILING), BASE, "", NOW)
    cells = state.cells

    assert cells["total.waiting"].text == "4,212"
    assert cells["total.oldest"].text == "oldest 18 min ago"
    assert (cells["dst_two.state"].parts, cells["dst_two.state"].kind) == (("✗", "failing"), "badge failing")
    assert cells["dst_two.cause"].text == "answered 401: it does not accept the credential: check it"
    assert cells["dst_one.cause"].text == "–"
    assert cells["dst_one.last_success"].at == "2027-01-15T07:59:58.000000Z"
    assert cells["dst_two.letters_tab"].text == " (3)"
    assert state.sentence.tone == "bad"
    assert state.sentence.remedy.text == "Change the credential"
    assert (state.wrong, state.icon[-7:]) == (1, "bad.svg")
    assert state.news["destinations"] == 2
    assert state.news["dst_two.letters"] == 3
    assert state.news["failed"] == NOW


def test_the_page_of_a_destination_gets_its_own_only():
    """The sentence is the destination's, the title counts all, and no cell is another's."""
    state = live_state(overview_of(TAKING, FAILING), BASE, "dst_one", NOW)

    assert {key.partition(".")[0] for key in state.cells} == {"dst_one"}
    assert state.sentence.tone == "good"
    assert state.wrong == 1


def test_a_destination_that_is_gone():
    """The page of a destination that somebody deleted says so, and leads to the others."""
    state = live_state(overview_of(TAKING), BASE, "dst_gone", NOW)

    assert state.sentence.pieces[0].text == "This destination was deleted."
    assert state.sentence.remedy.href == BASE


def test_hidden_characters_are_shown():
    """A name that would turn the text around is written out, and markup stays text."""
    sentence = live_state(overview_of(FAILING), BASE, "", NOW).sentence

    assert "".join(piece.text for piece in sentence.pieces).startswith("Splunk <b>\\u202e")


def test_a_message_holds_what_differs():
    """First all, then nothing while nothing changes, then only the cells and fields that do."""
    before = live_state(overview_of(TAKING), BASE, "", NOW)
    same = live_state(overview_of(TAKING), BASE, "", NOW)
    after = live_state(overview_of(replace(TAKING, delivered=13)), BASE, "", NOW)

    assert set(change(None, before)) == set(msgspec.structs.asdict(before)) - {"drawn"}
    assert change(before, same) == {}
    assert set(change(before, after)) == {"cells"}
    assert set(change(before, after)["cells"]) == {"total.delivered", "dst_one.delivered"}


def test_the_first_steps():
    """Each step turns when it is done, also the last one."""
    empty = live_state(overview_of(head=0), BASE, "", NOW).cells
    done = live_state(overview_of(TAKING), BASE, "", NOW).cells

    assert [empty[f"step.{name}"].parts[1] for name in ("recorded", "configured", "delivered")] == [
        "to do:"
    ] * 3
    assert [done[f"step.{name}"].kind for name in ("recorded", "configured", "delivered")] == [
        "step done"
    ] * 3
