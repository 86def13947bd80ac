"""Promises about identifiers and times: what they look like, that they sort, that nothing is lost."""

import base64
import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.ids import RANDOM_BYTES, is_organization_id, new_id, new_secret
from aegis_stream.domain.times import from_datetime, to_text

MICROS = st.integers(0, 250_000_000_000_000_000)  # to the year 9892
CHANCE = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


@settings(deadline=None)
@given(now=MICROS, chance=CHANCE)
def test_an_id_is_url_safe_and_of_fixed_length(now, chance):
    """An id is its prefix and 26 characters that need no escaping anywhere."""
    assert re.fullmatch(r"pflt_[0-9a-hjkmnp-tv-z]{26}", new_id("pflt", now, chance))


@settings(deadline=None)
@given(first=MICROS, second=MICROS, one=CHANCE, other=CHANCE)
def test_ids_sort_by_time(first, second, one, other):
    """Of two ids from different milliseconds the later one sorts after the earlier one, whatever the random bytes are."""
    earlier, later = sorted([first // 1000, second // 1000])
    if earlier < later:
        assert new_id("x", earlier * 1000, one) < new_id("x", later * 1000, other)


def test_an_id_is_a_ulid():
    """Ten characters of milliseconds and sixteen of random bits, as other programs read them."""
    assert new_id("x", 1_469_918_176_385_999, b"\x00" * 10) == "x_01aryz6s41" + "0" * 16
    assert new_id("x", 0, b"\x00" * 9 + b"\x21") == "x_" + "0" * 24 + "11"


@settings(deadline=None)
@given(now=MICROS, one=CHANCE, other=CHANCE)
def test_ids_keep_all_their_chance(now, one, other):
    """Two ids of the same moment are equal only if all 80 random bits are."""
    assert (new_id("x", now, one) == new_id("x", now, other)) == (one == other)


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_a_secret_keeps_all_its_chance(chance):
    """A key's text is its prefix and 32 bytes as base64url without padding."""
    text = new_secret("aegis_sk", chance)

    assert re.fullmatch(r"aegis_sk_[A-Za-z0-9_-]{43}", text)
    assert base64.urlsafe_b64decode(text.removeprefix("aegis_sk_") + "=") == chance


@pytest.mark.parametrize("text", ["org_a", "org_abc", "org_A-Z_9", "org_" + "a" * 60])
def test_takes_organization_ids(text):
    """An organization's id is org_ and 1 to 60 letters, digits, underscores or hyphens."""
    assert is_organization_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "org_", "abc", "ORG_a", "org_a b", "org_a/b", "org_é", "org_a\n", "org_" + "a" * 61, " org_a"],
)
def test_refuses_other_organization_ids(text):
    """Anything else is not an organization's id."""
    assert not is_organization_id(text)


def test_writes_times_as_the_contract_shows_them():
    """A time is RFC 3339, UTC, with six decimals."""
    assert to_text(0) == "1970-01-01T00:00:00.000000Z"
    assert to_text(1_778_841_201_456_789) == "2026-05-15T10:33:21.456789Z"
    assert to_text(-1) == "1969-12-31T23:59:59.999999Z"


@settings(deadline=None)
@given(MICROS)
def test_times_come_back_exactly(at):
    """A written time is read back to the same microsecond."""
    assert from_datetime(datetime.fromisoformat(to_text(at))) == at


@settings(deadline=None)
@given(
    MICROS,
    st.integers(-14 * 60, 14 * 60),
)
def test_times_do_not_depend_on_their_zone(at, offset_minutes):
    """The same moment in another zone is the same number."""
    elsewhere = timezone(timedelta(minutes=offset_minutes))

    assert from_datetime(datetime.fromisoformat(to_text(at)).astimezone(elsewhere)) == at
