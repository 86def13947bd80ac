"""Promises of test events: rare, recorded, and no way to look around."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.control.redaction import EXCERPT_CHARACTERS_MAX, FORBIDDEN, redact
from aegis_stream.domain.attempt import Fault, FaultKind, Response
from aegis_stream.domain.destination import DestinationSpec
from support.api import open_world, problem_of

PATH = "/forwarding-destinations"
NAMED = {"url": "https://siem.example.com/in", "format": "json"}


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


async def send_test(world, tenant, answer, **changes) -> dict:
    """Make a destination, let its peer answer so, and return what the test shows."""
    destination_id = await world.make_destination(tenant, **(NAMED | changes))
    world.sender.answers = [answer]
    shown = await tenant.admin.post(f"{PATH}/{destination_id}/test")
    assert shown.status_code == 200, shown.text
    return shown.json()


@pytest.mark.parametrize("count", [1, 3])
async def test_tests_of_an_organization_are_limited(tmp_path, count):
    """As many tests as the limit go out, over all its destinations; the next is 429 and sends nothing, until the wait is over."""
    async with open_world(tmp_path, tests_per_minute=count) as world:
        await see_tests_limited(world, count)


async def see_tests_limited(world, count):
    """Use up the tests of one organization, and look at it and at another."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    ids = [await world.make_destination(tenant, **NAMED) for _ in range(2)]
    foreign = await world.make_destination(other, **NAMED)

    answers = [await tenant.admin.post(f"{PATH}/{ids[number % 2]}/test") for number in range(count + 1)]
    sent = len(world.sender.posts)
    others = await other.admin.post(f"{PATH}/{foreign}/test")
    world.clock.advance(int(answers[-1].headers["retry-after"]))
    later = await tenant.admin.post(f"{PATH}/{ids[0]}/test")

    assert [one.status_code for one in answers] == [200] * count + [429]
    assert problem_of(answers[-1], 429)["type"].endswith("/rate-limited")
    assert sent == count
    assert (others.status_code, later.status_code) == (200, 200)


async def test_a_test_of_a_destination_that_is_not_there_is_no_test(tmp_path):
    """Another organization's destination is 404, and takes nothing from the limit."""
    async with open_world(tmp_path, tests_per_minute=1) as world:
        tenant, other = await world.make_organization(), await world.make_organization("org_other")
        foreign = await world.make_destination(other, **NAMED)

        answers = [await tenant.admin.post(f"{PATH}/{foreign}/test") for _ in range(3)]

        assert [one.status_code for one in answers] == [404] * 3
        assert world.sender.posts == []
        assert (await send_test(world, tenant, Response(200, b"", 1)))["ok"] is True


@pytest.mark.parametrize(
    "message",
    [
        "forbidden address 10.1.2.3: leads to a private network (10.0.0.0/8), which is forbidden",
        "forbidden address 127.0.0.1: points to loopback (127.0.0.0/8), which is forbidden",
        "forbidden address fd00:ec2::254: points to a cloud metadata service, which is forbidden",
        "connected to 10.1.2.3 instead of the checked address 93.184.215.14",
    ],
)
@pytest.mark.parametrize("latency_us", [0, 800, 99_000])
async def test_every_forbidden_address_looks_the_same(world, message, latency_us):
    """Whatever a name resolves to that is not allowed, words, time and length of the answer are the same."""
    tenant = await world.make_organization()

    shown = await send_test(world, tenant, Fault(FaultKind.FORBIDDEN, message, latency_us))

    shown["request"].pop("body")
    assert shown.pop("request")["note"].startswith("Nothing was sent")
    assert shown == {
        "ok": False,
        "status_code": None,
        "latency_ms": 0,
        "stages": [
            {"name": "resolve", "ok": True, "ms": None, "detail": ""},
            {"name": "guard", "ok": False, "ms": None, "detail": FORBIDDEN},
            *(
                {"name": one, "ok": None, "ms": None, "detail": ""}
                for one in ("connect", "tls", "send", "answer")
            ),
        ],
        "certificate": None,
        "error": FORBIDDEN,
        "response_excerpt": "",
        "response_headers": [],
    }


@pytest.mark.parametrize(
    "message, told",
    [
        ("connection refused by 10.1.2.3 port 443", "connection refused by the host port 443"),
        (
            "no connection to fd12:3456::1 port 8088 within 10 s",
            "no connection to the host port 8088 within 10 s",
        ),
        (
            "10.1.2.3 port 443 closed the connection without an answer",
            "the host port 443 closed the connection",
        ),
        ("name siem.example.com does not resolve", "name siem.example.com does not resolve"),
    ],
)
async def test_names_no_address_that_a_name_resolved_to(world, message, told):
    """The words of a fault name the host as it was written, not its address."""
    tenant = await world.make_organization()

    shown = await send_test(world, tenant, Fault(FaultKind.CONNECT, message, 500))

    assert shown["error"].startswith(told)
    assert "10.1.2.3" not in shown["error"]
    assert "fd12" not in shown["error"]


