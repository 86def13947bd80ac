"""Who uses a key, as it is stored: functions of a unit of work, in the control lane.

A key has a row for each five minutes of about an hour; the rows are written over in turn, so nobody has to delete old ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

from aegis_stream.domain.ids import SECOND, KeyId, Micros, OrganizationNo
from aegis_stream.domain.organization import ApiKey, KeyUsage

from .database import Unit

SPAN_US = 300 * SECOND
PLACES = 13
"""Rows of a key: the five minutes that run now, and those of the hour before."""
HOUR_US = 3600 * SECOND


class KeyUse(NamedTuple):
    """What a key was used for since that was last written.

    Args:
        at, address: of the newest call; None for an unknown address.
        events: how many were recorded.
    """

    organization_no: OrganizationNo
    key_id: str
    at: Micros
    address: str | None
    events: int


def add(unit: Unit, uses: Sequence[KeyUse], now: Micros) -> None:
    """Add what keys were used for to the five minutes that run now."""
    turn = now // SPAN_US
    for one in uses:
        place, began_at = turn % PLACES, turn * SPAN_US
        unit.run(
            "add_key_use",
            (place, began_at, one.events, one.at, one.address, one.organization_no, one.key_id),
        )


def of_keys(unit: Unit, keys: Sequence[ApiKey], now: Micros) -> dict[KeyId, KeyUsage]:
    """Return what keys of one organization, in order of their ids, were used for; without those that were never used."""
    if not keys:
        return {}
    values = (keys[0].organization_no, keys[0].key_id, keys[-1].key_id)
    found: dict[KeyId, KeyUsage] = {}
    for key_id, began_at, events, at, address in unit.rows("key_uses", values):
        before = found.get(KeyId(key_id), KeyUsage())
        recent = events if now - HOUR_US < began_at <= now else 0
        found[KeyId(key_id)] = KeyUsage(at, address, before.events_last_hour + recent)
    return found
