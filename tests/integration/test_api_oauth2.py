"""Promises of a destination's OAuth2 client: checked, sealed, dropped with another host, used by tests, and its secret never shown."""

import json
from urllib.parse import parse_qs

import pytest

from aegis_stream.domain.attempt import Fault, FaultKind, Response
from aegis_stream.domain.audit import ADMIN_DATASET
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.errors import Unavailable
from aegis_stream.pipeline.route import route_of
from aegis_stream.wiring.administration import make_rotation
from aegis_stream.wiring.stores import open_stores
from support.api import SECRET, open_world, problem_of
from support.directory import Directory
from support.sealed import assert_keeps_a_key_in_use
from support.sql import raw

PATH = "/forwarding-destinations"
URL = "https://aegis.ingest.example.com/dataCollectionRules/dcr-0a1b/streams/Custom-Aegis_CL"
TOKEN_URL = "https://login.example.com/tenant/oauth2/v2.0/token"
CLIENT_SECRET = "c4n4ry-client-secret-0001"
OAUTH2 = {
    "token_url": TOKEN_URL,
    "client_id": "client-1",
    "client_secret": CLIENT_SECRET,
    "scope": "https://monitor.example.com/.default",
}
SHOWN = {name: value for name, value in OAUTH2.items() if name != "client_secret"}
TOKEN = "c4n4ry-token-0002.abcdefgh"


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test, recording what is done."""
    async with open_world(tmp_path, audit_actions=True) as made:
        yield made


async def make(world, **changes):
    """Make an organization and a destination that fetches tokens; returns the tenant and the destination's path."""
    tenant = await world.make_organization()
    made = await tenant.admin.post(PATH, json={"url": URL, "format": "json", "oauth2": OAUTH2} | changes)
    assert made.status_code == 201, made.text
    return tenant, f"{PATH}/{made.json()['id']}"


async def stored(world, tenant, one):
    """Return the destination's client as it is stored."""
    return (await world.stored(tenant, one.rpartition("/")[2])).spec.oauth2


def granted(**more):
    """Answer as a token endpoint does."""
    body = {"token_type": "Bearer", "access_token": TOKEN, "expires_in": 3599} | more
    return Response(200, json.dumps(body).encode(), 5000)


async def test_all_but_the_secret_is_shown(world):
    """Made, read and listed, a destination tells where its tokens come from and for whom, and not the secret; its URL is no secret."""
    tenant, one = await make(world)

    answers = [await tenant.read.get(one), await tenant.read.get(PATH)]

    assert answers[0].json()["oauth2"] == answers[1].json()["data"][0]["oauth2"] == SHOWN
    assert (answers[0].json()["url"], answers[0].json()["auth_header_set"]) == (URL, False)
    assert not any("c4n4ry" in answer.text for answer in [*answers, *world.answers])
    assert await stored(world, tenant, one) == OAuth2(**OAUTH2)


async def test_there_may_be_no_scope(world):
    """The scope can be left out, and is then not asked for."""
    tenant, one = await make(world, oauth2={k: v for k, v in OAUTH2.items() if k != "scope"})
    world.sender.answers = [granted()]

    await tenant.admin.post(f"{one}/test")

    [(_, asked), _] = world.sender.posts
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["client-1"],
        "client_secret": [CLIENT_SECRET],
    }


ANOTHER = {"client_secret": "another"}


@pytest.mark.parametrize(
    "patch, left",
    [
        ({"name": "new"}, OAUTH2),
        ({"url": URL + "2"}, OAUTH2),
        ({"oauth2": None}, None),
        ({"oauth2": SHOWN}, OAUTH2),
        ({"oauth2": OAUTH2 | ANOTHER}, OAUTH2 | ANOTHER),
        ({"oauth2": SHOWN | {"token_url": TOKEN_URL + "2"}}, OAUTH2 | {"token_url": TOKEN_URL + "2"}),
        ({"oauth2": OAUTH2 | ANOTHER | {"token_url": "https://evil.example.com/"}},
         OAUTH2 | ANOTHER | {"token_url": "https://evil.example.com/"}),
        ({"url": "https://evil.example.com/in"}, None),
        ({"url": "https://evil.example.com/in", "oauth2": OAUTH2 | ANOTHER}, OAUTH2 | ANOTHER),
        ({"oauth2": None, "auth_header_name": "Authorization", "auth_header_value": SECRET}, None),
    ],
    ids=["left out", "another path", "null", "secret left out", "another secret", "another token path", "another token host",
         "another host", "another host, given anew", "an auth header instead"],
)  # fmt: skip
async def test_a_change_replaces_the_client(world, patch, left):
    """What is left out stays while the hosts stay; another host of the destination drops all of it unless it is given anew."""
    tenant, one = await make(world)

    answer = await tenant.admin.patch(one, json=patch)

    assert answer.status_code == 200, answer.text
    assert await stored(world, tenant, one) == (OAuth2(**left) if left else None)
    assert (answer.json()["oauth2"] is None) == (left is None)


