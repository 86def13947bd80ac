"""Promises of the stages of a test: the one that failed is named, by real receivers, and nothing of a network or a secret is told."""

import json
import socket

import pytest

from aegis_stream.control.checks import NOWHERE
from aegis_stream.control.redaction import FORBIDDEN
from aegis_stream.netguard import NetGuard, parse_networks
from aegis_stream.sender import AsyncSender, TrustStore
from security.certificates import Authority
from security.receivers import receiving
from support.api import open_world, problem_of
from support.canaries import canary, leaks

PATH = "/forwarding-destinations"
TOKEN = canary()
NAME = "siem.example.com"
LADDER = ["resolve", "guard", "connect", "tls", "send", "answer"]


@pytest.fixture
async def world(tmp_path):
    """The application with the real sender; every name is this machine, whose loopback is allowed."""
    settings = {
        "allowed_networks": parse_networks("127.0.0.0/8"),
        "allow_http": True,
        "request_timeout_seconds": 2,
    }
    async with open_world(tmp_path, audit_actions=True, **settings) as world:
        world.resolver.others = ["127.0.0.1"]
        sender = AsyncSender(
            user_agent="Aegis/1",
            guard=NetGuard(parse_networks("127.0.0.0/8")),
            resolver=world.resolver,
            trust=TrustStore(),
        )
        object.__setattr__(world.service.control, "sender", sender)
        yield world
        sender.close()


def destination(port: int, scheme: str = "http", **changes: object) -> dict:
    """Return the body of a destination on this machine."""
    return {
        "url": f"{scheme}://{NAME}:{port}/in",
        "format": "json",
        "auth_header_name": "Authorization",
        "auth_header_value": f"Bearer {TOKEN}",
    } | changes


