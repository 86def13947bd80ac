"""The quotas of organizations at ingest: stored bytes, and bytes a second. One object per process, which ingest and access share.

Stored bytes are counted and judged by the store, in the transaction that appends. But a transaction that is undone costs the others as
much as one that is kept. So what the store has refused is remembered for a few seconds, and refused here meanwhile.

Bytes a second are counted here. A request may use more than is left, or no request could be larger than that; the next one waits
until the excess is paid off.
"""

import math
from collections.abc import Callable
from typing import TypeVar

from aegis_stream.domain.ids import SECOND, Micros, OrganizationId, OrganizationNo
from aegis_stream.domain.rate import Buckets, Rate
from aegis_stream.errors import AegisError, Limited, OutOfRoom

T = TypeVar("T")

REMEMBER_US = 5 * SECOND
"""How long a refusal is remembered: room that retention or the operator makes is found this much later."""
BURST_S = 2
"""Seconds of its rate that an organization may use at once."""
ORGANIZATIONS_MAX = 10_000
"""Most organizations that are remembered in each table."""
TOLD = Rate(1, 60)
"""Calls of `on_refusal`: one a minute for each organization and quota."""


class IngestQuotas:
    """Judges what organizations send. Times are those of a clock that nobody sets.

    Args:
        bytes_per_second: rate of an organization that has none of its own; 0 for no limit.
        processes: API processes that share each rate, until `share` says otherwise.
        on_refusal: called as on_refusal(organization, "stored_bytes" or "ingest_bytes_per_second") when one is refused.

    `active` is False while nothing has to be judged, so that the path of an event costs one look at it.
    """

    __slots__ = (
        "_bytes_per_second",
        "_full",
        "_full_at",
        "_on_refusal",
        "_own_rates",
        "_processes",
        "_told",
        "active",
    )

    def __init__(
        self,
        bytes_per_second: int = 0,
        processes: int = 1,
        on_refusal: Callable[[OrganizationId, str], None] | None = None,
    ) -> None:
        self._bytes_per_second = bytes_per_second
        self._processes = processes
        self._on_refusal = on_refusal
        self._own_rates: dict[OrganizationNo, int] = {}
        self._full_at: dict[OrganizationNo, float] = {}  # when all of an organization's burst is there again
        self._full: dict[OrganizationNo, tuple[Micros, OutOfRoom]] = {}
        self._told: Buckets = Buckets(TOLD)
        self.active = bytes_per_second > 0

    def share(self, processes: int) -> None:
        """Note how many API processes share each rate from now on."""
        self._processes = processes

    def set_rate(self, organization_no: OrganizationNo, bytes_per_second: int | None) -> None:
        """Note the rate that the operator has set for an organization; None for the default. A new rate begins without excess."""
        if bytes_per_second == self._own_rates.get(organization_no):
            return
        self._full_at.pop(organization_no, None)
        if bytes_per_second is None:
            del self._own_rates[organization_no]
        else:
            _evict(self._own_rates, organization_no)
            self._own_rates[organization_no] = bytes_per_second
        self._judge()

    def check_rate(self, organization_no: OrganizationNo, org_id: OrganizationId, now: Micros) -> None:
        """Refuse an organization that has used more than its rate. Raises: Limited."""
        full_at = self._full_at.get(organization_no)
        if full_at is None:
            return
        wait_us = full_at - now - BURST_S * SECOND
        rate = self._own_rates.get(organization_no, self._bytes_per_second)
        if wait_us <= 0 or not rate:
            return
        self._tell(org_id, "ingest_bytes_per_second", now)
        raise Limited(
            f"this organization may record {rate:,} bytes of events per second, and has sent more: send again after the "
            "seconds of Retry-After, or ask the operator for a larger quota",
            retry_after_s=math.ceil(wait_us / SECOND),
            code="ingest-quota",
        )

    def refusal(
        self, organization_no: OrganizationNo, org_id: OrganizationId, size: int, now: Micros
    ) -> AegisError | None:
        """Count events that are to be stored; return why they are refused, and then they are not counted."""
        noted = self._full.get(organization_no)
        if noted is not None:
            at, error = noted
            if now - at >= REMEMBER_US:
                del self._full[organization_no]
                self._judge()
            elif size > error.room:
                return OutOfRoom(size, error.stored_bytes, error.stored_bytes_max)
        try:
            self.check_rate(organization_no, org_id, now)
        except Limited as error:
            return error
        rate = self._own_rates.get(organization_no, self._bytes_per_second)
        if rate:
            _evict(self._full_at, organization_no)
            begin = max(now, self._full_at.get(organization_no, now))
            self._full_at[organization_no] = begin + size * SECOND * self._processes / rate
        return None

    def out_of_room(
        self, organization_no: OrganizationNo, org_id: OrganizationId, error: OutOfRoom, now: Micros
    ) -> None:
        """Note that the store had no room for events of an organization."""
        _evict(self._full, organization_no)
        self._full[organization_no] = now, error
        self._judge()
        self._tell(org_id, "stored_bytes", now)

    def _judge(self) -> None:
        self.active = bool(self._bytes_per_second or self._own_rates or self._full)

    def _tell(self, org_id: OrganizationId, quota: str, now: Micros) -> None:
        if self._on_refusal is not None and not self._told.take((org_id, quota), now):
            self._on_refusal(org_id, quota)


def _evict(table: dict[OrganizationNo, T], organization_no: OrganizationNo) -> None:
    """Remove the oldest entry of a full table before a new one is added."""
    if len(table) >= ORGANIZATIONS_MAX and organization_no not in table:
        del table[next(iter(table))]
