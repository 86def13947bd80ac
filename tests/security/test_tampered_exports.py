"""Every way in which an export was tampered with is told by its exit status, and by what is named.

The log: event 1 announces the key, 42, 143, 144, 205 and 206 are checkpoint events; 206 covers only 205, and nothing covers 206.
"""

import base64
import json
import re

import pytest

from support.exports import check, sorted_names, write
from support.proof_log import ProofLog, Signer, content, leaf, sample

EVENT = 51
"""Sequence of the event that is tampered with; its id is pflt_org_abc_50."""
EVENT_ID = "pflt_org_abc_50"


@pytest.fixture(scope="module")
def log():
    """The log that is tampered with."""
    return sample()


def edited(log, sequence, change):
    """Return the log's events, one of them changed by a function of its value."""
    lines = log.bodies[:]
    event = json.loads(lines[sequence - 1])
    changed = change(event)
    event = event if changed is None else changed
    lines[sequence - 1] = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    return lines


def without(log, *sequences):
    """Return the events but for those of some sequences."""
    return [body for number, body in enumerate(log.bodies, log.base) if number not in sequences]


def proof_edited(log, sequence, **fields):
    """Return the log's events with other proof fields in one checkpoint event."""
    return edited(log, sequence, lambda event: event["aegis"]["proof"].update(fields))


def note_edited(log, sequence, change):
    """Return the events with another note in one checkpoint event."""
    old = json.loads(log.bodies[sequence - 1])["aegis"]["proof"]["checkpoint"]
    return proof_edited(log, sequence, checkpoint=change(old))


def leaves_edited(log, sequence, number, new):
    """Return the events with another leaf hash in one checkpoint event."""
    leaves = bytearray(base64.b64decode(json.loads(log.bodies[sequence - 1])["aegis"]["proof"]["leaves"]))
    leaves[number * 32 : number * 32 + 32] = new
    return proof_edited(log, sequence, leaves=base64.b64encode(leaves).decode())


def exchanged(log):
    """Return the events, two of which exchanged what they say."""
    lines = log.bodies[:]
    one, other = json.loads(lines[50]), json.loads(lines[60])
    one["aegis"], other["aegis"] = other["aegis"], one["aegis"]
    lines[50], lines[60] = (json.dumps(event, ensure_ascii=False).encode() for event in (one, other))
    return lines


def forged_event(log):
    """Return an event that was never recorded."""
    return log.bodies[50].replace(EVENT_ID.encode(), b"pflt_forged")


def change_value(event):
    """Change a text."""
    event["aegis"]["decision"] = "ALLOWED"


def change_low_digit(event):
    """Change the last digit of an integer beyond 2^53."""
    event["aegis"]["count"] += 1


def move_time(event):
    """Move the time."""
    event["@timestamp"] = event["@timestamp"].replace("2026-05-01", "2026-04-01")


def replace_all(event):
    """Keep only the id."""
    return {"event": {"id": event["event"]["id"]}, "organization": event["organization"]}


def change_id(event):
    """Change the id."""
    event["event"]["id"] = "pflt_other"


def add_field(event):
    """Add a field."""
    event["aegis"]["note"] = "checked"


def remove_field(event):
    """Remove a field."""
    del event["aegis"]["score"]


ALTERING = [change_value, change_low_digit, move_time, replace_all, add_field, remove_field]


@pytest.mark.parametrize("change", ALTERING)
def test_an_altered_event_is_named(tmp_path, capsys, log, change):
    """Whatever is changed in an event: it is named with its sequence and id, and nothing else is."""
    found = check(capsys, log, write(tmp_path / "e", edited(log, EVENT, change)))

    assert found.status == 1
    assert found.altered() == [(EVENT, EVENT_ID)]
    assert found.ranges() == []
    assert found.log["not_in_log"]["count"] == 0


@pytest.mark.parametrize("sequences", [(51,), tuple(range(43, 143)), (204,), (2, 41, 100, 101)])
def test_deleted_events_are_named(tmp_path, capsys, log, sequences):
    """One, a hundred, the last covered, some here and there: what is deleted is missing, and nothing else."""
    found = check(capsys, log, write(tmp_path / "e", without(log, *sequences)))

    assert found.status == 1
    assert [number for first, last in found.ranges() for number in range(first, last + 1)] == [*sequences]
    assert found.altered() == []


