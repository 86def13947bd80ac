"""Random logs, shapes and changes: no false alarm, and no change that goes unnoticed."""

import json
import os
import random
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis_stream.verify.demands import Demands
from aegis_stream.verify.findings import Findings
from aegis_stream.verify.judge import judge
from aegis_stream.verify.note import read_key
from aegis_stream.verify.read import Export
from support.exports import CONTENT_SHAPES, EXACT_SHAPES, datadog
from support.proof_log import ProofLog

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = (
    st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 1e21, 1e-7, 2.0**53, 5e-324])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
extras = st.lists(st.dictionaries(texts.map("x_".__add__), values, max_size=3), min_size=1, max_size=12)
SHAPES = [one for one in (*EXACT_SHAPES, *CONTENT_SHAPES) if one is not datadog]
LOGS = int(os.environ.get("AEGIS_TEST_RANDOM_LOGS", "40"))
"""Random logs of each test here; each is exported in all shapes."""
SETTINGS = settings(
    max_examples=LOGS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def log_of(events, seals, chance):
    """Return a log of these events, sealed here and there, whose last checkpoint but one is covered."""
    log = ProofLog()
    for number, more in enumerate(events * 3):
        log.event(number, **more)
        if chance.random() < seals:
            log.seal()
        if chance.random() < 0.1:
            log.now -= timedelta(seconds=chance.randrange(100))  # the clock may go back
    log.seal()
    log.seal()
    return log


def verify(tmp_path, log, lines) -> Findings:
    """Judge an export by the log's key."""
    path = tmp_path / "export"
    path.write_bytes(b"\n".join(lines))
    export = Export(str(path))
    try:
        now_s = int(log.now.timestamp()) + 1000
        return judge([export], Demands(keys=(read_key(log.vkey),), now_s=now_s))
    finally:
        export.close()


@given(extras, st.floats(0, 0.5), st.randoms(use_true_random=False))
@SETTINGS
def test_no_honest_export_raises_an_alarm(tmp_path, events, seals, chance):
    """Whatever was recorded, however it was sealed, and in every shape it comes back in: complete and unaltered."""
    log = log_of(events, seals, chance)
    for shape in SHAPES:
        found = verify(tmp_path, log, shape(log.bodies))

        assert found.status == 0, (shape, found.logs[0].damages(), found.logs[0].doubts(), found.unreadable)
        assert found.logs[0].present == len(log.bodies) - 1


def changed(lines, chance):
    """Return an export to which one thing was done, and whether it is only cut short behind a checkpoint."""
    lines = lines[:]
    at = chance.randrange(len(lines) - 1)
    kind = chance.choice(["delete", "byte", "swap leaf", "cut"])
    if kind == "delete":
        del lines[at]
    elif kind == "cut":
        del lines[at:]
    elif kind == "byte":
        body = bytearray(lines[at])
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        lines[at] = bytes(body)
    else:
        other = chance.randrange(len(lines) - 1)
        lines[at] = lines[other]
        if at == other:
            del lines[at]
    return lines, kind == "cut"


@given(extras, st.floats(0, 0.5), st.randoms(use_true_random=False))
@SETTINGS
def test_no_change_goes_unnoticed(tmp_path, events, seals, chance):
    """Any deleted event, flipped bit or replaced event is noticed. Only a cut right behind a checkpoint is not, without an anchor."""
    log = log_of(events, seals, chance)
    lines, is_cut = changed(log.bodies, chance)
    if lines == log.bodies or set(lines) >= set(log.bodies[:-1]):
        return
    findings = verify(tmp_path, log, lines)

    if is_cut and findings.status == 0:
        assert findings.logs[0].end == len(lines) - 1
        return
    whole = findings.logs[0].begin == 1
    assert findings.status != 0 or not whole
    assert (
        findings.status == 0 or findings.logs[0].damages() or findings.logs[0].doubts() or findings.unreadable
    )


@given(st.binary(max_size=300) | texts.map(str.encode) | values.map(json.dumps).map(str.encode))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_judged(tmp_path, data):
    """Nothing that stands in an export ends the verifier by an error of its own."""
    log = ProofLog().events(3)
    log.seal()

    assert verify(tmp_path, log, [*log.bodies, data]).status in (0, 1, 3)


@given(st.integers(0, 2**32), st.integers(1, 40))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_checkpoint_events_are_judged(tmp_path, seed, flips):
    """However checkpoint events are damaged, the verdict is one of the four, and never that all is well."""
    chance = random.Random(seed)
    log = ProofLog().events(100)
    log.seal()
    log.events(10).seal()
    lines = log.bodies[:]
    at = chance.choice([number for number, body in enumerate(lines[:-1]) if b"checkpoint" in body])
    body = bytearray(lines[at])
    for _ in range(flips):
        body[chance.randrange(len(body))] = chance.randrange(32, 127)
    lines[at] = bytes(body)
    if lines[at] == log.bodies[at]:
        return

    assert verify(tmp_path, log, lines).status in (1, 3)
