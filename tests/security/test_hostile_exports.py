"""Exports made to exhaust or to fool the verifier: it ends, in bounded memory and time, and says what it could not read."""

import base64
import gzip
import json
import tracemalloc

import pytest

from aegis_stream.verify import chain, columns, read
from aegis_stream.verify.columns import Column, Index
from support.exports import check, write
from support.proof_log import ProofLog, sample


@pytest.fixture(scope="module")
def log():
    """A whole log."""
    return sample()


def test_a_line_without_an_end_is_passed_over(tmp_path, capsys, log, monkeypatch):
    """A line beyond the limit is not kept, and the lines after it are read."""
    monkeypatch.setattr(read, "LINE_BYTES_MAX", 20_000)
    path = write(tmp_path / "e", [*log.bodies[:5], b'{"a":"' + b"x" * 100_000 + b'"}', *log.bodies[5:]])
    found = check(capsys, log, path)

    assert (found.status, found.log["present"]) == (3, 205)
    assert "longer than 20000 bytes" in found.report["unreadable"]["lines"][0]["reason"]


def test_a_compressed_line_is_bounded_too(tmp_path, log, monkeypatch):
    """A small gzip file that unpacks to one enormous line takes memory for a line of the limit only."""
    monkeypatch.setattr(read, "LINE_BYTES_MAX", 1_000_000)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b" " * 60_000_000))
    export = read.Export(str(path))
    tracemalloc.start()
    lines = list(export.lines())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    export.close()

    assert [line.text for line in lines] == [b""]
    assert peak < 12_000_000


def test_control_characters_do_not_reach_the_terminal(tmp_path, capsys, log):
    """An event's id is shown, but not what would steer a terminal, and no more of it than a line."""
    from aegis_stream.verify.__main__ import main

    event = json.loads(log.bodies[50])
    event["event"]["id"] = "\x1b[2J\u202e\nverdict  COMPLETE" + "x" * 10_000
    path = write(tmp_path / "e", [*log.bodies, json.dumps(event).encode()])
    status = main([path, "--key", log.vkey], now_s=int(log.now.timestamp()))
    shown = capsys.readouterr().out

    assert status == 3
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\nverdict  COMPLETE" not in shown
    assert max(len(line) for line in shown.splitlines()) < 500


@pytest.mark.parametrize(
    "fields",
    [
        {"first": 1, "last": 2**60},
        {"first": -5, "last": 5},
        {"first": "1", "last": [1]},
        {"first": 1.5, "last": 3},
        {"first": 10**400},
        {"leaves": "\u00e4"},
        {"leaves": "AAAA"},
        {"leaves": {"a": 1}},
        {"ids": "AAAA"},
        {"contents": "AAAA"},
        {"frontier": "AAAA"},
        {"checkpoint": "x\n" * 100_000},
        {"checkpoint": ["x"]},
        {"v": None},
    ],
)
def test_nonsense_in_a_checkpoint_event_is_only_an_altered_event(tmp_path, capsys, log, fields):
    """Impossible numbers, lengths and types are refused; the verifier goes on."""
    event = json.loads(log.bodies[142])
    event["aegis"]["proof"].update(fields)
    lines = [*log.bodies[:142], json.dumps(event).encode(), *log.bodies[143:]]
    found = check(capsys, log, write(tmp_path / "e", lines))

    assert found.status == 1
    assert 143 in [one for one, _ in found.altered()]


def test_a_note_with_very_many_signatures_is_refused(tmp_path, capsys, log):
    """Each signature costs 5 ms to check: more than 64 are not checked."""
    event = json.loads(log.bodies[205])
    line = f"\u2014 {log.origin} {base64.b64encode(log.signers[0].key_id(1) + bytes(64)).decode()}\n"
    event["aegis"]["proof"]["checkpoint"] += line * 100
    found = check(capsys, log, write(tmp_path / "e", [*log.bodies[:205], json.dumps(event).encode()]))

    assert (found.status, found.log["last"], found.report["broken_checkpoint_events"]) == (3, 204, 1)


def test_the_search_for_parts_is_bounded(tmp_path, capsys, monkeypatch):
    """Forged parts that branch at every step end the search; the true parts of other seals still count."""
    log = ProofLog()
    log.events(300).seal()
    log.events(20).seal()
    tried = []
    original = chain.Tree.grow
    monkeypatch.setattr(chain.Tree, "grow", lambda tree, leaves: (tried.append(1), original(tree, leaves))[1])
    forged = []
    for body in log.bodies[300:304]:
        for number in range(1, 40):
            event = json.loads(body)
            proof = event["aegis"]["proof"]
            proof["leaves"] = base64.b64encode(
                bytes([number]) * 32 + base64.b64decode(proof["leaves"])[32:]
            ).decode()
            proof.pop("checkpoint", None)
            forged.append(json.dumps(event).encode())
    found = check(capsys, log, write(tmp_path / "e", forged + log.bodies))

    assert found.status in (1, 3)
    assert len(tried) < 3 * (chain.TRIES_MAX + 1000)


def test_equal_rows_cost_no_more_than_others():
    """An index over rows that are all the same is built in bounded steps, and other rows are still found."""
    column = Column(32)
    for _ in range(5000):
        column.append(b"\x05" * 32)
    column.append(b"\x06" * 32)
    index = Index(column)

    assert index.find(b"\x06" * 32) == 5000
    assert index.find(b"\x05" * 32) == 0
    assert len(index.find_all(b"\x05" * 32)) <= columns.PROBES_MAX
    assert index.find(b"\x07" * 32) == -1


def test_columns_move_to_disk():
    """A column beyond its limit lies in a file, and reads the same."""
    small, large = Column(4, in_memory_bytes_max=64), Column(4)
    for number in range(1000):
        for column in (small, large):
            column.append(number.to_bytes(4, "big"))

    assert list(small) == list(large)
    assert small[999] == (999).to_bytes(4, "big")
    assert small.rows(10, 3) == large.rows(10, 3)
    assert len(small) == 1000
    small.close()
