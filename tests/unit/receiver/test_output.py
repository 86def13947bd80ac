"""Promises of aegis_stream.receiver.output: safe lines for a terminal, records without secrets."""

import asyncio
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.receiver.output import LineWriter, event_line, notice_line, printable, record_line

AT = "2026-05-15T10:33:21.456+00:00"


@given(st.text(st.characters()))
def test_nothing_but_visible_characters_reaches_a_terminal(text):
    """The line of any event is one line of printable characters."""
    event = {
        "event": {"id": text, "dataset": text, "action": text},
        "aegis": {"decision": text, "summary": text},
    }

    for line in (event_line(event, AT, "event"), notice_line(AT, "refused", text)):
        assert line.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢", "plain ü 漢"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\x9b31m", r"\x9b31m"),
        ("\ud800", r"\ud800"),
        ("x" * 201, "x" * 199 + "…"),
    ],
    ids=ascii,
)
def test_control_characters_are_spelled_out(text, shown):
    """Control characters, line ends and direction marks are shown as escapes; long texts are truncated."""
    assert printable(text) == shown


def test_a_line_says_what_matters():
    """A line has time, mark, id, dataset, action and summary."""
    event = {
        "event": {"id": "pflt_1", "dataset": "aegis.preflight", "action": "preflight_check"},
        "aegis": {"decision": "BLOCKED", "summary": "Detected SSN; blocked."},
    }

    assert event_line(event, AT, "duplicate") == (
        "10:33:21.456 duplicate pflt_1  aegis.preflight  preflight_check/BLOCKED  Detected SSN; blocked."
    )


@pytest.mark.parametrize("event", [{}, {"event": []}, {"event": {"id": 1}, "aegis": "x"}], ids=repr)
def test_any_object_has_a_line(event):
    """An object that is not an audit event is shown with the fields it has."""
    assert event_line(event, AT, "event") == "10:33:21.456 event     (no id)  -  -"


def test_a_record_keeps_the_body_and_no_secret():
    """The body is recorded byte for byte; a header value only if it cannot be a secret."""
    body = '{"a": "ü\\u0000 \u2028"}'.encode()
    headers = {"content-type": "application/json", "authorization": "Bearer s3cret", "whatever-key": "s3cret"}

    line = record_line(AT, "/audit", headers, body, 202)

    assert "s3cret" not in line
    assert "\n" not in line
    assert json.loads(line) == {
        "at": AT,
        "path": "/audit",
        "headers": {
            "content-type": "application/json",
            "authorization": "<redacted>",
            "whatever-key": "<redacted>",
        },
        "status": 202,
        "body": body.decode(),
    }
    assert json.loads(line)["body"].encode() == body


def test_a_body_that_is_no_text_is_recorded_in_base64():
    """A compressed body can be restored from the record too."""
    assert json.loads(record_line(AT, "/", {}, b"\x1f\x8b\xff", 202))["body_base64"] == "H4v/"


class CountingStream(io.StringIO):
    """A stream that counts its writes."""

    writes = 0

    def write(self, text):
        self.writes += 1
        return super().write(text)


async def test_lines_of_one_turn_are_one_write():
    """Lines are collected until the next turn of the event loop, then written together and in order."""
    stream = CountingStream()
    writer = LineWriter(stream, on_fault=pytest.fail)

    writer.add("one")
    writer.add("two")
    assert stream.getvalue() == ""
    await asyncio.sleep(0)

    assert stream.getvalue() == "one\ntwo\n"
    assert stream.writes == 1


async def test_an_ascii_terminal_gets_escapes():
    """A stream that cannot encode a character gets its escape, not an exception."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as stream:
        writer = LineWriter(stream, on_fault=pytest.fail)
        writer.add("ü")
        writer.flush()

        assert raw.getvalue() == b"\\xfc\n"


async def test_a_full_disk_is_told_once():
    """A stream that fails is reported once; later lines are dropped silently."""
    faults = []

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    writer = LineWriter(Full(), on_fault=faults.append)

    for _ in range(3):
        writer.add("line")
        writer.flush()

    assert [fault.errno for fault in faults] == [28]
