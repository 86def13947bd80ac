"""Promises of `domain.search_line`: a line says what to look for, and a mistake in it is shown at its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.event_filter import DECISIONS, FIELDS_MAX, WORDS_MAX, EventFilter
from aegis_stream.domain.search_line import (
    LINE_CHARACTERS_MAX,
    LineProblem,
    SearchLine,
    parse_line,
    parse_words,
)
from aegis_stream.domain.times import from_text

NOW = from_text("2026-05-15T12:00:00Z")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PATHS = TEXTS.filter(bool)
LINES = st.builds(
    SearchLine,
    st.builds(
        EventFilter,
        st.none() | TEXTS,
        st.none() | st.sampled_from(DECISIONS),
        st.lists(PATHS, max_size=WORDS_MAX).map(tuple),
        st.dictionaries(PATHS, TEXTS, max_size=FIELDS_MAX).map(lambda found: tuple(found.items())),
    ),
    st.none() | st.sampled_from(["2h", "15m", "2026-05-15", "2026-05-15T10:33:21Z"]),
    st.none() | st.sampled_from(["1d", "2026-05-15T10:33:21.5+02:00"]),
)


def test_a_line_says_what_to_look_for():
    """Names with a meaning, paths of fields and texts stand in one line, in any order."""
    line = 'since:2h dataset:aegis.preflight "credit card" user.id:alice decision:blocked "dataset":x ssn'

    assert parse_line(line) == SearchLine(
        EventFilter(
            "aegis.preflight", "BLOCKED", ("credit card", "ssn"), (("user.id", "alice"), ("dataset", "x"))
        ),
        since="2h",
    )


@given(LINES)
def test_a_line_that_is_written_reads_the_same(wanted):
    """Whatever is looked for, its line means exactly that."""
    assert parse_line(wanted.text()) == wanted


@given(st.text(max_size=60) | st.text('ab:" \\', max_size=20))
def test_any_line_is_read_or_has_a_problem_at_a_place(line):
    """No line is an error of ours; a problem lies within the line, and what was read can be written again."""
    found = parse_line(line)

    if isinstance(found, LineProblem):
        assert 0 <= found.start < found.end <= len(line)
        assert found.message
    else:
        assert parse_line(found.text()) == found


@pytest.mark.parametrize(
    ("line", "wrong", "says"),
    [
        ("card dataset:", "dataset:", "a value is missing after dataset:"),
        ("dataset: x", "dataset:", "a value is missing after dataset:"),
        ("card :x", ":", "the name of a field is missing"),
        ('card "two', '"two', "the closing quote is missing"),
        ('"a\\n"', '"a\\n"', "the closing quote is missing"),
        ('card "a""b"', '"a""', "a blank is missing"),
        ("decision:MAYBE card", "decision:MAYBE", "a decision is one of ALLOWED"),
        ("since:yesterday", "since:yesterday", "since is a duration such as 15m"),
        ("until:2026-02-30", "until:2026-02-30", "until is a duration"),
        ("dataset:a dataset:b", "dataset:b", "dataset appears twice"),
        ("user.id:a user.id:b", "user.id:b", "user.id appears twice"),
        ('card ""', '""', "is empty"),
        ("x" * 257, "x" * 257, "at most 256 characters"),
        ("f:" + "x" * 257, "f:" + "x" * 257, "at most 256 characters"),
        (" ".join(["x"] * 11), "x", "at most 10 texts"),
        (" ".join(f"f{n}:x" for n in range(11)), "f10:x", "at most 10 fields"),
    ],
)
def test_a_mistake_is_shown_at_its_place(line, wrong, says):
    """The wrong part is named by its place, with what to do."""
    found = parse_line(line)

    assert isinstance(found, LineProblem)
    assert line[found.start : found.end] == wrong
    assert says in found.message


def test_a_long_line_is_refused():
    """A line has a limit, which is told."""
    found = parse_line("x " * LINE_CHARACTERS_MAX)

    assert isinstance(found, LineProblem)
    assert "more than 2000 characters" in found.message


@pytest.mark.parametrize(
    ("since", "until", "first", "last"),
    [
        ("2h", None, "2026-05-15T10:00:00Z", None),
        ("1d", "30m", "2026-05-14T12:00:00Z", "2026-05-15T11:30:00Z"),
        ("2026-05-14", "2026-05-14", "2026-05-14T00:00:00Z", "2026-05-14T23:59:59.999999Z"),
        (None, "2026-05-14T10:00:00+02:00", None, "2026-05-14T08:00:00Z"),
        ("999999w", None, "1970-01-01T00:00:00Z", None),
    ],
)
def test_times_are_durations_days_or_times(since, until, first, last):
    """A duration counts back from now; a day is a day of UTC, whole."""
    expected = (from_text(first) if first else None, from_text(last) if last else None)

    assert SearchLine(since=since, until=until).span(NOW) == expected


def test_words_are_texts_with_blanks_between_them():
    """In words a colon is an ordinary character, and quotes keep words together."""
    assert parse_words('http://x  "two words"') == ("http://x", "two words")
    assert parse_words(" ") == ()
    assert isinstance(parse_words('"open'), LineProblem)
