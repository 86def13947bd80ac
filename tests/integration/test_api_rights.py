"""Promises about rights: every call with every kind of wrong key, in one process and in two, and how often one may try."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from litestar import Litestar, get

from aegis_stream.api.scopes import RIGHTS, SCOPES, Right, calls_of, check_rights
from aegis_stream.control.access import Access, AccessLimits
from aegis_stream.domain.organization import Scope
from aegis_stream.domain.rate import Rate
from aegis_stream.errors import Unauthenticated
from aegis_stream.settings import RateSettings
from aegis_stream.store.keys import StoredKeys
from aegis_stream.wiring.stores import open_stores
from support.api import OPERATOR_KEY, ORG, Caller, make_event, open_world, problem_of

KEYS = "/api-keys"
PATH = "/forwarding-destinations"
DEFAULTS = AccessLimits.of(RateSettings())
ENOUGH = replace(DEFAULTS, failures=Rate(10_000, 60))


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


def set_limits(world, limits: AccessLimits) -> None:
    """Let the application limit otherwise, with full buckets."""
    world.service.control.access.limits = limits
    world.service.control.access.__post_init__()


async def make_wrong_keys(world, tenant, other) -> dict[str, str | bytes | None]:
    """Return an Authorization header of every kind that opens nothing of the tenant's, by kind."""
    made = {}
    for name in ("revoked", "expired", "rotated", "rotated with overlap"):
        body = {"scope": "admin", "name": name}
        if name == "expired":
            body["expires_at"] = "2026-05-28T20:26:41Z"  # one second after START
        made[name] = (await tenant.admin.post(KEYS, json=body)).json()
        assert (await Caller(world.client, ORG, made[name]["api_key"]).get("")).status_code == 200
    await tenant.admin.delete(f"{KEYS}/{made['revoked']['id']}")
    await tenant.admin.post(f"{KEYS}/{made['rotated']['id']}/rotate")
    overlap = {"overlap_seconds": 1}
    await tenant.admin.post(f"{KEYS}/{made['rotated with overlap']['id']}/rotate", json=overlap)
    world.clock.advance(2)
    good = tenant.admin.key
    return {
        "none": None,
        "empty": "",
        "no scheme": good,
        "another scheme": f"Basic {good}",
        "no key": "Bearer",
        "blank key": "Bearer  ",
        "truncated": f"Bearer {good[:-1]}",
        "longer": f"Bearer {good}A",
        "other letters": f"Bearer {good.swapcase()}",
        "unknown": f"Bearer aegis_sk_{'A' * 43}",
        "not ASCII": b"Bearer \xe9",
        "not even UTF-8": b"Bearer \xff\xfe",
        "a statement": "Bearer ' OR '1'='1",
        "very long": "Bearer " + "A" * 10_000,
        "operator": f"Bearer {OPERATOR_KEY}",
        "foreign": f"Bearer {other.admin.key}",
        **{name: f"Bearer {one['api_key']}" for name, one in made.items()},
    }


async def call(world, method: str, path: str, header: str | bytes | None, **values: str):
    """Make one call with a body that nobody can read: rights are looked at first."""
    filled = re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], f"{match[1]}_none"), path)
    headers = {"authorization": header} if header is not None else {}
    body = b"{" if method in ("POST", "PATCH") else None
    return await world.client.request(method, filled, headers=headers, content=body)


def test_the_table_is_the_api():
    """The table has a row for every call that the OpenAPI document and the framework know, and each right has its scope."""
    assert set(SCOPES) == set(Right) - {Right.OPEN, Right.OPERATOR}
    assert {one for one in SCOPES.values() if one is not None} == set(Scope)