def test_an_event_with_another_id_is_missing_and_foreign(tmp_path, capsys, log):
    """With its id changed an event is missing, and what stands in its place is not in the log."""
    found = check(capsys, log, write(tmp_path / "e", edited(log, EVENT, change_id)))

    assert found.status == 1
    assert found.ranges() == [(EVENT, EVENT)]
    assert [one["id"] for one in found.log["not_in_log"]["events"]] == ["pflt_other"]


def test_exchanged_contents_are_two_alterations(tmp_path, capsys, log):
    """Two events that exchanged their contents are both altered."""
    found = check(capsys, log, write(tmp_path / "e", exchanged(log)))

    assert (found.status, [one for one, _ in found.altered()]) == (1, [51, 61])


def test_a_forged_event_is_not_in_the_log(tmp_path, capsys, log):
    """An event that was never recorded is named; whether it is forged or came later cannot be decided."""
    found = check(capsys, log, write(tmp_path / "e", [*log.bodies, forged_event(log)]))

    assert found.status == 3
    assert [one["id"] for one in found.log["not_in_log"]["events"]] == ["pflt_forged"]


def test_an_altered_copy_beside_the_true_event_is_not_in_the_log(tmp_path, capsys, log):
    """The true event is there, so it is not altered; its false twin is named."""
    twin = edited(log, EVENT, change_value)[EVENT - 1]
    found = check(capsys, log, write(tmp_path / "e", [*log.bodies, twin]))

    assert found.status == 3
    assert [one["id"] for one in found.log["not_in_log"]["events"]] == [EVENT_ID]


@pytest.mark.parametrize("with_key", [True, False])
def test_other_organizations_do_not_disturb(tmp_path, capsys, log, with_key):
    """Events of another organization in the same export are no alarm, with its checkpoints or without."""
    other = sample(org="org_xyz", seed=b"\x09")
    others = other.bodies if with_key else [one for one in other.bodies if b"checkpoint" not in one]
    found = check(capsys, log, write(tmp_path / "e", log.bodies + others))

    assert found.status == 0
    assert found.report["events_of_other_organizations"] == len(others)


def test_without_a_key_every_organization_is_judged(tmp_path, capsys, log):
    """Without a key both logs are checked by the keys that they announce; that is not enough for 0, but for 1."""
    other = sample(org="org_xyz", seed=b"\x09")
    whole = check(capsys, log, write(tmp_path / "e", log.bodies + other.bodies), pinned=False)
    broken = check(capsys, log, write(tmp_path / "e", log.bodies + without(other, 7)), pinned=False)

    assert (whole.status, [one["present"] for one in whole.report["logs"]]) == (3, [205, 205])
    assert (broken.status, [one["missing"]["count"] for one in broken.report["logs"]]) == (1, [0, 1])


# --- Checkpoint events ---


@pytest.mark.parametrize(
    "deleted, gap, missing",
    [((143,), (42, 142), [(143, 143)]), ((144,), (42, 204), []), ((143, 144), (42, 204), [])],
)
def test_a_deleted_checkpoint_event_is_a_gap(tmp_path, capsys, log, deleted, gap, missing):
    """Without one part of a seal its whole range cannot be checked, up to the next checkpoint with a frontier; it is named."""
    found = check(capsys, log, write(tmp_path / "e", without(log, *deleted)))

    assert found.status == 1
    assert found.ranges("gaps") == [gap]
    assert found.ranges() == missing
    assert found.log["last"] == 205


def test_without_any_checkpoint_nothing_is_decided(tmp_path, capsys, log):
    """An export without checkpoint events proves nothing, and says so."""
    found = check(capsys, log, write(tmp_path / "e", [one for one in log.bodies if b"checkpoint" not in one]))

    assert found.status == 3
    assert "no checkpoint was found that is signed by its key" in found.log["doubts"]


def test_the_first_checkpoint_cannot_be_dropped_unseen(tmp_path, capsys, log):
    """Without the first checkpoint the range begins after it; whoever expects the beginning says so and is warned."""
    path = write(tmp_path / "e", without(log, *range(1, 43)))
    late, expected = check(capsys, log, path), check(capsys, log, path, "--from", "1")

    assert (late.status, late.log["first"], late.log["before"]) == (0, 143, 100)
    assert expected.status == 1
    assert "it can be checked from 143 on only, not from 1" in expected.log["damages"]


