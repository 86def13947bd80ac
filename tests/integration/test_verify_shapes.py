"""Honest exports, in every shape that SIEMs and tools give back: none raises an alarm, and the level of evidence is right."""

import gzip
import json
import sys

import pytest

from aegis_stream.formats import REGISTRY, datadog
from aegis_stream.verify import proven, spell
from support.exports import CONTENT_SHAPES, EXACT_SHAPES, check, plain, sorted_names, write
from support.proof_log import ProofLog, sample


@pytest.fixture(scope="module")
def log():
    """A whole log, whose newest checkpoint covers the one before."""
    return sample()


@pytest.mark.parametrize("shape", EXACT_SHAPES)
def test_shapes_that_keep_the_bytes(tmp_path, capsys, log, shape):
    """Every event is found by its bytes, and nothing else is said."""
    found = check(capsys, log, write(tmp_path / "e", shape(log.bodies)))

    assert (found.status, found.log["evidence"]["exact"]) == (0, 205), found.report["summary"]
    assert found.report["unreadable"]["count"] == 0


@pytest.mark.parametrize("shape", CONTENT_SHAPES)
def test_shapes_that_keep_the_content(tmp_path, capsys, log, shape):
    """Every event is found by its content; checkpoint events are spelled again and found by their bytes."""
    path = write(tmp_path / "e", shape(log.bodies))
    found, strict = check(capsys, log, path), check(capsys, log, path, "--accept", "exact")

    assert found.status == 0, found.report["summary"]
    evidence = found.log["evidence"]
    assert evidence["exact"] + evidence["content"] + evidence["original"] == 205
    assert evidence["content"] >= 150
    assert strict.status == 3


def test_what_the_service_sends_to_datadog_is_undone(tmp_path, capsys):
    """Members that Datadog reserves are renamed on the way; the verifier gives them their names back."""
    log = ProofLog()
    for number in range(10):
        log.event(number, service={"name": "api"}, host={"name": "h"}, source={"ip": "192.0.2.1"})
    log.seal()
    log.seal()
    rows = []
    for body in log.bodies:
        (sent,) = json.loads(datadog.encode([body]).body)
        message, service = sent.pop("message"), sent.pop("service")
        rows.append({"attributes": {"message": message, "service": service, "attributes": sent}})
    found = check(capsys, log, write(tmp_path / "e", [json.dumps(row).encode() for row in rows]))

    assert found.status == 0, found.report["summary"]
    assert found.log["present"] == 11


def sent(name, bodies):
    """Return the requests in which a format sends events, one a line: what a receiver that keeps bodies has."""
    one = REGISTRY[name]
    step = one.events_max if one.batches else 1
    return [one.encode(bodies[at : at + step]).body for at in range(0, len(bodies), step)]


@pytest.fixture(scope="module")
def ordinary():
    """A log whose integers fit everywhere."""
    log = ProofLog()
    for number in range(60):
        decided = {"decision": "BLOCKED", "score": 0.25, "count": number, "tags": []}
        log.event(number, aegis=decided, service={"name": "api"}, user={"id": "u", "roles": ["a", "b"]})
    log.seal()
    log.seal()
    return log


@pytest.mark.parametrize("name", [one for one in REGISTRY if one != "new_relic"])
def test_what_every_format_sends_can_be_verified(tmp_path, capsys, ordinary, name):
    """From the body of each format's requests every event is proven, by its bytes or by its content; a lost one is missing."""
    whole = check(capsys, ordinary, write(tmp_path / "e", sent(name, ordinary.bodies)))
    lost = check(
        capsys, ordinary, write(tmp_path / "e", sent(name, ordinary.bodies[:7] + ordinary.bodies[8:]))
    )

    assert whole.status == 0, (whole.report["summary"], whole.log["evidence"])
    assert whole.log["present"] == 61
    assert (lost.status, lost.ranges()) == (1, [(8, 8)])


@pytest.mark.parametrize("name", REGISTRY)
def test_no_format_hides_an_alteration(tmp_path, capsys, ordinary, name):
    """Altered on the way, an event is altered, or its content is not proven; it is never complete."""
    altered = ordinary.bodies[:]
    altered[7] = altered[7].replace(b"BLOCKED", b"ALLOWED")
    found = check(capsys, ordinary, write(tmp_path / "e", sent(name, altered)))

    assert found.status in (1, 3)
    listed = [*found.log["altered"]["events"], *found.log["by_id_only"]["events"]]
    assert 8 in [one["sequence"] for one in listed]


