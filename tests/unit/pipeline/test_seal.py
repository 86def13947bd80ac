"""Promises of `pipeline.seal`: logs are sealed when there is news, and nothing is signed on a tree that was tampered with."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.ids import SECOND, Micros, OrganizationId
from aegis_stream.domain.merkle import EMPTY, Broken, TileAt, Tree, grow, leaf_hashes
from aegis_stream.domain.note import Kind, Signed, VerifierKey, parse_checkpoint, parse_note
from aegis_stream.pipeline.seal import Given, LogKey, Pace, SealProgress, is_due, make, own_events
from aegis_stream.vault.ed25519 import check, public_key, signer

NOW = Micros(1_780_000_000_000_000)
PACE = Pace(events_max=100, pause_us=10 * SECOND, heartbeat_us=3600 * SECOND)
ORIGIN = "audit.example.com/org_a"
KEY = LogKey(public_key(b"1" * 32), signer(b"1" * 32))
OTHER = LogKey(public_key(b"2" * 32), signer(b"2" * 32))


def progress(unsealed: int, ago_s: float | None, *, own: int = 0, beats: bool = False) -> SealProgress:
    """Build how far a log is sealed."""
    return SealProgress(unsealed, own, None if ago_s is None else Micros(NOW - int(ago_s * SECOND)), beats)


@pytest.mark.parametrize(
    ("one", "due"),
    [
        (progress(0, 9999), False),
        (progress(1, None), True),
        (progress(1, 9.9), False),
        (progress(1, 10), True),
        (progress(99, 1), False),
        (progress(100, 1), True),
        (progress(1, -3600), True),
        (progress(1, -5), False),
    ],
    ids=[
        "no news",
        "first",
        "too early",
        "pause over",
        "few",
        "many",
        "clock set back",
        "clock a little back",
    ],
)
def test_a_log_with_news_is_sealed(one, due):
    """After the pause, or as soon as there are many; a clock that is wrong does not stop it."""
    assert is_due(one, PACE, NOW) is due


@pytest.mark.parametrize(
    ("one", "due"),
    [
        (progress(1, 3000, own=1), False),
        (progress(1, 3600, own=1), False),
        (progress(1, 3599, own=1, beats=True), False),
        (progress(1, 3600, own=1, beats=True), True),
        (progress(2, 10, own=1), True),
        (progress(140, 1, own=50), False),
        (progress(150, 1, own=50), True),
        (progress(0, 9999, beats=True), False),
    ],
)
def test_its_own_events_are_no_news(one, due):
    """The checkpoint events of the last seal alone are sealed by the heartbeat only, or there would be no end."""
    assert is_due(one, PACE, NOW) is due
    assert not is_due(progress(1, 10**6, own=1, beats=True), PACE._replace(heartbeat_us=0), NOW)


@given(st.integers(1, 10_000))
def test_seals_of_an_idle_log_come_to_rest(unsealed):
    """Whatever is sealed, the events that tell of it are fewer than what would be sealed again."""
    own = own_events(unsealed)

    assert not is_due(progress(own, 100, own=own), PACE._replace(events_max=4096), NOW)


def given_for(count: int, start: Tree = EMPTY, note: str = "", opened=None, keys=(KEY,), **changes) -> Given:
    """Build what a seal of so many events is made from."""
    first = start.size
    fields = {
        "org_id": OrganizationId("org_a"),
        "origin": ORIGIN,
        "base": 0,
        "tree": start,
        "note": note,
        "opened": opened or {},
        "bodies": [b"%d" % number for number in range(first, first + count)],
        "ids": [f"e{number}" for number in range(count)],
        "labels": [("app", None)] * count,
        "keys": keys,
    }
    return Given(**fields | changes)


def sealed(count: int = 5):
    """Return a seal, and its tiles."""
    made = make(given_for(count), NOW, check, stream=False)
    return made, made.tiles


def test_a_seal_grows_the_tree_and_signs_it_twice():
    """The note is of the tree that has grown, by both kinds of signature, at the time of the seal."""
    first, tiles = sealed()
    second = make(given_for(3, first.tree, first.note, tiles), NOW, check, stream=False)

    assert second.tree == grow(EMPTY, {}, leaf_hashes([b"%d" % n for n in range(8)])).tree
    note = parse_note(second.note)
    assert parse_checkpoint(note.text) == (ORIGIN, 8, second.tree.root())
    plain = VerifierKey(ORIGIN, Kind.PLAIN, KEY.public)
    timed = plain._replace(kind=Kind.TIMED)
    assert note.signed_by([plain, timed], check) == (Signed(plain, None), Signed(timed, NOW // SECOND))
    assert second.events == []


def test_a_seal_for_the_stream_lists_what_it_covers():
    """Checkpoint events cover exactly the new events, by sequences of the organization's log."""
    first, tiles = sealed()
    made = make(given_for(200, first.tree, first.note, tiles, base=40), NOW, check, stream=True, suffix="_x")

    proofs = [json.loads(one.body)["aegis"]["proof"] for one in made.events]
    assert [(one["first"], one["last"]) for one in proofs] == [(46, 135), (136, 225), (226, 245)]
    assert proofs[-1]["checkpoint"] == made.note
    assert len(made.events) == own_events(200)
    assert made.events[0].event_id == "ckpt_@41_46_135_x"