def test_a_cut_tail_is_seen_by_a_kept_checkpoint(tmp_path, capsys, log):
    """An export that ends early is complete by itself, and not by a later checkpoint that was kept."""
    path = write(tmp_path / "e", log.bodies[:144])
    kept = tmp_path / "note"
    kept.write_text(log.notes[2])

    assert check(capsys, log, path).status == 0
    found = check(capsys, log, path, "--checkpoint", str(kept))
    assert found.status == 1
    assert [one["size"] for one in found.log["ends_before"]] == [204]


@pytest.mark.parametrize(
    "tamper, altered, gaps",
    [
        (lambda log: leaves_edited(log, 143, 9, bytes(32)), [143], [(42, 142)]),
        (lambda log: leaves_edited(log, 42, 9, bytes(32)), [42], [(1, 41)]),
        (
            lambda log: [
                *edited(log, EVENT, change_value)[:142],
                leaves_edited(log, 143, 9, leaf(edited(log, EVENT, change_value)[50]))[142],
                *log.bodies[143:],
            ],
            [143],
            [(42, 142)],
        ),
        (lambda log: note_edited(log, 144, lambda note: note.replace("\n142\n", "\n141\n")), [144], []),
        (lambda log: note_edited(log, 144, lambda note: note[: note.index("\n\n") + 2]), [144], []),
        (lambda log: note_edited(log, 144, lambda _: log.notes[0]), [144], []),
        (lambda log: proof_edited(log, 205, first=144, last=205), [], [(143, 205)]),
        (lambda log: proof_edited(log, 205, first=142, last=203), [], [(143, 205)]),
        (lambda log: proof_edited(log, 143, ids=base64.b64encode(bytes(360)).decode()), [143], []),
        (lambda log: proof_edited(log, 143, labels="aegis.preflight/ALLOWED*90"), [143], []),
        (lambda log: proof_edited(log, 143, v=2), [143], [(42, 142)]),
    ],
    ids=[
        *(
            "flipped hash",
            "flipped hash of the first",
            "event and its hash",
            "size in the note",
            "signature stripped",
            "note of another range",
        ),
        *("shifted up", "shifted down", "ids", "labels", "version"),
    ],
)
def test_an_altered_checkpoint_event_is_named(tmp_path, capsys, log, tamper, altered, gaps):
    """A checkpoint event is an event too: altered, it is named, and what it alone could prove is a gap."""
    found = check(capsys, log, write(tmp_path / "e", tamper(log)))

    assert found.status == 1
    assert [one for one, _ in found.altered()] == altered
    assert found.ranges("gaps") == gaps


def test_an_old_checkpoint_event_in_the_place_of_a_later_one(tmp_path, capsys, log):
    """It is a duplicate there; the range of the later one is a gap, to the next frontier."""
    found = check(capsys, log, write(tmp_path / "e", [*log.bodies[:204], log.bodies[41], log.bodies[205]]))

    assert found.status == 1
    assert found.ranges("gaps") == [(143, 205)]


def test_the_newest_checkpoint_must_be_signed(tmp_path, capsys, log):
    """The newest note without a signature, or by another key of the same name, proves nothing: the log ends before it."""
    stripped = note_edited(log, 206, lambda note: note[: note.index("\n\n") + 2])
    text = log.notes[3][: log.notes[3].index("\n\n") + 1]
    other = note_edited(log, 206, lambda _: text + "\n" + Signer(log.origin, b"\x08").lines(text, 1777777777))
    for lines in (stripped, other):
        found = check(capsys, log, write(tmp_path / "e", lines))

        assert (found.status, found.log["last"]) == (3, 204)


def test_a_wrong_signature_by_a_known_key_is_damage(tmp_path, capsys, log):
    """A note that claims to be by the known key and is not was tampered with, also where nothing else depends on it."""
    lines = note_edited(log, 206, lambda note: note.replace("\n205\n", "\n206\n"))
    found = check(capsys, log, write(tmp_path / "e", lines))

    assert (found.status, found.log["wrong_signatures"]) == (1, [206])


def test_a_forged_checkpoint_event_beside_the_true_one(tmp_path, capsys, log):
    """It cannot spoil the chain; it is named as not in the log."""
    forged = leaves_edited(log, 143, 9, bytes(32))[142].replace(b"ckpt_42_131", b"ckpt_forged")
    for lines in ([forged, *log.bodies], [*log.bodies, forged]):
        found = check(capsys, log, write(tmp_path / "e", lines))

        assert (found.status, found.log["present"], found.ranges("gaps")) == (3, 205, [])
        assert [one["id"] for one in found.log["not_in_log"]["events"]] == ["ckpt_forged"]


