"""Times as text and back: RFC 3339, UTC, microseconds."""

from datetime import UTC, datetime, timedelta

from .ids import SECOND, Micros

MICROS_MAX = Micros(253_402_300_799_999_999)
"""The last microsecond of the year 9999; RFC 3339 cannot express later times."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_text(at: Micros) -> str:
    """Write a time as RFC 3339 with six decimals, as in 2026-05-15T10:33:21.456789Z."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_datetime(moment: datetime) -> Micros:
    """Convert a datetime with a time zone to microseconds, exactly: no float is involved."""
    delta = moment - _EPOCH
    return Micros((delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds)
