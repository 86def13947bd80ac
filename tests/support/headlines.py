"""Destinations in every state and with every kind of cause, for the tests of the first sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aegis_stream.console.headline import Headline, organization_headline
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.standing import Standing, State

NOW = Micros(1_780_023_540_000_000)
"""2026-05-29T02:59:00Z."""
MINUTE = 60_000_000
BASE = "/console/o/org_abc"


def minutes_ago(count: float) -> Micros:
    """Return a time before now."""
    return Micros(NOW - int(count * MINUTE))


GOOD = Standing(
    dst_id="dst_1",
    name="Elastic prod",
    state=State.TAKING,
    since=minutes_ago(0.2),
    status_code=None,
    cause="",
    waiting=0,
    waiting_since=None,
    retrying=0,
    dead_letters=0,
    delivered=100,
    last_success_at=minutes_ago(0.2),
    last_error_at=None,
    p99_ms=12.0,
    created_at=minutes_ago(5000),
    updated_at=minutes_ago(5000),
)
FAILING = replace(
    GOOD,
    state=State.FAILING,
    since=minutes_ago(18),
    last_success_at=minutes_ago(18),
    last_error_at=minutes_ago(0.1),
    waiting=4211,
    retrying=1,
    waiting_since=minutes_ago(18),
)
CREDENTIAL = replace(
    FAILING,
    status_code=401,
    cause="answered 401: the destination does not accept the credential: check auth_header_name and auth_header_value",
)
OTHER = replace(GOOD, dst_id="dst_2", name="Splunk")
NEVER = replace(GOOD, since=None, last_success_at=None, delivered=0)

CASES: Mapping[str, tuple[Sequence[Standing], Micros | None]] = {
    "nothing at all": ([], None),
    "events and no destination": ([], minutes_ago(3)),
    "never tried": ([replace(NEVER, state=State.UNTRIED)], None),
    "one takes events": ([GOOD], minutes_ago(0.03)),
    "all take events": ([GOOD, OTHER], minutes_ago(0.03)),
    "one of two was never tried": ([GOOD, replace(NEVER, dst_id="dst_2", state=State.UNTRIED)], minutes_ago(0.03)),
    "events are on the way": ([replace(GOOD, waiting=12, waiting_since=minutes_ago(0.01)), OTHER], minutes_ago(0)),
    "one dead letter": ([replace(GOOD, dead_letters=1), OTHER], minutes_ago(1)),
    "dead letters at two": ([replace(GOOD, dead_letters=12), replace(OTHER, dead_letters=7)], minutes_ago(1)),
    "credential": ([CREDENTIAL, OTHER], minutes_ago(0)),
    "credential, forbidden": ([replace(CREDENTIAL, status_code=403, cause="answered 403: the credential may not write here: check its permissions")], minutes_ago(0)),
    "address": ([replace(FAILING, status_code=404, cause="answered 404: there is nothing at this path: check the URL")], minutes_ago(0)),
    "redirect": ([replace(FAILING, status_code=301, cause="answered 301: redirects are not followed")], minutes_ago(0)),
    "overload": ([replace(FAILING, status_code=429, cause="answered 429: the destination limits the request rate")], minutes_ago(0)),
    "server error": ([replace(FAILING, status_code=503, cause="answered 503: the destination is overloaded or down for maintenance")], minutes_ago(0)),
    "network": ([replace(FAILING, cause="connection refused by 192.0.2.7 port 443: check that the receiver is running and that no firewall blocks the connection")], minutes_ago(0)),
    "never worked": ([replace(CREDENTIAL, since=None, last_success_at=None, delivered=0)], minutes_ago(0)),
    "nothing waits yet": ([replace(CREDENTIAL, waiting=0, retrying=0, waiting_since=None)], minutes_ago(0)),
    "failing with dead letters": ([replace(CREDENTIAL, dead_letters=3)], minutes_ago(0)),
    "since yesterday": ([replace(CREDENTIAL, since=minutes_ago(60 * 26), waiting_since=minutes_ago(60 * 26))], minutes_ago(0)),
    "one event waits": ([replace(CREDENTIAL, waiting=0, retrying=1, waiting_since=None)], minutes_ago(0)),
    "two do not take events": ([replace(CREDENTIAL, waiting=10), replace(CREDENTIAL, dst_id="dst_2", name="Splunk", waiting=99, retrying=0)], minutes_ago(0)),
    "rejecting": ([replace(NEVER, state=State.REJECTING, status_code=400, dead_letters=9, cause="answered 400: the destination could not read the event: check that the URL accepts JSON in this format")], minutes_ago(0)),
    "full of dead letters": ([replace(FAILING, state=State.FULL, dead_letters=100_000, waiting=5, retrying=0)], minutes_ago(0)),
    "halted": ([replace(FAILING, state=State.HALTED, cause="a bug in Aegis Audit Stream stops the delivery: KeyError in formats/plain.py")], minutes_ago(0)),
    "damaged": ([replace(FAILING, state=State.DAMAGED, cause="the stored URL and credential cannot be decrypted: restore the master key")], minutes_ago(0)),
    "slow": ([replace(GOOD, state=State.SLOW, waiting=900, waiting_since=minutes_ago(4)), OTHER], minutes_ago(0)),
    "paused": ([replace(GOOD, state=State.PAUSED, waiting=900, waiting_since=minutes_ago(61)), OTHER], minutes_ago(0)),
    "paused beside a failing one": ([replace(GOOD, state=State.PAUSED, waiting=900), replace(CREDENTIAL, dst_id="dst_2")], minutes_ago(0)),
    "a long cause": ([replace(FAILING, status_code=500, cause="x" * 2000)], minutes_ago(0)),
    "a cause of several lines": ([replace(FAILING, status_code=500, cause="first line.\nsecond line")], minutes_ago(0)),
}  # fmt: skip


def told(name: str) -> Headline:
    """Return the first sentence of a case."""
    standings, last_received_at = CASES[name]
    return organization_headline(standings, last_received_at, BASE, NOW)