def test_what_a_format_changes_for_good_is_there_by_its_id(tmp_path, capsys, ordinary, log):
    """New Relic gets arrays and large integers as texts: no alarm, but weaker evidence, and that is said."""
    for kept in (ordinary, log):
        path = write(tmp_path / "e", sent("new_relic", kept.bodies))
        weak, accepted = check(capsys, kept, path), check(capsys, kept, path, "--accept", "id")

        assert (weak.status, weak.altered()) == (3, []), weak.report["summary"]
        assert weak.log["evidence"]["id"] >= 60
        assert accepted.status == 0


def test_an_altered_event_beside_its_original(tmp_path, capsys, log):
    """An event whose fields are altered while event.original is kept is proven by that field alone, and that is counted."""
    lines = []
    for body in log.bodies:
        event = json.loads(body)
        event["event"]["original"] = body.decode()
        event["aegis"] = {**event["aegis"], "decision": "ALLOWED"}
        lines.append(json.dumps(event).encode())
    found = check(capsys, log, write(tmp_path / "e", lines))

    assert found.log["evidence"]["original"] >= 200


@pytest.mark.parametrize("shape", [plain, sorted_names])
def test_a_part_of_a_log_begins_at_its_first_checkpoint(tmp_path, capsys, log, shape):
    """An export from the middle is checked from its first checkpoint on; what is before is no alarm, and is counted."""
    found = check(capsys, log, write(tmp_path / "e", shape(log.bodies[60:])))

    assert (found.status, found.log["first"], found.log["last"]) == (0, 143, 205)
    assert found.log["before"] == 82


def test_an_event_before_the_range_may_be_dated_later(tmp_path, capsys):
    """A sender's clock may be ahead: what a checkpoint lists for the time before the range is no stranger."""
    log = ProofLog()
    log.events(10).seal()
    log.events(5)
    log.event(99, **{"@timestamp": "2031-01-01T00:00:00Z"})
    log.seal()
    log.seal()
    found = check(capsys, log, write(tmp_path / "e", log.bodies[11:]))

    assert (found.status, found.log["first"], found.log["before"]) == (0, 18, 6)


def test_a_part_that_follows_a_kept_checkpoint(tmp_path, capsys, log):
    """From a kept checkpoint on, nothing is missing between it and the export."""
    kept = tmp_path / "note"
    kept.write_text(log.notes[1])
    found = check(
        capsys, log, write(tmp_path / "e", log.bodies[142:]), "--checkpoint", str(kept), "--from", "143"
    )

    assert (found.status, found.log["first"], found.log["agrees"]) == (0, 143, 1)


def test_several_files_are_one_export(tmp_path, capsys, log):
    """Files that overlap are taken together, compressed or not."""
    one, two = tmp_path / "one", tmp_path / "two.gz"
    write(one, log.bodies[100:])
    two.write_bytes(gzip.compress(b"\n".join(log.bodies[:120])))
    found = check(capsys, log, str(one), str(two))

    assert (found.status, found.log["twice"]) == (0, 20)


def test_members_of_a_gzip_file_are_read_to_the_last(tmp_path, capsys, log):
    """Tools that stop after the first member of a gzip file lose the rest; this one reads all members."""
    path = tmp_path / "e.gz"
    path.write_bytes(b"".join(gzip.compress(body + b"\n") for body in log.bodies))

    assert check(capsys, log, str(path)).status == 0


def test_a_truncated_gzip_file_is_said_to_be_one(tmp_path, capsys, log):
    """What can be read of it is checked; that something is missing at its end is told."""
    path = tmp_path / "e.gz"
    path.write_bytes(gzip.compress(b"\n".join(log.bodies))[:-20])
    found = check(capsys, log, str(path))

    assert found.status != 0
    assert "cannot be read on" in found.report["unreadable"]["lines"][0]["reason"]


def test_standard_input_is_read_twice(tmp_path, capsys, monkeypatch, log):
    """An export on standard input goes through a temporary file."""
    write(tmp_path / "e", log.bodies)
    with (tmp_path / "e").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert check(capsys, log, "-").status == 0


def test_a_byte_order_mark_is_passed_over(tmp_path, capsys, log):
    """Windows tools put one at the beginning."""
    path = tmp_path / "e"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(log.bodies) + b"\r\n\r\n")

    assert check(capsys, log, str(path)).status == 0