def test_very_many_forged_parts_end_the_search(tmp_path, capsys, log):
    """Sixty forged parts for each true one do not make the search endless; in the worst case they make a gap."""
    forged = [
        leaves_edited(log, sequence, 0, bytes([number]) * 32)[sequence - 1]
        for sequence in (143, 144)
        for number in range(1, 61)
    ]
    found = check(capsys, log, write(tmp_path / "e", [*forged, *log.bodies]))

    assert found.status in (1, 3)
    assert found.log["last"] == 205


def test_an_altered_list_of_contents_is_no_evidence(tmp_path, capsys):
    """Who alters an event and its content digest in the newest checkpoint, which nothing covers, is not believed."""
    log = ProofLog()
    log.events(20).seal()
    event = json.loads(log.bodies[5])
    change_value(event)
    body = json.dumps(event, ensure_ascii=False).encode()
    proof = json.loads(log.bodies[20])["aegis"]["proof"]
    contents = bytearray(base64.b64decode(proof["contents"]))
    contents[5 * 16 : 6 * 16] = content(body)
    lines = proof_edited(log, 21, contents=base64.b64encode(contents).decode())
    lines[5] = body
    found = check(capsys, log, write(tmp_path / "e", lines))

    assert found.status == 3
    assert found.log["evidence"]["uncovered"] == 1


def test_a_forged_list_of_contents_does_not_replace_the_true_one(tmp_path, capsys, log):
    """Of two checkpoint events with the same leaves, the one that is in the log itself is believed."""
    forged = proof_edited(log, 143, contents=base64.b64encode(bytes(range(90)) * 16).decode())[142]
    for lines in ([forged, *log.bodies], [*log.bodies, forged]):
        found = check(capsys, log, write(tmp_path / "e", sorted_names(lines)))

        assert (found.status, found.altered()) == (3, [])
        assert found.log["evidence"]["content"] == 201


def test_the_true_checkpoint_within_a_forged_one_does_not_vouch_for_it(tmp_path, capsys):
    """Who alters an event and its content digest, and keeps the true checkpoint in event.original, is not believed."""
    log = sample(seals=(20,))
    lines = edited(log, 5, change_value)
    proof = json.loads(log.bodies[21])["aegis"]["proof"]
    contents = bytearray(base64.b64decode(proof["contents"]))
    contents[4 * 16 : 5 * 16] = content(lines[4])
    forged = json.loads(proof_edited(log, 22, contents=base64.b64encode(contents).decode())[21])
    forged["event"]["original"] = log.bodies[21].decode()
    lines[21] = json.dumps(forged, ensure_ascii=False).encode()
    found = check(capsys, log, write(tmp_path / "e", lines))

    assert found.status != 0
    assert found.log["evidence"]["uncovered"] == 1, found.log


# --- Histories ---


def rewritten(log, seed=b"\7"):
    """Return another history of the same log: one event has another decision, and everything is signed anew."""
    other = ProofLog(seed=seed)
    other.announce()
    for number, body in enumerate(log.bodies[1:], 2):
        if b"checkpoint" in body:
            if other.sealed < len(other.bodies) and json.loads(body)["aegis"]["proof"].get("checkpoint"):
                other.seal()
        else:
            other.append(body.replace(b"BLOCKED", b"ALLOWED") if number == EVENT else body)
    return other


def test_a_history_signed_by_another_key_proves_nothing(tmp_path, capsys, log):
    """The whole export remade with another key of the same name is not signed by the pinned one."""
    found = check(capsys, log, write(tmp_path / "e", rewritten(log, b"\x08").bodies))

    assert found.status == 3
    assert found.log["pinned"] is True
    assert found.log["present"] == 0


def test_a_history_rewritten_with_the_true_key_needs_an_anchor(tmp_path, capsys, log):
    """Without an anchor nobody can tell; with a kept checkpoint, or another SIEM's export, it is two histories."""
    other = rewritten(log)
    path, true = write(tmp_path / "e", other.bodies), write(tmp_path / "true", log.bodies)
    kept = tmp_path / "note"
    kept.write_text(log.notes[1])

    alone = check(capsys, log, path)
    by_note = check(capsys, log, path, "--checkpoint", str(kept))
    by_export = check(capsys, log, path, "--against", true)

    assert (alone.status, alone.altered()) == (0, [])
    assert by_note.status == by_export.status == 1
    assert [one["size"] for one in by_note.log["two_histories"]] == [142]
    assert check(capsys, log, true, "--against", true, "--checkpoint", str(kept)).status == 0