@pytest.mark.parametrize(
    "patch",
    [
        {"oauth2": SHOWN | {"token_url": "https://evil.example.com/token"}},
        {"oauth2": SHOWN | {"token_url": "https://login.example.com:8443/token"}},
        {"oauth2": SHOWN, "url": "https://evil.example.com/in"},
    ],
    ids=["another token host", "another token port", "another host"],
)
async def test_a_stored_secret_follows_to_no_other_host(world, patch):
    """Where a host changes the secret is to be given anew: 422 names it, and nothing is changed."""
    tenant, one = await make(world)

    answer = await tenant.admin.patch(one, json=patch)

    problem_of(answer, 422, "oauth2.client_secret")
    assert await stored(world, tenant, one) == OAuth2(**OAUTH2)


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"client_secret": ""}, "oauth2.client_secret"),
        ({"client_secret": "c4n4ry\n"}, "oauth2.client_secret"),
        ({"client_secret": "c4n4ryé"}, "oauth2.client_secret"),
        ({"client_secret": "c4n4ry" * 1000}, "oauth2.client_secret"),
        ({"client_secret": None}, "oauth2.client_secret"),
        ({"client_id": ""}, "oauth2.client_id"),
        ({"client_id": "c4n4ry\x00"}, "oauth2.client_id"),
        ({"client_id": "c4n4ry" * 1000}, "oauth2.client_id"),
        ({"scope": "a  b"}, "oauth2.scope"),
        ({"scope": 'c4n4ry"'}, "oauth2.scope"),
        ({"scope": "c4n4ry\r\n"}, "oauth2.scope"),
        ({"scope": "c4n4ry" * 1000}, "oauth2.scope"),
        ({"token_url": ""}, "oauth2.token_url"),
        ({"token_url": "http://login.example.com/token"}, "oauth2.token_url"),
        ({"token_url": "https://user:c4n4ry@login.example.com/token"}, "oauth2.token_url"),
        ({"token_url": "https://169.254.169.254/token"}, "oauth2.token_url"),
        ({"token_url": "https://inside.example.com/token"}, "oauth2.token_url"),
        ({"grant": "c4n4ry"}, "oauth2.grant"),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
async def test_refuses_a_wrong_client_by_field(world, changes, field):
    """A wrong field is 422 with its name, made and changed alike; no value is repeated, nothing stored. The guard judges token_url."""
    world.resolver.addresses["inside.example.com"] = ["10.0.0.7"]
    tenant, one = await make(world)
    body = {"oauth2": OAUTH2 | changes}

    made = await tenant.admin.post(PATH, json={"url": URL} | body)
    changed = await tenant.admin.patch(one, json=body)

    problem_of(made, 422, field)
    problem_of(changed, 422, field)
    assert "c4n4ry" not in made.text + changed.text
    assert await stored(world, tenant, one) == OAuth2(**OAUTH2)


async def test_the_secret_is_needed(world):
    """A destination is not made without the secret of its client."""
    tenant = await world.make_organization()

    problem_of(await tenant.admin.post(PATH, json={"url": URL, "oauth2": SHOWN}), 422, "oauth2.client_secret")


async def test_a_token_and_an_auth_header_do_not_go_together(world):
    """Beside oauth2 there is neither an auth header nor a further header Authorization, whichever comes later."""
    tenant, one = await make(world)
    auth = {"auth_header_name": "X-Key", "auth_header_value": SECRET}

    problem_of(
        await tenant.admin.post(PATH, json={"url": URL, "oauth2": OAUTH2} | auth), 422, "auth_header_name"
    )
    problem_of(await tenant.admin.patch(one, json=auth), 422, "auth_header_name")
    further = await tenant.admin.patch(one, json={"headers": {"authorization": SECRET}})
    problem_of(further, 422, "headers.authorization")
    assert (await tenant.admin.patch(one, json={"headers": {"X-Tenant": "t1"}})).status_code == 200