def test_the_table_is_what_is_documented():
    """docs/reference/api.md gives each call the right that the table gives it."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    words = {"operator key": "operator", "none": "open"}
    documented = {}
    for calls, right in re.findall(r"^\| (`(?:GET|POST|PATCH|DELETE) .+?) \| (.+?) \|", page, re.MULTILINE):
        method, rest = calls.strip("`").split(" ", 1)
        for path in re.split("`, `", rest):
            whole = path.replace("…/resume", "…/forwarding-destinations/{id}/resume")
            named = re.sub(r"\{\w+\}", "{}", whole.replace("…", "/api/orgs/{org_id}"))
            documented[method, named] = words.get(right, right)

    assert documented == {
        (method, re.sub(r"\{\w+\}", "{}", path)): right.value for (method, path), right in RIGHTS.items()
    }


async def test_the_application_does_not_start_with_a_call_that_the_table_lacks():
    """A route without a row, and a row without a route, stop the start by name."""

    @get("/api/orgs/{org_id:str}/secrets")
    async def added() -> None:
        """A route that somebody forgot to write down."""

    with pytest.raises(RuntimeError, match=r"missing \[\('GET', '/api/orgs/\{org_id\}/secrets'\)\]"):
        check_rights(Litestar([added], openapi_config=None))
    with pytest.raises(RuntimeError, match=r"left over \[.*'/healthz'"):
        check_rights(Litestar([], openapi_config=None))


def without_uses(listed):
    """Return a list of keys without when and from where they were used: a key that is refused was used all the same."""
    used = ("last_used_at", "last_used_from")
    return [{name: one[name] for name in one if name not in used} for one in listed["data"]]


async def test_every_call_refuses_every_wrong_key(world):
    """Whatever the call, a key that opens nothing is 401, another organization's 404, a scope too small 403; nothing changes."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    set_limits(world, ENOUGH)
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 2)
    await world.add_dead_letters(tenant, destination_id, [1])
    nobodys = await make_wrong_keys(world, tenant, other)
    own = {scope: f"Bearer {tenant.by_scope(scope).key}" for scope in Scope}
    headers = {**nobodys, **own}
    values = {"org_id": ORG, "destination_id": destination_id, "event_id": "evt_1"}
    keys = without_uses((await tenant.admin.get(KEYS)).json())
    before = (await tenant.read.get(f"{PATH}/{destination_id}")).json()
    wrong, tried = [], 0

    for (method, path), right in RIGHTS.items():
        expected = dict.fromkeys(nobodys, 401)
        if right is Right.OPEN:
            continue
        if right is Right.OPERATOR:
            del expected["operator"]
            expected |= dict.fromkeys(own, 401)
        else:
            expected["foreign"] = 404
            needed = SCOPES[right]
            expected |= {one: 403 for one in own if needed is not None and one not in (Scope.ADMIN, needed)}
        for kind, status in expected.items():
            tried += 1
            answer = await call(world, method, path, headers[kind], **values)
            if answer.status_code != status or (status == 401) != ("www-authenticate" in answer.headers):
                wrong.append((method, path, kind, answer.status_code))
            else:
                problem_of(answer, status)

    assert wrong == []
    assert tried > 25 * len(nobodys)
    assert without_uses((await tenant.admin.get(KEYS)).json()) == keys
    assert (await tenant.read.get(f"{PATH}/{destination_id}")).json() == before
    assert len((await tenant.read.get("/events")).json()["data"]) == 2
    assert world.sender.posts == []


async def test_what_is_open_is_open_with_any_key(world):
    """A call that needs no key looks at none: a wrong one does no harm, and is not counted as a guess."""
    for (method, path), right in RIGHTS.items():
        if right is Right.OPEN:
            for header in (None, "Bearer aegis_sk_wrong", "nonsense"):
                assert (await call(world, method, path, header)).status_code == 200, path

    assert len(world.service.control.access._failures) == 0


async def test_a_good_key_of_the_right_scope_passes_the_gate(world):
    """Whatever the call, the key it asks for gets as far as the body, which cannot be read, the object, which is not there, or the log, which is not sealed."""
    tenant = await world.make_organization()
    passed = set()

    for (method, path), right in RIGHTS.items():
        if right is Right.OPEN:
            continue
        key = OPERATOR_KEY if right is Right.OPERATOR else tenant.by_scope(SCOPES[right] or "read").key
        answer = await call(world, method, path, f"Bearer {key}", org_id=ORG)
        passed.add(answer.status_code)

    assert passed <= {200, 400, 404, 409}