def test_an_idle_log_is_signed_again():
    """Without new events the same tree gets a newer time, and no event."""
    first, tiles = sealed()
    later = Micros(NOW + 3600 * SECOND)

    made = make(given_for(0, first.tree, first.note, tiles), later, check, stream=True)

    assert (made.tree, made.tiles, made.events) == (first.tree, {}, [])
    assert made.note != first.note


def test_a_retired_key_signs_nothing_and_is_still_believed():
    """After a change of keys the last note counts by the old key, and the new one signs."""
    first, tiles = sealed()
    keys = (OTHER, LogKey(KEY.public, None))

    made = make(given_for(1, first.tree, first.note, tiles, keys=keys), NOW, check, stream=False)

    names = [VerifierKey(ORIGIN, kind, one.public) for one in (OTHER, KEY) for kind in Kind]
    assert {one.key.public for one in parse_note(made.note).signed_by(names, check)} == {OTHER.public}


def tampered_tile(first, tiles):
    """Change a bit of a tile."""
    content = tiles[TileAt(0, 0)]
    return given_for(1, first.tree, first.note, {TileAt(0, 0): bytes([content[0] ^ 1]) + content[1:]})


def other_history(first, tiles):
    """Put another tree of the same size in place, tiles and all."""
    made = grow(EMPTY, {}, leaf_hashes([b"x%d" % n for n in range(5)]))
    return given_for(1, made.tree, first.note, made.tiles)


def signed_by_nobody(first, tiles):
    """Put another tree in place, with a note that another key has signed."""
    made = make(given_for(5, bodies=[b"x"] * 5, keys=(OTHER,)), NOW, check, stream=False)
    return given_for(1, made.tree, made.note, made.tiles)


def signature_of_another(first, tiles):
    """Put another tree in place, with a note signed by a forger under the key's id."""
    made = make(
        given_for(5, bodies=[b"x"] * 5, keys=(LogKey(KEY.public, OTHER.sign),)), NOW, check, stream=False
    )
    return given_for(1, made.tree, made.note, made.tiles)


TAMPERINGS = {
    "tile": tampered_tile,
    "history": other_history,
    "another key": signed_by_nobody,
    "forged signature": signature_of_another,
    "frontier": lambda first, tiles: given_for(1, Tree(5, first.tree.frontier[::-1]), first.note, tiles),
    "smaller size": lambda first, tiles: given_for(1, EMPTY, first.note, {}),
    "no note": lambda first, tiles: given_for(1, first.tree, "", tiles),
    "no note at all": lambda first, tiles: given_for(1, first.tree, "x", tiles),
    "another log's note": lambda first, tiles: given_for(
        1, first.tree, first.note, tiles, origin="other/org_a"
    ),
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS)
def test_nothing_is_signed_on_a_tree_that_was_tampered_with(tamper):
    """Whoever changes rows without the key stops the seals."""
    first, tiles = sealed()

    with pytest.raises(Broken):
        make(tamper(first, tiles), NOW, check, stream=False)
