"""What organizations may record: promises of pipeline/quotas.py."""

import random

import pytest

from aegis_stream.domain.ids import SECOND, Micros, OrganizationId, OrganizationNo
from aegis_stream.errors import Limited, OutOfRoom
from aegis_stream.pipeline.quotas import ORGANIZATIONS_MAX, REMEMBER_US, IngestQuotas

ORG, OTHER = OrganizationNo(1), OrganizationNo(2)
ID = OrganizationId("org_a")


def send(quotas: IngestQuotas, size: int, now: float, org: OrganizationNo = ORG) -> float:
    """Send so many bytes at a time in seconds; return 0, or the seconds to wait."""
    refused = quotas.refusal(org, ID, size, Micros(round(now * SECOND)))
    if refused is None:
        return 0
    assert isinstance(refused, Limited)
    with pytest.raises(Limited) as same:
        quotas.check_rate(org, ID, Micros(round(now * SECOND)))
    assert same.value.retry_after_s == refused.retry_after_s
    return refused.retry_after_s


def test_without_quotas_nothing_is_judged():
    """By default there is no limit, and nothing to look at on the path of an event."""
    quotas = IngestQuotas()

    assert not quotas.active
    assert [send(quotas, 10**9, 0) for _ in range(100)] == [0] * 100


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("size", [1, 100, 999, 5000, 1_000_000])
def test_in_the_long_run_the_rate_is_kept(processes, size):
    """Whatever the size of requests, what is recorded in a long time is the rate, a burst, and one request at most."""
    rate, chance, now, taken = 1000, random.Random(size), 0.0, 0
    quotas = IngestQuotas(rate, processes)
    end = 100 * max(1, size / rate) * processes
    while now < end:
        wait = send(quotas, size, now)
        taken += 0 if wait else size
        now += wait * chance.random() * 1.5 if wait else 0

    assert 0.9 * rate / processes * end <= taken <= rate / processes * (end + 2) + size


def test_who_waits_as_long_as_told_is_served():
    """After the seconds of Retry-After the next request is accepted, also after one that was larger than the rate."""
    quotas = IngestQuotas(1000)

    assert send(quotas, 10_000, 0) == 0
    wait = send(quotas, 1, 0)
    assert wait == 8
    assert send(quotas, 1, wait - 0.5) == 1
    assert send(quotas, 1, wait) == 0


def test_organizations_have_rates_of_their_own():
    """One that sends too much delays no other, and one that is quiet has its burst again."""
    quotas = IngestQuotas(1000)
    send(quotas, 100_000, 0)

    assert send(quotas, 1, 0) > 0
    assert send(quotas, 2000, 0, OTHER) == 0
    assert send(quotas, 2000, 1000) == 0


def test_an_own_rate_takes_the_place_of_the_default():
    """A rate that the operator sets holds at once, without the excess of the old one; None is the default again, 0 no limit."""
    quotas = IngestQuotas()
    quotas.set_rate(ORG, 10)
    assert quotas.active
    send(quotas, 1_000_000, 0)
    assert send(quotas, 1, 0) > 90_000
    quotas.set_rate(ORG, 10)
    assert send(quotas, 1, 0) > 90_000, "nothing has changed"
    quotas.set_rate(ORG, 1_000_000)
    assert [send(quotas, 2_100_000, 0), send(quotas, 1, 0)] == [0, 1]
    quotas.set_rate(ORG, 0)
    assert [send(quotas, 10**12, 0) for _ in range(9)] == [0] * 9
    quotas.set_rate(ORG, None)
    assert not quotas.active
    assert send(quotas, 10**12, 0) == 0


def test_what_the_store_refused_is_refused_here_for_a_moment():
    """Requests that do not fit are refused without the store; those that fit are not, and after a few seconds all are tried."""
    quotas = IngestQuotas()
    quotas.out_of_room(ORG, ID, OutOfRoom(500, 900, 1000), Micros(0))
    assert quotas.active

    again = quotas.refusal(ORG, ID, 101, Micros(1))
    assert isinstance(again, OutOfRoom)
    assert (again.size, again.stored_bytes, again.stored_bytes_max) == (101, 900, 1000)
    assert quotas.refusal(ORG, ID, 100, Micros(1)) is None
    assert quotas.refusal(OTHER, ID, 10**9, Micros(1)) is None
    assert quotas.refusal(ORG, ID, 500, Micros(REMEMBER_US)) is None
    assert not quotas.active


def test_the_tables_are_bounded():
    """However many organizations send, so many are remembered; the one that was noted first is forgotten first."""
    quotas = IngestQuotas(1)
    for number in range(ORGANIZATIONS_MAX + 5):
        send(quotas, 10, 0, OrganizationNo(number))
        quotas.out_of_room(OrganizationNo(number), ID, OutOfRoom(1, 1, 1), Micros(0))
        quotas.set_rate(OrganizationNo(-number), 7)

    assert len(quotas._full_at) == len(quotas._full) == len(quotas._own_rates) == ORGANIZATIONS_MAX
    assert ORGANIZATIONS_MAX + 4 in quotas._full


def test_the_operator_is_told_once_a_minute():
    """A refusal is reported with organization and quota, each at most once a minute."""
    told = []
    quotas = IngestQuotas(10, on_refusal=lambda org_id, quota: told.append((org_id, quota)))
    for second in (0, 1, 59, 61):
        send(quotas, 10_000, second)
        quotas.out_of_room(OTHER, ID, OutOfRoom(1, 1, 1), Micros(second * SECOND))

    assert sorted(told) == [("org_a", "ingest_bytes_per_second")] * 2 + [("org_a", "stored_bytes")] * 2
