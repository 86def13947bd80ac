"""Promises about keys, time, erasure and weak evidence: what an export proves beyond its bytes."""

import base64
import json

import pytest

from support.exports import check, sorted_names, spaced, write
from support.proof_log import ProofLog, Signer, leaf, sample


@pytest.fixture(scope="module")
def log():
    """A whole log."""
    return sample()


def test_without_a_key_nothing_is_certain(tmp_path, capsys, log):
    """The key that the export itself announces is used, and said not to be pinned."""
    found = check(capsys, log, write(tmp_path / "e", log.bodies), pinned=False)

    assert (found.status, found.log["pinned"], found.log["keys"]) == (3, False, [log.vkey])


# --- Rotation ---


def rotated():
    """Return a log whose key was rotated, with both signatures for two seals, and the new key alone after them."""
    log = sample(seals=(20,))
    log.rotate(b"\x0b")
    log.events(5).seal()
    log.seal()
    del log.signers[0]
    log.events(5).seal()
    log.seal()
    return log


def test_a_rotation_is_followed(tmp_path, capsys):
    """The old key signed the log that announces the new one, so that the new one is trusted from there on."""
    log = rotated()
    old = Signer(log.origin, b"\7").vkey
    log_with_old_key = type("Old", (), {"vkey": old, "now": log.now})
    found = check(capsys, log_with_old_key, write(tmp_path / "e", log.bodies))

    assert (found.status, found.log["last"]) == (0, len(log.bodies) - 1)
    assert found.log["keys"] == [old, log.signers[0].vkey]


def test_a_rotation_is_followed_where_events_were_written_anew(tmp_path, capsys):
    """The announcing event is proven by its content there, once a second checkpoint has both signatures."""
    log = rotated()
    log_with_old_key = type("Old", (), {"vkey": Signer(log.origin, b"\7").vkey, "now": log.now})

    assert check(capsys, log_with_old_key, write(tmp_path / "e", sorted_names(log.bodies))).status == 0


def test_a_rotation_that_the_old_key_did_not_sign_is_not_followed(tmp_path, capsys, log):
    """A thief who puts an announcement and a log of his own into the SIEM gains nothing."""
    thief = Signer(log.origin, b"\x0c")
    fork = ProofLog()
    fork.bodies = log.bodies[:205]
    fork.sealed, fork.now = 205, log.now
    fork.admin("proof_key_rotate", before={"vkey": log.vkey}, after={"vkey": thief.vkey})
    fork.signers = [thief]
    fork.events(5).seal()
    found = check(capsys, log, write(tmp_path / "e", log.bodies + fork.bodies[205:]))

    assert found.status == 3
    assert found.log["keys"] == [log.vkey]
    assert found.log["last"] == 205


def test_a_rotation_from_a_key_that_is_not_trusted_is_not_followed(tmp_path, capsys):
    """An event of the log announces a key only in the name of one that is trusted already."""
    log, stranger = sample(seals=(20,)), Signer("audit.example.com/org_abc", b"\x0d")
    log.admin("proof_key_rotate", before={"vkey": stranger.vkey}, after={"vkey": stranger.vkey})
    log.seal()
    log.seal()
    found = check(capsys, log, write(tmp_path / "e", log.bodies))

    assert (found.status, found.log["keys"]) == (0, [log.vkey])


# --- Time ---


def test_a_checkpoint_that_is_too_old_is_damage(tmp_path, capsys, log):
    """With --max-age the last checkpoint must be younger; without it any age will do."""
    path, late = write(tmp_path / "e", log.bodies), int(log.now.timestamp()) + 3 * 3600

    assert check(capsys, log, path, now_s=late).status == 0
    assert check(capsys, log, path, "--max-age", "4h", now_s=late).status == 0
    found = check(capsys, log, path, "--max-age", "2h", now_s=late)
    assert (found.status, found.log["damages"]) == (1, ["the last checkpoint is too old"])


def test_events_that_should_have_been_sealed_are_told(tmp_path, capsys, log):
    """A day of events after the last checkpoint is undecided, and damage for who demands fresh checkpoints."""
    more = ProofLog()
    more.bodies, more.now = log.bodies[:], log.now
    more.events(50)
    path, late = write(tmp_path / "e", more.bodies), int(log.now.timestamp()) + 86400

    found = check(capsys, log, path, now_s=late)
    assert (found.status, found.log["behind"]) == (3, 50)
    assert check(capsys, log, path, "--max-age", "2h", now_s=late).status == 1