async def test_asking_for_methods_needs_no_key(world):
    """OPTIONS tells the methods of a path, which the documentation does too, and nothing else."""
    for _, path in calls_of(world.routes):
        answer = await call(world, "OPTIONS", path, None, org_id=ORG)

        assert (answer.status_code, answer.content) == (204, b"")


# ── revocation, in every process ──


@pytest.mark.parametrize("end", ["revoke", "rotate", "rotate with overlap"])
async def test_a_key_that_ends_is_dead_within_a_second_in_every_process(world, end):
    """A key ended through one process opens nothing a second later, there and in another one on the same store."""
    tenant = await world.make_organization()
    made = (await tenant.admin.post(KEYS, json={"scope": "read"})).json()
    header, key = f"Bearer {made['api_key']}", f"{KEYS}/{made['id']}"
    stores = open_stores(world.settings, world.log)  # connections of its own, as another process has
    try:
        elsewhere = Access(StoredKeys(stores.db), world.clock, stores.operator_digest)
        here = world.service.control.access
        for access in (here, elsewhere):
            assert (await access.principal(header)).key_id == made["id"]

        if end == "revoke":
            answer = await tenant.admin.delete(key)
        else:
            overlap = 1 if "overlap" in end else 0
            answer = await tenant.admin.post(f"{key}/rotate", json={"overlap_seconds": overlap})
        assert answer.is_success, answer.text
        world.clock.advance(1)

        for access in (here, elsewhere):
            with pytest.raises(Unauthenticated):
                await access.principal(header)
    finally:
        stores.close()


async def test_a_revoked_key_is_dead_at_once_where_it_was_revoked(world):
    """The process that revokes a key believes it no longer, whether or not a second has passed."""
    tenant = await world.make_organization()
    made = (await tenant.admin.post(KEYS, json={"scope": "read"})).json()
    caller = Caller(world.client, ORG, made["api_key"])
    assert (await caller.get("")).status_code == 200

    await tenant.admin.delete(f"{KEYS}/{made['id']}")

    problem_of(await caller.get(""), 401)


# ── how often ──


async def test_wrong_keys_from_one_address_are_limited(world):
    """After so many wrong keys an address gets 429 with Retry-After instead of 401, whatever the call; later it is 401 again."""
    tenant = await world.make_organization()
    limit = world.service.control.access.limits.failures.count
    guesser = [Caller(world.client, ORG, f"aegis_sk_{number}") for number in range(limit + 2)]

    answers = [await one.get("/events") for one in guesser]
    refused = [
        answers[-1],
        await guesser[0].send(make_event()),
        await call(world, "POST", "/api/orgs", "Bearer aegis_op_guess"),
    ]
    good = await tenant.read.get("/events")
    world.clock.advance(int(refused[0].headers["retry-after"]))
    later = await guesser[0].get("/events")

    assert [one.status_code for one in answers] == [401] * limit + [429] * 2
    for one in refused[:1] + refused[2:]:
        assert problem_of(one, 429)["type"].endswith("/rate-limited")
        assert int(one.headers["retry-after"]) >= 1
    assert good.status_code == 200  # the guesses of others behind the same address are not its fault
    problem_of(later, 401)


async def test_a_key_that_has_opened_is_not_shut_out_by_guesses_of_others(world):
    """Who called with a good key before goes on, also when others at the same address try wrong ones; and can be revoked."""
    tenant = await world.make_organization()
    assert (await tenant.read.get("")).status_code == 200
    for number in range(world.service.control.access.limits.failures.count + 1):
        await Caller(world.client, ORG, f"aegis_sk_{number}").get("")

    for seconds in (0, 5, 30):
        world.clock.advance(seconds)
        assert (await tenant.read.get("")).status_code == 200


