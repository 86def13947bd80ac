"""Promises of telemetry: lines with names from one table, readable by programs and by people."""

import json
import re

import pytest

from aegis_stream.errors import Misconfigured
from aegis_stream.telemetry import LOG_EVENTS, METRICS, Log


def test_writes_a_line_of_json(capsys):
    """With the format json a line is one object with time, level, event and the values; nothing is written to standard output."""
    Log("json").warning("worker.started", worker_id="wrk_1", count=2, note="a\nb")

    written = capsys.readouterr()
    (line,) = written.err.splitlines()
    values = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", values.pop("at"))
    assert values == {
        "level": "warning",
        "event": "worker.started",
        "worker_id": "wrk_1",
        "count": 2,
        "note": "a\nb",
    }
    assert written.out == ""


def test_writes_a_line_for_people(capsys):
    """With the format console a line has time, level, event and the values."""
    Log("console").info("worker.started", worker_id="wrk_1", note="a\nb")

    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r'\d\d:\d\d:\d\d info    worker\.started worker_id="wrk_1" note="a\\nb"', line)


@pytest.mark.parametrize(
    "level, written",
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_leaves_out_what_is_below_the_level(capsys, level, written):
    """Only lines of this level and above are written."""
    log = Log("json", level)

    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("worker.started")

    assert [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()] == written


def test_values_of_any_type_are_written(capsys):
    """A value that JSON does not support is written as text."""
    Log("json").info("worker.started", path=object)

    assert "class 'object'" in json.loads(capsys.readouterr().err)["path"]


def test_an_unknown_event_is_a_bug():
    """A log event that is not in the table is an error, so that the table stays complete."""
    with pytest.raises(AssertionError, match="LOG_EVENTS"):
        Log("json").info("worker.unheard_of")


def test_an_unknown_form_is_refused():
    """Only json and console are formats."""
    with pytest.raises(Misconfigured, match="xml"):
        Log("xml")


def test_two_logs_do_not_write_twice(capsys):
    """A second log does not repeat the lines of the first."""
    Log("json")
    Log("json").info("worker.started")

    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("name", sorted(LOG_EVENTS))
def test_log_events_are_named_by_one_grammar(name):
    """A log event is named subject.what_happened and has a description."""
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", name)
    assert LOG_EVENTS[name].endswith(".")


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metrics_are_named_by_one_grammar(name):
    """A metric begins with aegis_; only counters end in _total; each has a description."""
    kind, meaning = METRICS[name]

    assert re.fullmatch(r"aegis_[a-z_]+", name)
    assert kind in ("counter", "gauge")
    assert (kind == "counter") == name.endswith("_total")
    assert meaning.endswith(".")