def answering(status: str, body: bytes, *headers: str):
    """Return a script that answers every request so."""

    async def script(peer) -> None:
        while True:
            await peer.take()
            lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
            await peer.give("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return script


async def silent(peer) -> None:
    """Read everything, and never answer."""
    await peer.reader.read()


async def tell_both(tenant, body: dict) -> dict:
    """Test a destination before and after it is saved; return what both told, which is the same but for times and ids."""
    unsaved = await tenant.admin.post(f"{PATH}/test", json=body)
    made = await tenant.admin.post(PATH, json=body)
    saved = await tenant.admin.post(f"{PATH}/{made.json()['id']}/test")
    assert (unsaved.status_code, saved.status_code) == (200, 200), unsaved.text
    assert leaks({"credential": TOKEN}, [("unsaved", unsaved.content), ("saved", saved.content)]) == []
    told, again = unsaved.json(), saved.json()
    assert without_times(told) == without_times(again)
    return told


def without_times(told: dict) -> dict:
    """Return an answer without times, and without the event's id."""
    stages = [one | {"ms": None} for one in told["stages"]]
    return told | {"stages": stages, "latency_ms": 0, "request": told["request"] | {"body": None}}


def ladder(told: dict) -> dict[str, bool | None]:
    """Return whether each stage was passed."""
    return {one["name"]: one["ok"] for one in told["stages"]}


def until(failed: str, names: list[str]) -> dict[str, bool | None]:
    """Return the ladder that fails at a stage."""
    place = names.index(failed)
    return {name: True if at < place else False if at == place else None for at, name in enumerate(names)}


PLAIN = [one for one in LADDER if one != "tls"]


async def test_refused(world):
    """Where nobody listens the test fails at connect, with words and no time of it."""
    tenant = await world.make_organization()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    told = await tell_both(tenant, destination(port))

    assert ladder(told) == until("connect", PLAIN)
    assert told["stages"][2] == {"name": "connect", "ok": False, "ms": None, "detail": told["error"]}
    assert "connection refused" in told["error"]
    assert told["request"]["note"].startswith("Nothing was sent")
    assert told["latency_ms"] % 100 == 0


async def test_self_signed(world, tmp_path):
    """A certificate that signed itself fails at TLS, and nothing is told of it but why."""
    tenant = await world.make_organization()
    context = Authority(tmp_path, "Nobody").server_context(NAME)
    async with receiving(answering("202 Accepted", b""), context=context) as receiver:
        told = await tell_both(tenant, destination(receiver.port, "https"))

    assert ladder(told) == until("tls", LADDER)
    assert "certificate is not trusted" in told["error"]
    assert told["certificate"] is None
    assert "Nobody" not in json.dumps(told)
    assert receiver.taken == []


async def test_a_trusted_certificate_is_told(world, tmp_path):
    """Who issued a certificate that is trusted, and how long it holds, is told, also when the answer is a failure."""
    tenant = await world.make_organization()
    authority = Authority(tmp_path, "Authority of a test")
    context = authority.server_context(NAME)
    async with receiving(answering("500 Oh", b""), context=context) as receiver:
        told = await tell_both(tenant, destination(receiver.port, "https", ca_certificate=authority.pem))

    certificate = told["certificate"]
    assert ladder(told) == until("answer", LADDER)
    assert None not in [one["ms"] for one in told["stages"]], "each stage has its time"
    assert certificate["issuer"] == "Authority of a test"
    assert certificate["days_left"] > 0
    tls = told["stages"][3]["detail"]
    assert tls == f"TLS 1.3, certificate of Authority of a test, {certificate['days_left']} days left"


async def test_unauthorized(world):
    """A 401 fails at the answer, with what was sent and what was answered, without the credential."""
    tenant = await world.make_organization()
    script = answering(
        "401 No", b"who is Bearer " + TOKEN.encode() + b"?", f"X-Echo: {TOKEN}", "WWW-Authenticate: Bearer"
    )
    async with receiving(script) as receiver:
        told = await tell_both(tenant, destination(receiver.port))

    assert ladder(told) == until("answer", PLAIN)
    assert told["stages"][-1]["detail"] == told["error"]
    assert "does not accept the credential" in told["error"]
    assert told["response_excerpt"] == "who is ****?"
    assert {"name": "WWW-Authenticate", "value": "Bearer"} in told["response_headers"]
    assert {"name": "Authorization", "value": "****"} in told["request"]["headers"]
    assert told["request"]["exact"] is True
    sent = receiver.taken[0][2]
    assert told["request"]["body"].encode() == sent
    assert told["stages"][-2]["detail"] == f"{len(sent)} bytes"
    assert json.loads(sent)["aegis"] == {"test": True}


async def test_stored_nothing(world):
    """A 200 that says that nothing was stored, as Elasticsearch's does, fails at the answer."""
    tenant = await world.make_organization()
    item = {"create": {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no"}}}
    body = json.dumps({"errors": True, "items": [item]}).encode()
    async with receiving(answering("200 OK", body)) as receiver:
        url = f"http://{NAME}:{receiver.port}/logs-aegis-default/_bulk"
        told = await tell_both(tenant, destination(receiver.port, url=url, format="auto"))

    assert ladder(told) == until("answer", PLAIN)
    assert (told["ok"], told["status_code"]) == (False, 200)
    assert "document_parsing_exception" in told["response_excerpt"]


async def test_taken_with_a_warning(world):
    """What was taken although something is wrong says so, and does not fail."""
    tenant = await world.make_organization()
    item = {"create": {"status": 201, "result": "created", "failure_store": "used"}}
    body = json.dumps({"errors": False, "items": [item]}).encode()
    async with receiving(answering("200 OK", body)) as receiver:
        url = f"http://{NAME}:{receiver.port}/logs-aegis-default/_bulk"
        told = await tell_both(tenant, destination(receiver.port, url=url, format="auto"))

    assert set(ladder(told).values()) == {True}
    assert "failure store" in told["warning"]
    assert told["stages"][-1]["detail"] == told["warning"]
    assert "response_excerpt" not in told


async def test_no_answer_in_time(world):
    """A receiver that never answers fails at the answer, with the time in steps."""
    tenant = await world.make_organization()
    async with receiving(silent) as receiver:
        told = (await tenant.admin.post(f"{PATH}/test", json=destination(receiver.port))).json()

    assert ladder(told) == until("answer", PLAIN)
    assert "no answer within 2 s" in told["error"]
    assert told["latency_ms"] % 100 == 0
    assert all(one["ms"] is None or one["ms"] % 100 == 0 for one in told["stages"])


async def test_a_name_that_ceased_to_exist(world):
    """A saved destination whose name is gone fails at the name."""
    tenant = await world.make_organization()
    made = await tenant.admin.post(PATH, json=destination(443))
    world.resolver.addresses[NAME] = []

    told = (await tenant.admin.post(f"{PATH}/{made.json()['id']}/test")).json()

    assert ladder(told) == until("resolve", PLAIN)
    assert told["error"].startswith(f"name {NAME} does not resolve")


async def test_every_forbidden_address_gives_the_same_answer(world):
    """Whatever a name of a saved destination leads to by now, and to how many addresses, nothing tells them apart."""
    tenant = await world.make_organization()
    made = await tenant.admin.post(PATH, json=destination(443, "https"))
    told = []
    for addresses in (
        ["10.0.0.7"],
        ["169.254.169.254"],
        ["192.168.1.1", "10.0.0.7"],
        ["::1"],
        ["127.0.0.1", "fd00:ec2::254"],  # the first one is allowed here
        [f"10.0.0.{number}" for number in range(40)],
    ):
        world.resolver.addresses[NAME] = addresses
        one = (await tenant.admin.post(f"{PATH}/{made.json()['id']}/test")).json()
        one["request"].pop("body")
        told.append(one)

    assert all(one == told[0] for one in told)
    assert ladder(told[0]) == until("guard", LADDER)
    assert told[0]["error"] == FORBIDDEN
    assert told[0]["latency_ms"] == 0
    assert {one["ms"] for one in told[0]["stages"]} == {None}


async def test_how_many_addresses_a_name_has_is_not_told(world):
    """A name with one address, and one with several of which some do not answer, look alike but for times."""
    tenant = await world.make_organization()
    told = []
    async with receiving(answering("202 Accepted", b"")) as receiver:
        for addresses in (["127.0.0.1"], ["127.0.0.9", "127.0.0.8", "127.0.0.1"]):
            world.resolver.addresses[NAME] = addresses
            told.append(await tell_both(tenant, destination(receiver.port)))

    assert set(ladder(told[0]).values()) == {True}
    assert without_times(told[0]) == without_times(told[1])


@pytest.mark.parametrize("field", ["url", "token_url"])
async def test_before_it_is_saved_no_name_looks_like_a_forbidden_one(world, field):
    """A host that does not exist and one that leads to a forbidden address give the same answer, and nothing is sent."""
    tenant = await world.make_organization()
    world.resolver.addresses |= {"a.example.com": [], "b.example.com": ["10.0.0.7"]}
    told = []
    for host in ("a.example.com", "b.example.com"):
        body = destination(443, "https", url=f"https://{host}/in")
        if field == "token_url":
            client = {"token_url": f"https://{host}/token", "client_id": "one", "client_secret": TOKEN}
            body = {"url": f"https://{NAME}/in", "oauth2": client}
        told.append((await tenant.admin.post(f"{PATH}/test", json=body)).json())

    assert told[0] == told[1]
    failed = [one["name"] for one in told[0]["stages"] if one["ok"] is False]
    assert failed == [{"url": "resolve", "token_url": "token"}[field]]
    assert told[0]["error"].startswith(NOWHERE)
    assert told[0]["request"]["url"] == ""
    assert leaks({"credential": TOKEN}, [("answer", json.dumps(told).encode())]) == []


async def test_a_bad_field_is_refused_as_when_it_is_saved(world):
    """What could not be saved is not tested: 422 names the field, nothing is sent, and nothing counts as a test."""
    tenant = await world.make_organization()

    problem_of(await tenant.admin.post(f"{PATH}/test", json={"url": "https://10.0.0.5/"}), 422, "url")
    problem_of(
        await tenant.admin.post(f"{PATH}/test", json={"url": "https://siem.example.com/", "kind": 1}), 422
    )


async def test_nothing_is_saved_and_the_host_is_recorded(world):
    """A test of what is not saved leaves one event in the audit trail, with the host and without everything else."""
    tenant = await world.make_organization()
    secret_path = canary()
    async with receiving(answering("202 Accepted", b"")) as receiver:
        url = f"http://{NAME}:{receiver.port}/{secret_path}"
        shown = await tenant.admin.post(
            f"{PATH}/test", json=destination(receiver.port, url=url, name=canary())
        )
    listed = (await tenant.read.get(PATH)).json()["data"]
    trail = (await tenant.read.get("/events", dataset="aegis.audit_stream.admin", order="desc")).json()
    event = trail["data"][0]["event"]

    assert shown.json()["ok"] is True
    assert listed == []
    assert event["event"]["action"] == "destination_test"
    assert event["event"]["outcome"] == "success"
    assert event["aegis"]["audit"] == {
        "target": {"type": "destination", "id": "", "name": NAME},
        "after": {"saved": False, "status_code": 202},
    }
    assert leaks({"path": secret_path, "credential": TOKEN}, [("trail", json.dumps(trail).encode())]) == []
    assert TOKEN.encode()[:6] not in json.dumps(trail).encode(), "no part of any secret"


async def test_tests_of_what_is_not_saved_are_limited(tmp_path):
    """They count with the tests of saved destinations."""
    async with open_world(tmp_path, tests_per_minute=2) as world:
        tenant = await world.make_organization()
        body = destination(443, "https")
        dst_id = await world.make_destination(tenant)

        first = await tenant.admin.post(f"{PATH}/test", json=body)
        second = await tenant.admin.post(f"{PATH}/{dst_id}/test")
        third = await tenant.admin.post(f"{PATH}/test", json=body)

    assert (first.status_code, second.status_code) == (200, 200)
    assert problem_of(third, 429)["type"].endswith("/rate-limited")
    assert len(world.sender.posts) == 2


@pytest.mark.parametrize("scope", ["ingest", "read"])
async def test_only_admins_may_test(world, scope):
    """A key of a smaller scope sends no test of what is not saved."""
    tenant = await world.make_organization()

    problem_of(await tenant.by_scope(scope).post(f"{PATH}/test", json=destination(443)), 403)


async def test_a_token_comes_first(world):
    """With an OAuth2 client the token is a stage of its own, and its failure is told there."""
    tenant = await world.make_organization()
    granted = json.dumps({"access_token": canary(), "expires_in": 300}).encode()
    ladders = []
    for token_answer in (answering("200 OK", granted), answering("401 No", TOKEN.encode())):
        async with receiving(token_answer) as login, receiving(answering("202 Accepted", b"")) as siem:
            client = {
                "token_url": f"http://{NAME}:{login.port}/token",
                "client_id": "one",
                "client_secret": TOKEN,
            }
            body = {"url": f"http://{NAME}:{siem.port}/in", "format": "json", "oauth2": client}
            told = await tell_both(tenant, body)
            ladders.append(ladder(told))
            assert (None in [one["ms"] for one in told["stages"]]) is (not told["ok"])

    assert list(ladders[0].values()) == [True] * 6
    assert ladders[1] == until("token", ["token", *PLAIN])
    assert "token endpoint answered 401" in told["error"]