def test_a_checkpoint_from_the_future_is_doubtful(tmp_path, capsys, log):
    """A checkpoint cannot be fresh for ever by being dated ahead."""
    found = check(capsys, log, write(tmp_path / "e", log.bodies), now_s=int(log.now.timestamp()) - 3600)

    assert (found.status, found.log["doubts"]) == (3, ["a checkpoint is dated in the future"])


def test_a_clock_that_goes_back_is_no_alarm(tmp_path, capsys):
    """Checkpoints whose times go back are as good as others: the order is that of the tree."""
    log = ProofLog().events(5)
    log.seal(time_s=1_777_777_777)
    log.events(5).seal(time_s=1_777_000_000)
    log.events(5).seal(time_s=1_777_500_000)

    assert check(capsys, log, write(tmp_path / "e", log.bodies), now_s=1_777_777_900).status == 0


def test_missing_events_come_with_the_times_around_them(tmp_path, capsys, log):
    """A missing event was recorded between two checkpoints, and the report says when these were made."""
    found = check(capsys, log, write(tmp_path / "e", log.bodies[:60] + log.bodies[61:]))
    (missing,) = found.log["missing"]["ranges"]

    begin = json.loads(log.bodies[41])["aegis"]["proof"]["checkpoint"]
    assert "\n41\n" in begin
    assert missing["recorded_after"] < missing["recorded_before"]
    assert missing["recorded_after"] == found.log["first_checkpoint_at"]


# --- Test events ---

TEST_EVENTS = [
    b'{"event":{"id":"test_1","dataset":"aegis.audit_stream.test"},"organization":{"id":"org_abc"}}',
    b'{"event.id":"test_2","event.dataset":"aegis.audit_stream.test","organization.id":"org_abc"}',
]


def test_test_events_are_no_doubt(tmp_path, capsys, log):
    """What the test button sent is in the SIEM and in no log: it is counted, nested or flat, and the verdict stays."""
    found = check(capsys, log, write(tmp_path / "e", [*log.bodies, *TEST_EVENTS]))

    assert (found.status, found.log["doubts"], found.log["test_events"]) == (0, [], 2)


def test_an_event_disguised_as_a_test_is_altered(tmp_path, capsys, log):
    """An event whose dataset was changed to that of test events is not passed over."""
    lines = log.bodies[:]
    lines[50] = lines[50].replace(b'"dataset":"aegis.preflight"', b'"dataset":"aegis.audit_stream.test"')
    assert lines != log.bodies
    found = check(capsys, log, write(tmp_path / "e", lines))

    assert (found.status, [one for one, _ in found.altered()]) == (1, [51])
    assert found.log["test_events"] == 0


# --- Erasure ---


def with_erasure(sequence, leaf_of_event):
    """Return a log with an event that says that another one was erased."""
    log = sample(seals=(40,))
    wanted = leaf_of_event(log.bodies[sequence - 1]).hex()
    log.admin("event_erase", before={"sequence": sequence, "leaf": wanted})
    log.seal()
    log.seal()
    return log


def test_an_erased_event_is_explained(tmp_path, capsys):
    """An event that the log says was erased is not missing; where it is still there, nothing is wrong either."""
    log = with_erasure(20, leaf)
    erased = log.bodies[:19] + log.bodies[20:]

    found = check(capsys, log, write(tmp_path / "e", erased))
    assert (found.status, found.log["erased"]) == (0, {"count": 1, "events": [[20, 44]]})
    assert check(capsys, log, write(tmp_path / "e", log.bodies)).status == 0


@pytest.mark.parametrize("tamper", ["without tombstone", "other leaf", "tombstone not in the log"])
def test_an_erasure_that_the_log_does_not_explain_is_missing(tmp_path, capsys, tamper):
    """Without the event that explains it, or with one that means another event, or is not a leaf, an event is missing."""
    log = with_erasure(20, leaf if tamper != "other leaf" else lambda _: bytes(32))
    lines = log.bodies[:19] + log.bodies[20:]
    if tamper == "without tombstone":
        lines = [one for one in lines if b"event_erase" not in one]
    if tamper == "tombstone not in the log":
        lines = [one.replace(b'"aud_', b'"aux_') for one in lines]
    found = check(capsys, log, write(tmp_path / "e", lines))

    assert found.status == 1
    assert (20, 20) in found.ranges()