async def test_a_test_event_fetches_a_token_and_is_sent_with_it(world):
    """The button asks the token endpoint first, with nothing of the destination's, and sends the event with what it got."""
    tenant, one = await make(world, headers={"X-Tenant": "t1"})
    world.sender.answers = [granted(), Response(204, b"", 8100)]

    shown = (await tenant.admin.post(f"{one}/test")).json()

    assert (shown["ok"], shown["status_code"]) == (True, 204)
    [(asked_at, asked), (sent_to, _)] = world.sender.posts
    assert (asked_at.endpoint.host, asked_at.endpoint.target) == (
        "login.example.com",
        "/tenant/oauth2/v2.0/token",
    )
    assert (asked_at.headers, asked_at.org_id) == ((), tenant.org_id)
    assert asked.content_type == "application/x-www-form-urlencoded"
    assert sent_to.headers == (("Authorization", f"Bearer {TOKEN}"), ("X-Tenant", "t1"))
    assert world.sender.open_channels == 0


@pytest.mark.parametrize(
    "answer, told",
    [
        (Response(401, b"c4n4ry", 100), "the token endpoint answered 401: check client_id and client_secret"),
        (Response(200, b"c4n4ry", 100), "the token endpoint answered 200 without a token"),
        (Fault(FaultKind.FORBIDDEN, "10.0.0.7 is inside", 100), "the token endpoint: the host points to a forbidden address"),
        (Fault(FaultKind.CONNECT, "connection refused by 192.0.2.7 port 443", 100), "the token endpoint: connection refused by the host"),
    ],
    ids=["refused", "garbage", "forbidden", "no connection"],
)  # fmt: skip
async def test_a_test_event_without_a_token_says_why(world, answer, told):
    """Without a token nothing is sent; the problem of the token endpoint is told, without its answer and without addresses."""
    tenant, one = await make(world)
    world.sender.answers = [answer]

    response = await tenant.admin.post(f"{one}/test")

    shown = response.json()
    assert (shown["ok"], shown["status_code"], shown["response_excerpt"]) == (False, None, "")
    assert shown["error"].startswith(told)
    assert not any(one in response.text for one in ("c4n4ry", "192.0.2.7", "10.0.0.7"))
    assert len(world.sender.posts) == 1
    assert world.sender.open_channels == 0


async def test_a_destination_that_refuses_the_token_gets_one_more(world):
    """A 401 renews the token once; the second 401 is the answer, and says that the token is not accepted."""
    tenant, one = await make(world)
    world.sender.answers = [
        *(granted(access_token="c4n4ry-old"), Response(401, b"", 100)),
        *(granted(), Response(401, b"no", 100)),
    ]

    shown = (await tenant.admin.post(f"{one}/test")).json()

    sent = [dict(route.headers).get("Authorization") for route, _ in world.sender.posts]
    assert sent == [None, "Bearer c4n4ry-old", None, f"Bearer {TOKEN}"]
    assert (shown["ok"], shown["status_code"]) == (False, 401)
    assert "does not accept the token" in shown["error"]


async def test_a_peer_that_repeats_secrets_does_not_make_them_visible(world):
    """Token and client secret are taken out of what a destination answers, whole and in pieces, in capitals or not."""
    tenant, one = await make(world)
    echo = f"bad: {TOKEN}, {TOKEN[:14].upper()}, {CLIENT_SECRET}"
    world.sender.answers = [granted(), Response(500, echo.encode(), 100)]

    shown = (await tenant.admin.post(f"{one}/test")).json()["response_excerpt"]

    assert shown == "bad: ****, ****, ****"


async def test_what_is_recorded_has_no_secret(world):
    """The events about its making, change, test and deletion tell where tokens come from, and hold no secret."""
    tenant, one = await make(world)
    await tenant.admin.patch(one, json={"oauth2": OAUTH2 | {"client_secret": "c4n4ry-third"}})
    await tenant.admin.patch(one, json={"oauth2": None})
    world.sender.answers = [granted()]
    await tenant.admin.post(f"{one}/test")
    await tenant.admin.delete(one)

    found = (await tenant.read.get("/events", dataset=ADMIN_DATASET)).json()["data"]

    view = SHOWN | {"token_url": "https://login.example.com/tenant/****oken"}
    made, changed, removed, *_ = [entry["event"]["aegis"]["audit"] for entry in found]
    assert made["after"]["oauth2"] == view
    assert (changed["changed"], changed["before"]) == (["oauth2"], {"oauth2": view})
    assert (removed["before"], removed["after"]) == ({"oauth2": view}, {"oauth2": None})
    assert len(found) == 5
    assert "c4n4ry" not in json.dumps(found)


# ── in the store ──