async def test_an_address_that_the_user_wrote_is_named(world):
    """Where the URL has an address itself there is nothing to hide."""
    tenant = await world.make_organization()
    url = "https://93.184.215.14/in"

    shown = await send_test(
        world, tenant, Fault(FaultKind.CONNECT, "connection refused by 93.184.215.14 port 443", 1), url=url
    )

    assert shown["error"].startswith("connection refused by 93.184.215.14 port 443")


@pytest.mark.parametrize(
    "latency_us, told_ms", [(1, 100), (99_999, 100), (100_000, 100), (100_001, 200), (0, 0)]
)
async def test_the_time_of_no_answer_is_told_in_steps(world, latency_us, told_ms):
    """How fast a connection failed is told to a tenth of a second, rounded up."""
    tenant = await world.make_organization()

    shown = await send_test(world, tenant, Fault(FaultKind.CONNECT, "connection refused", latency_us))

    assert shown["latency_ms"] == told_ms


@pytest.mark.parametrize("scope", ["ingest", "read"])
async def test_only_admins_see_what_a_peer_answered(world, scope):
    """A key of a smaller scope sends no test and sees no answer."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, **NAMED)

    problem_of(await tenant.by_scope(scope).post(f"{PATH}/{destination_id}/test"), 403)
    assert world.sender.posts == []


async def test_a_success_shows_nothing_of_the_answer(world):
    """Of an answer that is a success only status and times are shown."""
    tenant = await world.make_organization()

    shown = await send_test(world, tenant, Response(200, b"internal page of somebody", 8100))

    assert (shown["ok"], shown["status_code"], shown["latency_ms"]) == (True, 200, 8.1)
    assert set(shown) == {"ok", "status_code", "latency_ms", "stages", "certificate", "request"}
    assert "internal page" not in json.dumps(shown)


BASIC = "Basic " + base64.b64encode(b"collector:hunter2-hunter2").decode()


@pytest.mark.parametrize(
    "value, echo",
    [
        ("Bearer synthetic-token-0001", "bad token synthetic-token-0001"),
        ("Bearer synthetic-token-0001", "bad token SYNTHETIC-TOKEN-0001"),
        ("Bearer synthetic-token-0001", "bad token synthetic-to…"),
        ("Bearer synthetic-token-0001", "…ken-0001 is not known"),
        ("Bearer synthetic-token-0001", "İ synthetic-token-0001"),
        (BASIC, "user collector:hunter2-hunter2"),
        (BASIC, "password hunter2-hunter2 is wrong"),
        (BASIC, BASIC),
        ("Basic not-base64-at-all", "saw not-base64-at-all"),
        ("abcd", "saw abcd"),
    ],
)
def test_pieces_of_a_credential_are_taken_out(value, echo):
    """A peer that repeats the credential, its beginning, its end, or what Basic hides in it, does not make it visible."""
    spec = DestinationSpec("https://siem.example.com/in", "Authorization", value)

    shown = redact(echo, spec).lower()

    for secret in (
        "synthetic-to",
        "ken-0001",
        "hunter2",
        "collector:",
        "not-base64",
        "abcd",
        BASIC.lower()[8:16],
    ):
        assert secret not in shown
    assert "****" in shown


def test_ordinary_words_stay():
    """What is no piece of the credential can be read."""
    spec = DestinationSpec("https://siem.example.com/in", "Authorization", "Bearer synthetic-token-0001")

    assert (
        redact('{"error": "Bearer realm: token expired"}', spec) == '{"error": "Bearer realm: token expired"}'
    )


@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60),
    before=st.text(max_size=30),
    start=st.integers(0, 20),
    length=st.integers(8, 60),
)
def test_no_long_piece_of_any_credential_is_shown(secret, before, start, length):
    """Whatever the credential and wherever it is repeated in part, no eight characters of the repetition are left together."""
    spec = DestinationSpec("https://siem.example.com/", "X-Key", secret)
    piece = secret[start : start + length]
    if len(piece) < 8:
        return

    shown = redact(f"{before}\n{piece}\n", spec)

    assert piece not in shown
    assert not any(piece[at : at + 8] in shown for at in range(len(piece) - 7))


async def test_an_excerpt_is_short(world):
    """However long the answer, what is shown of it is bounded."""
    tenant = await world.make_organization()

    shown = await send_test(world, tenant, Response(500, b"x" * 16_384, 1))

    assert len(shown["response_excerpt"]) == EXCERPT_CHARACTERS_MAX
    assert json.dumps(shown)
