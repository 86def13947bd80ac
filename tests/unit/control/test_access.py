"""Promises about access: whose a key is, what it allows, and how soon a revoked one is rejected."""

import hashlib
import hmac
from dataclasses import replace

import pytest

from aegis_stream.control import access as access_module
from aegis_stream.control.access import Access, AccessLimits, Refusal
from aegis_stream.control.caller import ALLOWED, Principal
from aegis_stream.control.keys import Issued
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.organization import ApiKey, Scope
from aegis_stream.domain.rate import Rate
from aegis_stream.errors import Denied, Limited, NotFound, Unauthenticated
from aegis_stream.settings import RateSettings
from support.api import ORG, SECOND, START, FakeClock

TOKEN, OPERATOR = "aegis_sk_good", "aegis_op_operator-of-the-tests"


def digest(text: str) -> bytes:
    """Return the SHA-256 of a key's text."""
    return hashlib.sha256(text.encode()).digest()


def make_key(**changes) -> ApiKey:
    """Build a key as it is stored."""
    key = ApiKey("key_1", 7, ORG, "collector", Scope.READ, digest(TOKEN), "good", START)
    return replace(key, **changes)


class FakeKeys:
    """A table of keys that counts how often it is asked."""

    def __init__(self, *keys: ApiKey):
        self.by_digest = {key.digest: key for key in keys}
        self.asked = 0

    async def key_by_digest(self, wanted: bytes) -> ApiKey | None:
        """Return a key."""
        self.asked += 1
        return self.by_digest.get(wanted)


class FakeWatch:
    """Remembers refusals."""

    def __init__(self):
        self.seen = []

    async def refused(self, refusal: Refusal) -> None:
        """Note a refusal."""
        self.seen.append(refusal)


def make_access(*keys: ApiKey, **limits: Rate) -> tuple[Access, FakeKeys, FakeClock]:
    """Build access to some keys, with limits other than the defaults."""
    table, clock = FakeKeys(*keys), FakeClock()
    limited = replace(AccessLimits.of(RateSettings()), **limits)
    return Access(table, clock, digest(OPERATOR), limited), table, clock


async def guess(access: Access, address: str | None, count: int = 1) -> None:
    """Try wrong keys from an address, each of which must be refused as unknown."""
    for number in range(count):
        with pytest.raises(Unauthenticated):
            await access.principal(f"Bearer aegis_sk_guess{number}", address)


async def test_guesses_are_told_once_a_minute_for_each_network_and_kind():
    """Whoever watches the log learns of wrong keys, expired ones and wrong operator keys, and is not flooded with them."""
    access, _, clock = make_access(make_key(expires_at=START))
    told = []
    access.on_guess = lambda network, key: told.append((network, key))

    await guess(access, "192.0.2.1", 5)
    await guess(access, "2001:db8::1", 2)
    await guess(access, "2001:db8::2")
    await guess(access, None)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await access.principal(f"Bearer {TOKEN}", "192.0.2.1")
        with pytest.raises(Unauthenticated):
            access.require_operator("Bearer aegis_op_guess", "192.0.2.1")
    first = list(told)
    clock.advance(61)
    await guess(access, "192.0.2.1")

    assert first == [
        ("192.0.2.1", "API key"),
        ("2001:db8::", "API key"),
        ("192.0.2.1", "expired API key"),
        ("192.0.2.1", "operator key"),
    ]
    assert told[4:] == [("192.0.2.1", "API key")]


async def test_a_good_key_is_a_principal():
    """A known key tells organization, scope, its own id and name."""
    access, _, _ = make_access(make_key())

    assert await access.principal(f"Bearer {TOKEN}") == Principal(7, ORG, Scope.READ, "key_1", "collector")


@pytest.mark.parametrize("header", [f"bearer {TOKEN}", f"BEARER {TOKEN}", f"Bearer   {TOKEN}  "])
async def test_the_scheme_is_read_leniently(header):
    """The scheme is recognized in any case, with blanks around the key."""
    access, _, _ = make_access(make_key())

    assert (await access.principal(header)).key_id == "key_1"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        "Bearer é",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
    ],
    ids=ascii,
)
async def test_anything_else_is_nobody(header):
    """A header that is missing, misspelled or has an unknown key is refused, and the key is not repeated."""
    access, _, _ = make_access(make_key())

    with pytest.raises(Unauthenticated) as caught:
        await access.principal(header)
    assert TOKEN not in str(caught.value)


async def test_a_good_key_is_remembered_for_one_second():
    """Within a second the store is asked once; from a second on it is asked again."""
    access, table, clock = make_access(make_key())
    asked = []

    for step_us in (0, 1, SECOND - 2, 1, SECOND - 1, 1):
        clock.at += step_us
        await access.principal(f"Bearer {TOKEN}")
        asked.append(table.asked)

    assert asked == [1, 1, 1, 2, 2, 3]