MOVES = {
    "to another destination": "UPDATE destinations SET oauth2 = (SELECT o.oauth2 FROM destinations o WHERE o.dst_no = 1)",
    "to another organization": "UPDATE organizations SET org_id = 'org_x'",
    "from the headers": "UPDATE destinations SET oauth2 = headers",
    "to the headers": "UPDATE destinations SET headers = oauth2",
    "to the auth header": "UPDATE destinations SET auth_value = oauth2",
    "one bit of it": "UPDATE destinations SET oauth2 = CAST(substr(oauth2, 1, 80) || x'00' || substr(oauth2, 82) AS BLOB)",
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
async def test_a_record_of_a_client_opens_nowhere_else(world, move):
    """Row 47: moved to another destination, organization or field, or damaged, a client does not open, and the log tells of it."""
    tenant, _ = await make(world)
    body = {"url": URL, "oauth2": OAUTH2 | {"client_id": "other"}, "headers": {"X-Key": "c4n4ry-key"}}
    assert (await tenant.admin.post(PATH, json=body)).status_code == 201
    world.stores.db.write_now(lambda db: raw(db).run(move))

    with pytest.raises(Unavailable) as caught:
        await Directory.of(world.stores).destination(2)

    assert caught.value.code == "sealed-record-damaged"
    assert [name for _, name, _ in world.log.lines] == ["vault.record_refused"]
    assert "c4n4ry" not in repr(world.log.lines) + str(caught.value)


async def test_a_damaged_client_is_mended_by_giving_it_anew(world):
    """A destination whose client does not open is shown as damaged, without it, and takes URL and client given anew."""
    tenant, one = await make(world)
    world.stores.db.write_now(lambda db: raw(db).run(MOVES["one bit of it"]))

    damaged = (await tenant.read.get(one)).json()
    without = await tenant.admin.patch(one, json={"url": URL, "oauth2": SHOWN})
    mended = await tenant.admin.patch(one, json={"url": URL, "oauth2": OAUTH2})

    assert (damaged["status"], damaged["oauth2"]) == ("failing", None)
    problem_of(without, 422, "oauth2.client_secret")
    assert (mended.status_code, mended.json()["oauth2"]) == (200, SHOWN)


async def test_a_client_comes_under_a_new_master_key(world):
    """A rotation counts and rewraps the records of clients too, and after it the old key can go."""
    tenant, one = await make(world)
    rotation = make_rotation(world.settings, world.stores)

    done = await rotation.rotate(lambda done, total: None)
    in_use = await world.stores.secrets.keys_in_use()
    await rotation.drop_old()

    assert (done.rewrapped, done.broken, in_use) == (1, (), {bytes.fromhex(done.key_id)})
    stores = open_stores(world.settings, world.log)
    try:
        found = await Directory.of(stores).destination_of(tenant.no, one.rpartition("/")[2])
    finally:
        stores.close()
    assert found.spec.oauth2 == OAuth2(**OAUTH2)


async def test_a_client_alone_keeps_a_master_key_in_use(world):
    """A record of a client under another key than the rest is seen, counted and brought along."""
    await make(world)
    await assert_keeps_a_key_in_use(world, "oauth2")


async def test_deleted_and_removed_clients_are_gone_from_the_store(world):
    """A removed client leaves no record, a deleted destination neither; and no secret lies in the files in plain text at any time."""
    tenant, one = await make(world)
    _, other = (
        tenant,
        f"{PATH}/{(await tenant.admin.post(PATH, json={'url': URL, 'oauth2': OAUTH2})).json()['id']}",
    )
    in_use = [path.read_bytes() for path in world.settings.store.data_dir.iterdir() if path.is_file()]

    await tenant.admin.patch(one, json={"oauth2": None})
    await tenant.admin.delete(other)

    assert world.stores.db.read_now(lambda db: raw(db).rows("SELECT oauth2 FROM destinations")) == [
        (None,),
        (None,),
    ]
    after = [path.read_bytes() for path in world.settings.store.data_dir.iterdir() if path.is_file()]
    assert any(b"sentinel" in file or b"elastic" in file or b"json" in file for file in in_use), (
        "the files were looked at"
    )
    assert not any(
        secret in file
        for file in in_use + after
        for secret in (b"c4n4ry", b"login.example.com/tenant/oauth2")
    )


async def test_a_destination_without_a_client_is_as_it_was(world):
    """Without oauth2 a route has no grant, and requests go out as they always did."""
    tenant = await world.make_organization()
    dst_id = await world.make_destination(tenant)
    spec = (await world.stored(tenant, dst_id)).spec

    await tenant.admin.post(f"{PATH}/{dst_id}/test")

    [(route, _)] = world.sender.posts
    assert (spec.oauth2, route.grant) == (None, None)
    assert route == route_of(spec, world.settings, tenant.org_id)
