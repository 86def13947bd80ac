"""Times as text and back: RFC 3339, UTC, microseconds."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import msgspec

from .ids import SECOND, Micros

MICROS_MAX = Micros(253_402_300_799_999_999)
"""The last microsecond of the year 9999; RFC 3339 cannot express later times."""
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]
"""The times that the decoder reads. Not all of RFC 3339, and it rounds longer fractions up: see `from_text`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_2000_DAYS = 730_485
"""Days from the year 0 to the year 2000, which has the same days; datetime begins with the year 1."""
_TEXT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d))",
    re.ASCII,
)
_DAY = 86_400 * SECOND
_YEAR_1 = Micros(-62_135_596_800 * SECOND)
_PLAIN = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:0\d|1[0-7]):\d\d|[+-]18:00)", re.ASCII
)
_BEYOND_MICROS = slice(26, 27)
"""Where a text has its seventh decimal, if it has one."""
_convert = msgspec.convert


def to_text(at: Micros) -> str:
    """Write a time as RFC 3339 with six decimals, as in 2026-05-15T10:33:21.456789Z."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_datetime(moment: datetime) -> Micros:
    """Convert a datetime with a time zone to microseconds, exactly: no float is involved."""
    delta = moment - _EPOCH
    return Micros((delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds)


def from_text(text: str) -> Micros | None:
    """Read a time with a zone; return microseconds since 1970, or None if it is not one.

    Decimals beyond microseconds are cut off, so that no time moves into the next second. A leap second is the last
    microsecond before it ends. The result may lie before 1970, or after MICROS_MAX because of the zone.

    Source: RFC 3339 sections 5.6 and 5.7; a blank for the T, and a zone without a colon, are accepted as well.
    """
    if not text[_BEYOND_MICROS].isdigit():
        try:
            return from_datetime(_convert(text, Timestamp))
        except msgspec.ValidationError:
            pass
    return _from_rare_text(text)


def is_time(text: str) -> bool:
    """Tell whether a text is a time with a zone, which `from_text` can read."""
    try:
        _convert(text, Timestamp)
    except msgspec.ValidationError:
        return _from_rare_text(text) is not None
    return True


def plain_text(text: str) -> str:
    """Return a valid time in a spelling that every reader of ISO 8601 knows; unchanged if it already has one.

    That is T, at most nine decimals (more are cut off), and Z or a zone with a colon of at most 18 hours. A leap second and a
    zone beyond 18 hours, which calendars do not have, are written in UTC with microseconds.
    """
    if _PLAIN.fullmatch(text):
        return text
    found = _TEXT.fullmatch(text)
    assert found is not None, "ingest accepts nothing else"
    year, month, day, hour, minute, second, fraction, sign, zone_hours, zone_minutes = found.groups()
    if second == "60" or (sign and f"{zone_hours}{zone_minutes}" > "1800"):
        at = _from_rare_text(text)
        assert at is not None
        return to_text(Micros(min(max(_YEAR_1, at), MICROS_MAX)))
    decimals = f".{fraction[:9]}" if fraction else ""
    zone = f"{sign}{zone_hours}:{zone_minutes}" if sign else "Z"
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}{decimals}{zone}"


def _from_rare_text(text: str) -> Micros | None:
    """Read what the decoder rejects or rounds: leap seconds, longer fractions, the year 0."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    fraction, sign, zone_hours, zone_minutes = found.groups()[6:]
    micros = int((fraction or "")[:6].ljust(6, "0"))
    is_leap = second == 60
    if is_leap:
        second, micros = 59, SECOND - 1
    west = 1 if sign == "-" else -1
    offset_us = west * (int(zone_hours or 0) * 60 + int(zone_minutes or 0)) * 60 * SECOND
    try:
        local = from_datetime(datetime(year or 2000, month, day, hour, minute, second, micros, tzinfo=UTC))
    except ValueError:
        return None
    at = Micros(local + offset_us - (0 if year else _YEAR_2000_DAYS) * _DAY)
    return None if is_leap and not _ends_a_month(at) else at


def _ends_a_month(at: Micros) -> bool:
    """Tell whether the next microsecond begins a month in UTC: a leap second can only be the last one of a month."""
    days, rest = divmod(at + 1, _DAY)
    if rest:
        return False
    try:
        return date.fromordinal(_EPOCH.toordinal() + days).day == 1
    except (ValueError, OverflowError):
        return True  # the last second of 9999, or a year that has no calendar here
