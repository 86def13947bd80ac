"""Promises of access: who a key is, what it may do, and how soon it may no longer."""

import hashlib
import hmac
from dataclasses import replace

import pytest

from aegis_stream import access as access_module
from aegis_stream.access import ALLOWED, Access, Issued, Principal
from aegis_stream.domain.organization import ApiKey, Scope
from aegis_stream.errors import Denied, NotFound, Unauthenticated
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


def make_access(*keys: ApiKey) -> tuple[Access, FakeKeys, FakeClock]:
    """Build access to some keys."""
    table, clock = FakeKeys(*keys), FakeClock()
    return Access(table, clock, digest(OPERATOR)), table, clock


async def test_a_good_key_is_a_principal():
    """A known key tells organization, scope and its own id."""
    access, _, _ = make_access(make_key())

    assert await access.principal(f"Bearer {TOKEN}") == Principal(7, ORG, Scope.READ, "key_1")


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

    def compare(one, other):
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(
        access_module, "hmac", type("Recorder", (), {"compare_digest": staticmethod(compare)})
    )
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
