"""Destinations and keys: what is stored, in which order changes come, what is sealed; and the totals."""

from dataclasses import replace

import pytest

from aegis_stream.domain.delivery import (
    DeadRow,
    RetryRow,
)
from aegis_stream.domain.destination import DestinationSpec, Filter, Health
from aegis_stream.domain.ids import DestinationId, Micros, OrganizationId
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.domain.organization import ApiKey
from aegis_stream.domain.organization import Scope as KeyScope
from aegis_stream.errors import Conflict
from aegis_stream.store import attempt_lists, destinations, keys
from support.clock import T0
from support.stores import (
    ALICE,
    DOWN,
    LEASE_US,
    add_destination,
    add_organization,
    append_to,
    events,
    serve,
    settle,
    settlement,
)

# ── the directory ──


async def test_changes_of_destinations_come_in_order(store, org):
    """A worker that knows a revision learns of everything changed after it, the deleted too, each with its newest revision."""
    one, two = await add_destination(store, org, 1), await add_destination(store, org, 2)
    [*_, (_, known)] = await store.directory.changed_since(0)

    await store.directory.change_destination(org, two.dst_id, lambda spec: replace(spec, enabled=False), T0)
    await store.directory.delete_destination(org, one.dst_id, T0)
    changes = await store.directory.changed_since(known)

    assert [no for no, _ in changes] == [two.no, one.no]
    assert [revision for _, revision in changes] == sorted({revision for _, revision in changes})
    assert await store.directory.destination(one.no) is None
    assert not (await store.directory.destination(two.no)).spec.enabled


async def test_destinations_are_listed_page_by_page(store, org):
    """A page goes on behind an id, the oldest first, and has no more than asked for; deleted ones are left out."""
    other = await add_organization(store, "org_b")
    made = []
    for number in range(1, 6):
        made.append(await add_destination(store, org, number))
        await add_destination(store, other, number)
    await store.directory.delete_destination(org, made[2].dst_id, T0)
    left = [one for one in made if one is not made[2]]

    pages = [await store.directory.destinations_of(org, after, 2) for after in ("", left[1].dst_id)]

    assert pages == [left[:2], left[2:]]
    assert await store.directory.destinations_of(org, made[4].dst_id, 2) == []
    assert await store.directory.destinations_of(org, made[2].dst_id, 9) == left[2:]


async def test_the_newest_destinations_are_those_whose_attempts_are_merged(store, org, monkeypatch):
    """Where an organization has more destinations than a list of attempts merges, the newest that are there are taken."""
    made = [await add_destination(store, org, number) for number in range(1, 6)]
    await store.directory.delete_destination(org, made[3].dst_id, T0)
    monkeypatch.setattr(attempt_lists, "DESTINATIONS_MAX", 2)

    merged = await store.db.read(lambda unit: attempt_lists.destinations_of(unit, org))

    assert merged == {one.no: one.dst_id for one in (made[4], made[2])}


async def test_changes_are_told_some_at_a_time(store, org, monkeypatch):
    """However many destinations have changed, one answer has so many, and the next goes on behind them."""
    made = [await add_destination(store, org, number) for number in range(1, 6)]
    monkeypatch.setattr(destinations, "CHANGES_MAX", 3)

    first = await store.directory.changed_since(0)
    rest = await store.directory.changed_since(first[-1][1])

    assert [[no for no, _ in one] for one in (first, rest)] == [
        [one.no for one in made[:3]],
        [one.no for one in made[3:]],
    ]


async def test_a_look_at_all_destinations_goes_on_behind_the_last_one(store, org, monkeypatch):
    """All destinations of all organizations are looked at, the oldest first, so many in one step; deleted ones are not."""
    other = await add_organization(store, "org_b")
    made = [await add_destination(store, no, number) for number in (1, 2, 3) for no in (org, other)]
    await store.directory.delete_destination(other, made[1].dst_id, T0)
    monkeypatch.setattr(destinations, "LOOKED_AT", 2)

    lasts, after = [], 0
    while after is not None:
        after, lost = await store.directory.give_up_unreadable(after, T0)
        assert lost == []
        lasts.append(after)

    assert lasts == [made[2].no, made[4].no, made[5].no, None]


async def test_a_destination_is_read_as_it_was_written(store, org):
    """Every field of a destination comes back, the secret ones too."""
    spec = DestinationSpec(
        url="https://sink.example.com/in/s3cr3t?x=ü",
        auth_header_name="X-Key",
        auth_header_value="välue",
        name="Größe",
        format="json",
        filter=Filter(("a", "b"), ("BLOCKED",)),
        ca_certificate="-----BEGIN…",
        compression="gzip",
        headers=(("X-B", "zweiter Wert: ü"), ("X-A", "first")),
        oauth2=OAuth2("https://login.example.com/token", "client", "s3cr3t ü", "a b"),
    )

    made = await store.directory.add_destination(org, DestinationId("dst_x"), spec, T0, 10)

    assert made.spec == spec
    assert (await store.directory.destination_of(org, "dst_x")) == made
    assert await store.directory.destinations_of(org, "", 10) == [made]


