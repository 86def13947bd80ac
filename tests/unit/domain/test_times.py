"""Promises of `domain.times`: all of RFC 3339 is read, and no time moves into the next second."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.domain.ids import SECOND
from aegis_stream.domain.times import MICROS_MAX, from_datetime, from_text, is_time, plain_text, to_text

ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001


def micros(text: str) -> int:
    """Return what a text with at most six decimals says, by the standard library."""
    return from_datetime(datetime.fromisoformat(text))


@given(MOMENTS, st.sampled_from("Tt "), st.booleans(), st.text("0123456789", max_size=12))
def test_every_spelling_is_read(moment, separator, colon, decimals):
    """Any date, zone and number of decimals, with T, t or a blank and with or without a colon, is read exactly."""
    text = moment.replace(microsecond=0).isoformat()
    date, clock, zone = text[:10], text[11:19], text[19:]
    fraction = f".{decimals}" if decimals else ""

    spelled = f"{date}{separator}{clock}{fraction}{zone if colon else zone.replace(':', '')}"
    at = from_text(spelled)

    assert is_time(spelled)
    assert at == micros(text) + int((decimals + "000000")[:6])


@given(st.integers(0, MICROS_MAX))
def test_a_written_time_is_read_again(at):
    """What is written is read as the same time, and has the plain spelling already."""
    assert from_text(to_text(at)) == at
    assert plain_text(to_text(at)) == to_text(at)


@pytest.mark.parametrize(
    ("text", "as_written"),
    [
        ("2026-12-31T23:59:59.9999999Z", "2026-12-31T23:59:59.999999Z"),
        ("2026-12-31T23:59:59.9999995+00:00", "2026-12-31T23:59:59.999999Z"),
        ("2026-05-15 10:33:21.99999999999999999999-0000", "2026-05-15T10:33:21.999999Z"),
        ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999999Z"),
        ("9999-12-31T23:59:59.999999999z", "9999-12-31T23:59:59.999999Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
        ("2016-12-31T23:59:60.5z", "2016-12-31T23:59:59.999999Z"),
        ("2016-12-31T15:59:60-08:00", "2016-12-31T23:59:59.999999Z"),
        ("2017-01-01 05:29:60+0530", "2016-12-31T23:59:59.999999Z"),
        ("1990-06-30T23:59:60Z", "1990-06-30T23:59:59.999999Z"),
        ("2024-02-29T23:59:60Z", "2024-02-29T23:59:59.999999Z"),
        ("9999-12-31T23:59:60Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_stays_in_its_second(text, as_written):
    """Decimals beyond microseconds are cut off, and a leap second is the end of the second before it."""
    at = from_text(text)

    assert is_time(text)
    assert at is not None
    assert to_text(at) == as_written


@pytest.mark.parametrize(
    "text", ["0000-01-01T00:00:00Z", "0000-12-31T23:59:59.5+23:59", "0000-02-29T00:00:00Z"]
)
def test_the_year_0_is_read(text):
    """RFC 3339 has a year 0, which is a leap year; it ends where the year 1 begins."""
    at = from_text(text)
    begin = from_datetime(datetime(1, 1, 1, tzinfo=UTC))

    assert is_time(text)
    assert at is not None
    assert begin - 367 * 86_400 * SECOND <= at < begin


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-05-15", "2026-05-15T10:33:21", "2026-05-15T10:33Z", "20260515T103321Z", "1778841201"),
        *("2026-05-15T24:00:00Z", "2026-05-15T10:60:00Z", "2026-05-15T10:33:61Z", "2026-13-01T00:00:00Z"),
        *("2026-02-29T00:00:00Z", "2026-02-30T00:00:00.0000000Z", "2026-05-15T10:33:21+24:00", "2026-05-15T10:33:21+05"),
        *("2026-05-15T10:33:21.Z", "2026-05-15T10:33:21,5Z", "2026-05-15_10:33:21Z", "2026-05-15T10:33:21 +00:00"),
        *("2026-05-15T10:33:60Z", "2026-05-15T23:59:60Z", "2016-12-31T23:59:60-08:00", "2026-05-15T10:33:21Z\n"),
        *("+2026-05-15T10:33:21Z", "12026-05-15T10:33:21Z", "2026-05-15T10:33:2\u0661Z", "2026-05-15T10:33:21.1234567\u0661Z"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_rejected(text):
    """A text that RFC 3339 does not have is no time; a leap second is one at the end of a month in UTC only."""
    assert from_text(text) is None
    assert not is_time(text)


@given(MOMENTS, st.sampled_from("Tt "), st.booleans(), st.text("0123456789", max_size=12))
def test_a_plain_spelling_says_the_same(moment, separator, colon, decimals):
    """The plain spelling of a time is one that ISO 8601 readers know, says the same time, and is its own plain spelling."""
    text = moment.replace(microsecond=0).isoformat()
    fraction = f".{decimals}" if decimals else ""
    zone = text[19:] if colon else text[19:].replace(":", "")

    plain = plain_text(f"{text[:10]}{separator}{text[11:19]}{fraction}{zone}")

    assert from_text(plain) == micros(text) + int((decimals + "000000")[:6])
    assert datetime.fromisoformat(plain[:19] + "Z").tzinfo is not None
    assert plain_text(plain) == plain


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("2026-05-15 10:33:21+0000", "2026-05-15T10:33:21+00:00"),
        ("2026-05-15t10:33:21z", "2026-05-15T10:33:21Z"),
        ("2026-05-15t10:33:21.5-0800", "2026-05-15T10:33:21.5-08:00"),
        ("2026-05-15T10:33:21.1234567890Z", "2026-05-15T10:33:21.123456789Z"),
        ("2026-05-15T10:33:21.123456789Z", "2026-05-15T10:33:21.123456789Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
        ("2026-05-15 10:33:21-1800", "2026-05-15T10:33:21-18:00"),
        ("2026-05-15T10:33:21+18:01", "2026-05-14T16:32:21.000000Z"),
        ("0001-01-01T00:00:00+23:00", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59-23:00", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_the_plain_spelling(text, plain):
    """T, at most nine decimals, and Z or a zone with a colon up to 18 hours; everything else is written in UTC."""
    assert plain_text(text) == plain
