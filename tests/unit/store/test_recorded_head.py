"""The number of acknowledged events beside the database: it finds a database that was rolled back."""

import pytest

from aegis_stream.errors import Misconfigured
from aegis_stream.store.recorded_head import RecordedHead


def test_what_was_noted_is_read(tmp_path):
    """The newest number counts, whatever its length, and the file is private."""
    recorded = RecordedHead(tmp_path)
    assert recorded.read() == 0

    for events in (9, 123_456_789_012, 7):
        recorded.write(events)
        assert recorded.read() == events
    assert oct(recorded.path.stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize(
    "text", [b"", b"12", b"12 00000000", b"\0" * 41, b"x" * 41, b"-5 12345678", b"\xff\xfe 1"]
)
def test_a_torn_note_stops_nothing(tmp_path, text):
    """A note that is not whole, as a power cut leaves it, counts as none: it must not keep a good database from starting."""
    recorded = RecordedHead(tmp_path)
    recorded.path.write_bytes(text)

    assert recorded.read() == 0
    recorded.refuse_rollback(0)


def test_a_database_that_is_behind_is_refused(tmp_path):
    """The sentence says how many events are missing, and the way out; a database that is ahead is fine."""
    recorded = RecordedHead(tmp_path)
    recorded.write(100)

    recorded.refuse_rollback(100)
    recorded.refuse_rollback(101)
    with pytest.raises(
        Misconfigured, match=r"lacks 3 of 100 acknowledged events.*aegis restore --replace"
    ) as error:
        recorded.refuse_rollback(97)
    assert error.value.code == "store-rolled-back"