def test_a_kept_checkpoint_may_lie_within_a_seal(tmp_path, capsys, log):
    """The rewritten log has no seal where the kept checkpoint was made; it is compared all the same."""
    other = ProofLog()
    for body in log.bodies:
        if b"checkpoint" not in body:
            other.append(body.replace(b"BLOCKED", b"ALLOWED") if body is log.bodies[50] else body)
    other.seal()
    kept = tmp_path / "note"
    kept.write_text(log.notes[1])
    found = check(capsys, log, write(tmp_path / "e", other.bodies), "--checkpoint", str(kept))

    assert found.status == 1
    assert [one["size"] for one in found.log["two_histories"]] == [142]


def test_two_signed_checkpoints_of_one_size_are_two_histories(tmp_path, capsys, log):
    """Both in one export: the log's key signed two roots for a size, and the second one is shown in full."""
    other = rewritten(log)
    found = check(capsys, log, write(tmp_path / "e", [*log.bodies, other.bodies[143]]))

    assert found.status == 1
    (shown,) = found.log["two_histories"]
    assert (shown["size"], shown["note"]) == (142, other.notes[1][: other.notes[1].index("\n\n") + 1])


def test_a_forged_kept_checkpoint_is_not_believed(tmp_path, capsys, log):
    """A checkpoint that is not signed by the log's key makes no two histories; that it could not be compared is told."""
    path = write(tmp_path / "e", log.bodies)
    for size in (1, 3):
        kept = tmp_path / "note"
        kept.write_text(rewritten(log, b"\x08").notes[size])
        found = check(capsys, log, path, "--checkpoint", str(kept))

        assert (found.status, found.log["damages"]) == (3, [])
        assert len(found.log["not_compared"]) == 1


def test_what_was_given_to_compare_with_is_compared_or_told(tmp_path, capsys, log):
    """A checkpoint or an export of another log is no anchor: it is not passed over in silence."""
    other = sample(org="org_xyz", seed=b"\x09")
    path, theirs = write(tmp_path / "e", log.bodies), write(tmp_path / "other", other.bodies)
    kept = tmp_path / "note"
    kept.write_text(other.notes[1])

    for option, given, named in (("--against", theirs, theirs), ("--checkpoint", str(kept), other.origin)):
        found = check(capsys, log, path, option, given)
        assert (found.status, found.report["not_compared"]) == (3, [named])


def test_a_checkpoint_of_the_export_that_lies_beyond_what_is_proven(tmp_path, capsys, log):
    """The newest note is signed, but its hashes and frontier were destroyed: the export ends before its own checkpoint."""
    lines = proof_edited(log, 206, leaves=base64.b64encode(bytes(32)).decode(), frontier="")
    found = check(capsys, log, write(tmp_path / "e", lines))

    assert (found.status, found.log["last"]) == (1, 204)
    assert [one["size"] for one in found.log["ends_before"]] == [205]


# --- Text ---


@pytest.mark.parametrize(
    "tamper",
    [
        lambda body: body.replace(b'"decision":"BLOCKED"', b'"decision":"ALLOWED","decision":"BLOCKED"'),
        lambda body: body + b"x",
        lambda body: body + body[:10],
        lambda body: body.replace(b"BLOCKED", b"BLOCK\xff"),
        lambda body: b'{"_source":{"event":{"id":"x"}},"_source":' + body + b"}",
        lambda body: b"[" * 100_000,
        lambda body: body.replace(b"0.25", b"1e9999"),
    ],
    ids=[
        "name twice",
        "byte appended",
        "text appended",
        "not UTF-8",
        "two sources",
        "deep",
        "number too large",
    ],
)
def test_ambiguous_text_is_unreadable_and_its_event_missing(tmp_path, capsys, log, tamper):
    """What two programs could read differently is not repaired."""
    lines = log.bodies[:]
    lines[50] = tamper(lines[50])
    found = check(capsys, log, write(tmp_path / "e", lines))

    assert found.status == 1
    assert found.ranges() == [(EVENT, EVENT)]
    assert found.report["unreadable"]["count"] == 1
    assert re.match(r".+:51$", found.report["unreadable"]["lines"][0]["place"])


def test_an_unreadable_line_beside_a_whole_log_is_undecided(tmp_path, capsys, log):
    """Nothing is missing, but a line says nobody knows what."""
    assert check(capsys, log, write(tmp_path / "e", [*log.bodies, b"{broken"])).status == 3