async def test_calls_of_a_key_are_limited(world):
    """A key that calls too often gets 429 with Retry-After, and passes again after that; other keys do not notice."""
    tenant = await world.make_organization()
    limits = replace(ENOUGH, calls=Rate(5, 2))
    set_limits(world, limits)

    answers = [await tenant.read.get("/events") for _ in range(6)]
    other = await tenant.admin.get("/events")
    world.clock.advance(int(answers[-1].headers["retry-after"]))
    later = await tenant.read.get("/events")

    assert [one.status_code for one in answers] == [200] * 5 + [429]
    assert problem_of(answers[-1], 429)["type"].endswith("/rate-limited")
    assert (other.status_code, later.status_code) == (200, 200)


async def test_preflight_decisions_count_as_ingest(world):
    """A preflight decision takes from the bucket of ingest, not from that of the other calls."""
    tenant = await world.make_organization()
    limits = replace(ENOUGH, calls=Rate(1, 60), ingest=Rate(3, 60))
    set_limits(world, limits)
    body = {"decision": "BLOCKED"}

    answers = [await tenant.ingest.post("/preflight-decisions", json=body) for _ in range(4)]

    assert [one.status_code for one in answers] == [202] * 3 + [429]


async def test_two_accesses_share_nothing_but_the_store(world):
    """Each process limits and remembers by itself; what both obey is the store."""
    tenant = await world.make_organization()
    limits = replace(DEFAULTS, failures=Rate(1, 60))
    one, other = (
        Access(StoredKeys(world.stores.db), world.clock, world.stores.operator_digest, limits)
        for _ in range(2)
    )
    with pytest.raises(Unauthenticated):
        await one.principal("Bearer aegis_sk_wrong", "192.0.2.1")

    assert (await other.principal(f"Bearer {tenant.read.key}", "192.0.2.1")).scope is Scope.READ


# ── what else is looked at before a call ──


@pytest.mark.parametrize(
    "query, field",
    [
        ("limt=5", "limt"),
        ("limit=5&limit=6", "limit"),
        ("limit=null", "limit"),
        ("limit=5&cursor=key_1&cursor=key_1", "cursor"),
        ("=5", ""),
        ("%6cimit=5&limit=5", "limit"),
        ("decision=ALLOWED", "decision"),
    ],
)
async def test_a_query_that_is_not_understood_is_refused(world, query, field):
    """A query parameter that the call does not have, or has twice, is named, as an unknown field of a body is."""
    tenant = await world.make_organization()

    answer = await tenant.admin.request("GET", f"{KEYS}?{query}")

    problem_of(answer, 422, field)


@pytest.mark.parametrize("query", ["", "?", "?limit=5", "?limit=5&cursor=key_1", "?cursor=key%5f1&limit=5"])
async def test_a_query_that_is_understood_is_taken(world, query):
    """Each query parameter of a call is taken once, in any order and spelling."""
    tenant = await world.make_organization()

    assert (await tenant.admin.request("GET", f"{KEYS}{query}")).status_code == 200


async def test_calls_without_a_key_take_any_query(world):
    """What monitors and browsers add to a query does not keep health and documentation from them."""
    for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert (await world.client.get(f"{path}?cache=1&cache=2")).status_code == 200


@pytest.mark.parametrize("path", sorted({path for _, path in RIGHTS}))
async def test_options_and_refused_methods_tell_the_methods_of_a_path(world, path):
    """Both the answer to OPTIONS and that to a method that a path has not tell exactly the methods that it has."""
    methods = {method for method, one in RIGHTS if one == path}

    answers = [await call(world, method, path, None, org_id=ORG) for method in ("OPTIONS", "PUT")]

    assert [one.status_code for one in answers] == [204, 405]
    for answer in answers:
        assert set(answer.headers["allow"].split(", ")) - {"OPTIONS"} == methods