def test_equal_bytes_may_have_two_sequences(tmp_path, capsys):
    """An event that was recorded again after it left the log counts twice: one copy in the export leaves one missing."""
    log = ProofLog().events(10)
    log.append(log.bodies[3])
    log.seal()
    once = [body for number, body in enumerate(log.bodies) if number != 10]

    assert check(capsys, log, write(tmp_path / "e", log.bodies)).status == 0
    found = check(capsys, log, write(tmp_path / "e", once))
    assert (found.status, found.ranges()) == (1, [(11, 11)])


def test_a_log_that_began_again_has_its_own_origin(tmp_path, capsys):
    """After a restart the sequence at which the log began stands in its origin, and the range begins there."""
    log = sample(seals=(10, 20), base=1001)
    found = check(capsys, log, write(tmp_path / "e", log.bodies))

    assert log.origin.endswith("@1001")
    assert (found.status, found.log["first"], found.log["last"]) == (0, 1001, 1033)
    missing = check(capsys, log, write(tmp_path / "e", log.bodies[:4] + log.bodies[5:]))
    assert (missing.status, missing.ranges()) == (1, [(1005, 1005)])


def test_real_looking_events(tmp_path, capsys):
    """Floats, names beyond ASCII, deep objects, empty ones and large numbers pass in every shape."""
    log = ProofLog()
    odd = [
        {"ratio": 1e-7, "big": 1e300, "zero": 0.0, "whole": 3.0},
        {"ключ": {"ö": 1, "😀": 2, "\ufb33": 3}, "empty": {}, "none": None, "list": [[], [{}]]},
        {"figure": 123456789012345678901234567890, "text": 'a"\\\u2028\x7f\u0001'},
        {"message": "not {json", "log": "{neither", "line": "x", "data": [1], "hits": {"hits": [2]}},
        {"streams": [], "values": [], "result": {"a": 1}, "_raw_": 1, "attributes": {"a": 1}, "index": {}},
    ]
    for number, more in enumerate(odd):
        log.event(number, **more)
    log.seal()
    log.seal()
    for shape in (*EXACT_SHAPES, *CONTENT_SHAPES):
        if shape.__name__ == "datadog":
            continue  # an event without a text message cannot be undone where its message is another event's
        found = check(capsys, log, write(tmp_path / "e", shape(log.bodies)))

        assert found.status == 0, (shape.__name__, found.report["summary"], found.log)


def flat_records(log):
    """Return the records of a log in one request of OpenTelemetry."""
    return [REGISTRY["otlp_logs"].encode(log.bodies).body]


def test_versions_of_flat_records_are_not_spelled_in_vain(tmp_path, capsys, monkeypatch):
    """Each record of OpenTelemetry may have been one of many events: where all digests are listed, they decide, at a fixed cost."""
    log, calls = ProofLog(), []
    for number in range(400):
        log.event(number, **{"@timestamp": "2026-05-01T00:00:00+00:00"})
    log.seal()
    log.seal()
    monkeypatch.setattr(proven, "spelled", lambda value, way: calls.append(1) or spell.spelled(value, way))
    found = check(capsys, log, write(tmp_path / "e", flat_records(log)))

    assert (found.status, found.log["evidence"]["content"]) == (0, 400)
    assert len(calls) < 2 * proven.FRUITLESS_MAX * len(spell.SPELLINGS)


def test_a_checkpoint_in_a_flat_record_vouches_whatever_its_time(tmp_path, capsys, monkeypatch):
    """The format keeps no digits of a time: a checkpoint event of the service, with microseconds, is known as the leaf that it is."""
    log = sample()
    monkeypatch.setattr(log, "time", lambda: "2026-05-01T00:00:01.123456Z")
    log.events(10).seal()
    log.seal()
    found = check(capsys, log, write(tmp_path / "e", flat_records(log)))

    assert (found.status, found.log["evidence"]["uncovered"]) == (0, 0), found.log


@pytest.mark.parametrize(
    "more",
    [{"x_": {}, "x_.": None}, {"a": {"b": {}}, "a.b.c": 1}, {"a": {"b": 1}, "a.c": {"d": 2}, "a.c.e": 3}],
)
def test_names_with_dots_beside_objects_leave_the_event_as_it_is(tmp_path, capsys, more):
    """A guess at what names with dots stood for must not change the event that was read: its own spelling is tried afterwards."""
    log = ProofLog()
    for number in range(3):
        log.event(number, **more)
    log.seal()
    log.seal()
    lines = [json.dumps(json.loads(body)).encode() for body in log.bodies]

    found = check(capsys, log, write(tmp_path / "e", lines))

    assert (found.status, found.log["evidence"]["id"]) == (0, 0), found.report["summary"]
