"""Numbers, sizes and times as words."""

import pytest

from aegis_stream.console import words
from aegis_stream.domain.ids import Micros

NOW = Micros(1_780_023_540_000_000)
SECOND = 1_000_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (86_400, "1 d"),
        (93_600, "1 d 2 h"),
    ],
)
def test_a_duration_has_its_largest_units(seconds, text):
    """A duration is said as a person would."""
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, "never"),
        (NOW, "just now"),
        (NOW - 18 * 60 * SECOND, "18 min ago"),
        (NOW + 12 * SECOND, "in 12 s"),
    ],
)
def test_a_time_is_told_from_now(at, text):
    """A time is told by how long ago it is, or how far ahead."""
    assert words.ago(at, NOW) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1400, "1.4 kB"), (12_000_000_000, "12 GB"), (2_500_000_000_000, "2.5 TB")],
)
def test_a_size_has_its_unit(count, text):
    """A size is decimal, with three digits at most."""
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢", "plain ü 漢"),
        ("two\nlines", "two\nlines"),
        ("a\u202eb", "a\\u202eb"),
        ("\x1b[2J", "\\u001b[2J"),
        ("\u200bx\ufeff", "\\u200bx\\ufeff"),
        ("e\u0301", "e\u0301"),
        ("\U000e0041", "\\U000e0041"),
        ("tab\there", "tab\\u0009here"),
    ],
)
def test_nothing_is_hidden_in_shown_text(text, shown):
    """Control, format and bidirectional characters are written out; everything else stays."""
    assert words.visible(text) == shown