async def test_a_change_of_configuration_ends_the_pause_after_failures(store, org):
    """Whoever corrects a destination sees the next attempt at once; pausing alone corrects nothing."""
    destination = await add_destination(store, org)
    lease = await serve(store)
    await settle(store, settlement(lease, org, health=Health(failures_in_row=7)))

    await store.directory.change_destination(
        org, destination.dst_id, lambda spec: replace(spec, enabled=False), T0
    )
    paused = (await store.directory.progress(destination)).health.failures_in_row
    await store.directory.change_destination(
        org, destination.dst_id, lambda spec: replace(spec, name="new"), T0
    )
    corrected = (await store.directory.progress(destination)).health.failures_in_row

    assert (paused, corrected) == (7, 0)


async def test_an_organizations_destinations_are_limited(store, org):
    """The limit stops the next one and says so."""
    await add_destination(store, org, 1)

    with pytest.raises(Conflict, match="1 destinations"):
        await store.directory.add_destination(
            org, DestinationId("dst_2"), DestinationSpec(url="https://a"), T0, 1
        )


async def test_keys_end_when_they_are_told_to(store, org):
    """A key is found by its digest until it is deleted; an earlier end is never put off."""
    key = ApiKey(
        "key_1", org, OrganizationId("org_a"), "k", KeyScope.READ, b"d" * 32, "abcd", T0, Micros(T0 + 5)
    )
    await store.db.write(lambda db: keys.add(db, key))

    await store.db.write(lambda db: keys.expire(db, key, Micros(T0 + 9)))
    put_off = await store.directory.key_by_digest(b"d" * 32)
    await store.db.write(lambda db: keys.expire(db, key, Micros(T0 + 2)))
    [listed] = await store.directory.keys_of(org, "", 10)
    await store.db.write(lambda db: keys.delete(db, key))

    assert (put_off.expires_at, listed.expires_at) == (T0 + 5, T0 + 2)
    assert await store.directory.key_by_digest(b"d" * 32) is None


async def test_secrets_are_nowhere_in_the_store_in_plain(backend, store, org):
    """Neither a credential nor a header nor a client nor a URL's tail can be read from any file of the store: made, changed, or deleted."""
    planted = ["Bearer c4n4ry-first", "Bearer c4n4ry-second", "s3cr3t-t41l-first", "s3cr3t-t41l-second"]
    planted += ["h34d3r-first", "h34d3r-second", "cl13nt-first", "cl13nt-second"]
    made = await add_destination(
        store,
        org,
        url=f"https://sink.example.com/in/{planted[2]}",
        auth_header_name="Authorization",
        auth_header_value=planted[0],
        headers=(("X-Key", planted[4]),),
        oauth2=OAuth2("https://login.example.com/token", "client", planted[6]),
    )
    await store.directory.change_destination(
        org,
        made.dst_id,
        lambda spec: replace(
            spec,
            url=f"https://sink.example.com/in/{planted[3]}",
            auth_header_value=planted[1],
            headers=(("X-Key", planted[5]),),
            oauth2=OAuth2("https://login.example.com/token", "client", planted[7]),
        ),
        T0,
    )
    before = backend.raw()
    await store.directory.delete_destination(org, made.dst_id, T0)
    files = before + backend.raw()

    assert b"Authorization" in files, "the files were looked at where they are written"
    assert [
        secret for secret in planted if secret.encode() in files or secret.encode("utf-16-le") in files
    ] == []


# ── totals ──


async def test_totals_are_sums_of_counters(store, org):
    """What metrics tell is the sum over all destinations: delivered, failed, retrying, dead, backlog, failing."""
    await add_destination(store, org, 1)
    await add_destination(store, org, 2)
    await append_to(store.log, org, events(1, 10), T0)
    await store.ledger.enlist(ALICE, LEASE_US)
    (one, _), _ = await store.ledger.claim(ALICE)
    found = settlement(
        one.lease, org, 4, delivered=2, failed_attempts=5, health=Health(failures_in_row=1),
        retries=[RetryRow(3, 1, T0, DOWN)], dead=[DeadRow(4, 3, T0, DOWN)],
    )  # fmt: skip
    await settle(store, found)

    assert await store.directory.totals() == (2, 2, 5, 1, 1, 6 + 10, 1, 0, 0)