async def test_a_revoked_key_opens_nothing_a_second_later():
    """A revoked key is still believed within the second, and refused from then on, every time."""
    access, table, clock = make_access(make_key())
    await access.principal(f"Bearer {TOKEN}")
    table.by_digest.clear()

    clock.at += SECOND - 1
    await access.principal(f"Bearer {TOKEN}")
    clock.at += 1

    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await access.principal(f"Bearer {TOKEN}")


async def test_a_clock_set_back_does_not_prolong_belief():
    """When the clock goes back a remembered key is looked up anew."""
    access, table, clock = make_access(make_key())
    await access.principal(f"Bearer {TOKEN}")
    table.by_digest.clear()
    clock.advance(-3600)

    with pytest.raises(Unauthenticated):
        await access.principal(f"Bearer {TOKEN}")


async def test_wrong_keys_are_not_remembered():
    """A key that becomes known opens at once, although it was refused a moment before."""
    access, table, _ = make_access()
    with pytest.raises(Unauthenticated):
        await access.principal(f"Bearer {TOKEN}")

    table.by_digest[digest(TOKEN)] = make_key()

    assert (await access.principal(f"Bearer {TOKEN}")).key_id == "key_1"


async def test_memory_is_bounded(monkeypatch):
    """However many good keys call, only so many are remembered."""
    monkeypatch.setattr(access_module, "REMEMBERED_MAX", 3)
    keys = [make_key(key_id=f"key_{n}", digest=digest(f"{TOKEN}{n}")) for n in range(10)]
    access, _, _ = make_access(*keys)

    for n in range(10):
        assert (await access.principal(f"Bearer {TOKEN}{n}")).key_id == f"key_{n}"
        assert len(access._known) <= 3


@pytest.mark.parametrize("left_us, opens", [(1, True), (0, False), (-1, False)])
async def test_a_key_ends_at_its_time(left_us, opens):
    """A key opens until its time, and not at it."""
    access, _, clock = make_access(make_key(expires_at=START + 5 * SECOND))
    clock.at = START + 5 * SECOND - left_us

    if opens:
        assert await access.principal(f"Bearer {TOKEN}")
    else:
        with pytest.raises(Unauthenticated):
            await access.principal(f"Bearer {TOKEN}")


async def test_a_lookup_that_is_not_exact_opens_nothing():
    """Where the store returns another key than the one asked for, it is compared and refused."""
    access, table, _ = make_access()
    table.by_digest[digest(TOKEN)] = make_key(digest=digest("another"))

    with pytest.raises(Unauthenticated):
        await access.principal(f"Bearer {TOKEN}")


async def test_keys_are_compared_in_constant_time(monkeypatch):
    """API keys and the operator key are compared by hmac.compare_digest, over digests of one length."""
    compared = []
    compare = hmac.compare_digest

    def record(one, other):
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", record)
    access, _, _ = make_access(make_key())

    await access.principal(f"Bearer {TOKEN}")
    access.require_operator(f"Bearer {OPERATOR}")

    assert compared == [(digest(TOKEN), digest(TOKEN)), (digest(OPERATOR), digest(OPERATOR))]


@pytest.mark.parametrize("header", [None, "Bearer ", f"Bearer {TOKEN}", f"Bearer {OPERATOR}x", OPERATOR])
def test_only_the_operator_key_is_the_operators(header):
    """Anything but the operator key is refused."""
    access, _, _ = make_access(make_key())

    with pytest.raises(Unauthenticated) as caught:
        access.require_operator(header)
    assert OPERATOR not in str(caught.value)


# ── how often ──


@pytest.mark.parametrize("count", [1, 3])
async def test_an_address_may_guess_so_often(count):
    """As many wrong keys as the limit are 401; the next wrong one is limited, until the wait is over."""
    access, table, clock = make_access(failures=Rate(count, 60))
    await guess(access, "192.0.2.1", count)
    with pytest.raises(Limited) as caught:
        await access.principal("Bearer aegis_sk_guess", "192.0.2.1")

    assert table.asked == count + 1
    assert caught.value.code == "rate-limited"
    assert 60 / count - 1 <= caught.value.retry_after_s <= 60 / count
    clock.advance(caught.value.retry_after_s)
    await guess(access, "192.0.2.1")