def test_an_erasure_that_only_the_newest_checkpoint_lists_explains_nothing_yet(tmp_path, capsys):
    """Written anew, the event that explains an erasure counts when the next checkpoint vouches for its content."""
    log = sample(seals=(40,))
    log.admin("event_erase", before={"sequence": 20, "leaf": leaf(log.bodies[19]).hex()})
    log.seal()
    erased = log.bodies[:19] + log.bodies[20:]
    early = check(capsys, log, write(tmp_path / "e", sorted_names(erased)))
    log.seal()
    later = check(capsys, log, write(tmp_path / "e", sorted_names(log.bodies[:19] + log.bodies[20:])))

    assert (early.status, early.ranges()) == (1, [(20, 20)])
    assert (later.status, later.log["erased"]["count"]) == (0, 1)


# --- Weak evidence ---


def test_without_content_digests_an_event_written_anew_is_there_by_its_id(tmp_path, capsys):
    """The service may leave the digests out while it is behind: then the id is all, and that must be accepted explicitly."""
    log = sample(seals=(40,), contents=False)
    path = write(tmp_path / "e", sorted_names(log.bodies))
    weak, accepted = check(capsys, log, path), check(capsys, log, path, "--accept", "id")

    assert (weak.status, weak.log["evidence"]["id"], weak.log["by_id_only"]["count"]) == (3, 41, 41)
    assert accepted.status == 0
    assert check(capsys, log, write(tmp_path / "e", spaced(log.bodies))).status == 0


def test_a_flattening_siem_is_accepted_by_id_only(tmp_path, capsys, log):
    """Where arrays and objects are flattened the content is lost; ids are found in fields with dots."""
    flat = []
    for body in log.bodies:
        event = json.loads(body)
        if event["event"]["dataset"].endswith("checkpoint"):
            proof = {f"aegis.proof.{name}": value for name, value in event["aegis"]["proof"].items()}
            names = {f"event.{name}": value for name, value in event["event"].items()}
            rest = {"@timestamp": event["@timestamp"], "message": event["message"]}
            flat.append({**proof, **names, **rest, "organization.id": log.org})
        else:
            flat.append({"event.id": event["event"]["id"], "organization.id": log.org})
    path = write(tmp_path / "e", [json.dumps(one).encode() for one in flat])

    assert check(capsys, log, path).status == 3
    found = check(capsys, log, path, "--accept", "id")
    assert (found.status, found.log["evidence"]["id"], found.log["evidence"]["exact"]) == (0, 201, 4)


def test_without_ids_nothing_is_paired(tmp_path, capsys):
    """Where a checkpoint lists no ids a missing event is missing, and one that is not in the log is no version of it."""
    log = sample(seals=(40,), ids=False)
    stray = json.dumps({"@timestamp": "2026-05-01T00:00:00Z", "organization": {"id": log.org}}).encode()
    found = check(capsys, log, write(tmp_path / "e", [*log.bodies[:9], stray, *log.bodies[10:]]))

    assert (found.status, found.altered(), found.ranges()) == (1, [], [(10, 10)])
    assert found.log["not_in_log"]["count"] == 1


def test_content_that_only_the_newest_checkpoint_lists_is_undecided(tmp_path, capsys):
    """The next checkpoint vouches for it: then the same export is complete."""
    log = ProofLog().events(10)
    log.seal()
    early = check(capsys, log, write(tmp_path / "e", sorted_names(log.bodies)))
    log.seal()
    later = check(capsys, log, write(tmp_path / "e", sorted_names(log.bodies)))

    assert (early.status, early.log["evidence"]["uncovered"], early.altered()) == (3, 10, [])
    assert (later.status, later.log["evidence"]["content"]) == (0, 10)


def test_a_refilled_gap_is_closed(tmp_path, capsys, log):
    """Checkpoint events without notes, as the service gives them to fill a gap, complete an export that lost them."""
    lost = [body for number, body in enumerate(log.bodies, 1) if number != 143]
    refill = json.loads(log.bodies[142])
    path, more = write(tmp_path / "e", lost), write(tmp_path / "more", [json.dumps(refill).encode()])

    assert check(capsys, log, path).ranges("gaps") == [(42, 142)]
    found = check(capsys, log, path, more)
    assert (found.status, found.ranges("gaps")) == (0, [])


def test_a_signature_of_an_unknown_kind_under_the_known_name_is_passed_over(tmp_path, capsys):
    """Other kinds of signature may come; they neither help nor harm."""
    log = ProofLog().events(5)
    log.notes.clear()
    unknown = f"\u2014 {log.origin} {base64.b64encode(b'abcd' + bytes(100)).decode()}\n"
    original = log.note
    log.note = lambda *rest: original(*rest) + unknown
    log.seal()

    assert check(capsys, log, write(tmp_path / "e", log.bodies)).status == 0