async def test_guesses_at_the_operator_key_count_as_well():
    """Wrong operator keys and wrong API keys take from one bucket, and both are limited when it is empty."""
    access, _, _ = make_access(make_key(), failures=Rate(2, 60))
    with pytest.raises(Unauthenticated):
        access.require_operator("Bearer aegis_op_guess", "192.0.2.1")
    await guess(access, "192.0.2.1")

    with pytest.raises(Limited):
        access.require_operator("Bearer aegis_op_guess", "192.0.2.1")
    with pytest.raises(Limited):
        await access.principal("Bearer aegis_sk_guess", "192.0.2.1")
    with pytest.raises(Unauthenticated):
        access.require_operator("Bearer aegis_op_guess", "192.0.2.2")


async def test_guesses_never_lock_out_a_good_key():
    """However many wrong keys come from an address, a good key and the operator's open from there, seen before or not."""
    access, _, _ = make_access(make_key(), failures=Rate(1, 3600))
    await guess(access, "192.0.2.1")
    for _ in range(10):
        with pytest.raises(Limited):
            await access.principal("Bearer aegis_sk_guess", "192.0.2.1")

    access.require_operator(f"Bearer {OPERATOR}", "192.0.2.1")
    assert (await access.principal(f"Bearer {TOKEN}", "192.0.2.1")).key_id == "key_1"


@pytest.mark.parametrize(
    "first, second, together",
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unix socket", "unix socket", True),
    ],
)
async def test_what_counts_as_one_address(first, second, together):
    """An IPv4 address stands for itself however it is written, an IPv6 address for its /64."""
    access, _, _ = make_access(failures=Rate(1, 60))
    await guess(access, first)

    if together:
        with pytest.raises(Limited):
            await access.principal("Bearer aegis_sk_guess", second)
    else:
        await guess(access, second)


async def test_an_expired_key_counts_as_a_guess():
    """Who goes on calling with a key that has expired is limited like everybody whose key opens nothing."""
    access, _, _ = make_access(make_key(expires_at=START), failures=Rate(2, 60))
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await access.principal(f"Bearer {TOKEN}", "192.0.2.1")

    with pytest.raises(Limited):
        await access.principal(f"Bearer {TOKEN}", "192.0.2.1")


async def test_a_header_that_is_no_key_is_no_guess():
    """A missing or misspelled header costs nothing and is not counted; where the address is not known nothing is."""
    access, _, _ = make_access(failures=Rate(1, 60))
    for header in (None, "", "Bearer", "Basic eA==", "Bearer é"):
        with pytest.raises(Unauthenticated):
            await access.principal(header, "192.0.2.1")

    await guess(access, None, 5)
    await guess(access, "192.0.2.1")


async def test_a_key_that_opened_before_is_not_shut_out():
    """Guesses of others at the same address do not stop a key that has opened; once revoked it is a guess like any other."""
    access, table, clock = make_access(make_key(), failures=Rate(1, 3600))
    await access.principal(f"Bearer {TOKEN}", "192.0.2.1")
    await guess(access, "192.0.2.1")

    clock.advance(2)
    assert (await access.principal(f"Bearer {TOKEN}", "192.0.2.1")).key_id == "key_1"
    table.by_digest.clear()
    clock.advance(2)
    with pytest.raises(Limited):
        await access.principal(f"Bearer {TOKEN}", "192.0.2.1")
    with pytest.raises(Limited):
        await access.principal(f"Bearer {TOKEN}", "192.0.2.1")


@pytest.mark.parametrize("kind", ["ingest", "calls"])
def test_requests_of_a_key_are_limited(kind):
    """A key passes as often as its rate says, and is then told how long to wait; other keys and the other bucket do not notice."""
    access, _, clock = make_access(**{kind: Rate(3, 1.5)})

    def ingest(principal: Principal) -> None:
        access.admit(principal, clock.now())

    admit, other = (ingest, access.admit_call) if kind == "ingest" else (access.admit_call, ingest)
    one, two = (Principal(7, ORG, Scope.INGEST, key_id) for key_id in ("key_1", "key_2"))

    for _ in range(3):
        admit(one)
    with pytest.raises(Limited, match=r"the limit is 3 in 1\.5 s") as caught:
        admit(one)

    assert (caught.value.retry_after_s, caught.value.code) == (1, "rate-limited")
    admit(two)
    other(one)
    clock.advance(1)
    admit(one)


# ── who is told ──


@pytest.mark.parametrize(
    "org_id, scope, error, reason",
    [
        (ORG, Scope.ADMIN, Denied, "scope"),
        ("org_other", Scope.READ, NotFound, "organization"),
        ("org_other", None, NotFound, "organization"),
    ],
)
async def test_a_known_key_that_is_refused_is_told(org_id, scope, error, reason):
    """A key used beyond its scope or its organization is rejected, and the listener gets its owner, the reason and the address."""
    access, _, _ = make_access(make_key())
    access.refusals = FakeWatch()

    with pytest.raises(error):
        await access.authorize(f"Bearer {TOKEN}", org_id, scope, "192.0.2.1")

    principal = Principal(7, ORG, Scope.READ, "key_1", "collector")
    assert access.refusals.seen == [Refusal(principal, reason, "192.0.2.1")]


async def test_an_expired_key_is_told_and_an_unknown_one_is_not():
    """Whose an expired key was is known, and told; the caller gets the words of any other wrong key."""
    access, _, _ = make_access(make_key(expires_at=START))
    access.refusals = FakeWatch()
    texts = []

    for token in (TOKEN, "aegis_sk_guess"):
        with pytest.raises(Unauthenticated) as caught:
            await access.authorize(f"Bearer {token}", ORG, Scope.READ, None)
        texts.append((caught.value.message, caught.value.code))

    assert [one.reason for one in access.refusals.seen] == ["expired"]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("scope", [Scope.READ, None])
async def test_a_good_key_is_authorized_and_nobody_is_told(scope):
    """A key within its rights is accepted, and the listener gets nothing."""
    access, _, _ = make_access(make_key())
    access.refusals = FakeWatch()

    principal = await access.authorize(f"Bearer {TOKEN}", ORG, scope, "192.0.2.1")

    assert (principal.key_id, access.refusals.seen) == ("key_1", [])


async def test_a_key_can_be_forgotten_at_once():
    """A key that is to be forgotten is looked up anew within the second, and the others are not."""
    other = make_key(key_id="key_2", digest=digest("aegis_sk_other"))
    access, table, _ = make_access(make_key(), other)
    for token in (TOKEN, "aegis_sk_other"):
        await access.principal(f"Bearer {token}")
    table.by_digest.clear()

    access.forget("key_1")

    assert (await access.principal("Bearer aegis_sk_other")).key_id == "key_2"
    with pytest.raises(Unauthenticated):
        await access.principal(f"Bearer {TOKEN}")


# ── what a key may ──


@pytest.mark.parametrize("held", list(Scope))
@pytest.mark.parametrize("needed", list(Scope))
def test_scopes(held, needed):
    """Admin may all, the other scopes only themselves."""
    principal = Principal(7, ORG, held, "key_1")

    if held in (Scope.ADMIN, needed):
        principal.require(ORG, needed)
    else:
        with pytest.raises(Denied, match=needed.value):
            principal.require(ORG, needed)


@pytest.mark.parametrize("held", list(Scope))
def test_another_organization_is_not_there_whatever_the_scope(held):
    """Another organization is not found, before scopes are looked at."""
    for needed in Scope:
        with pytest.raises(NotFound):
            Principal(7, ORG, held, "key_1").require("org_other", needed)


def test_every_scope_has_its_rights():
    """No scope is forgotten in the table of rights."""
    assert set(ALLOWED) == set(Scope)


def test_keys_are_not_in_reprs():
    """Neither Access nor a new key shows a secret in its repr."""
    access, _, _ = make_access()
    access._known[TOKEN] = (START, Principal(7, ORG, Scope.READ, "key_1"))

    assert TOKEN not in repr(access)
    assert repr(digest(OPERATOR)) not in repr(access)
    assert TOKEN not in repr(Issued(make_key(), TOKEN))


async def test_processes_share_the_limits_of_calls_and_name_the_whole():
    """Each of several processes lets its part of the calls pass, and an answer names the limit that holds for all together."""
    whole = Rate(6, 60)
    access, _, _ = make_access(make_key(), ingest=whole, calls=whole, tests=whole, failures=whole)
    principal = await access.principal(f"Bearer {TOKEN}")
    access.share(3)

    for call in (lambda: access.admit(principal, START), lambda: access.admit_call(principal), lambda: access.admit_test(principal)):  # fmt: skip
        call()
        call()
        with pytest.raises(Limited, match="the limit is 6 in 60 s"):
            call()
    await guess(access, "192.0.2.1", 2)
    with pytest.raises(Limited):
        await access.principal("Bearer aegis_sk_guess", "192.0.2.1")


async def test_processes_share_the_bytes_of_an_organization():
    """The quotas of bytes a second are shared like the limits of calls."""
    access, _, _ = make_access(make_key(ingest_bytes_per_second=1000))
    principal = await access.principal(f"Bearer {TOKEN}")
    access.share(4)

    assert access.quotas.refusal(principal.organization_no, principal.org_id, 1000, Micros(0)) is None
    refused = access.quotas.refusal(principal.organization_no, principal.org_id, 1, Micros(0))

    assert isinstance(refused, Limited)
    assert refused.retry_after_s == 2
