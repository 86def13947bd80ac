"""A token endpoint is configured by a tenant, too: guarded at every connection, without redirects, read within limits.

127.0.0.2 stands for a public address: it is the one that the guard of these tests allows. 127.0.0.1 is the inside.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from aegis_stream.domain.attempt import FaultKind, Response
from aegis_stream.domain.endpoint import Grant
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.netguard import NetGuard, parse_networks
from aegis_stream.pipeline.token_answer import NoToken
from aegis_stream.pipeline.token_sender import TokenSender
from aegis_stream.ports import Channel
from aegis_stream.sender import AsyncSender
from security import wiretap
from security.receivers import REQUEST, Names, Peer, Script, Skipper, make_route, receiving
from support.api import open_world

PUBLIC, INSIDE = "127.0.0.2", "127.0.0.1"
GUARD = NetGuard(parse_networks(f"{PUBLIC}/32"))
FORM = OAuth2("https://login.example.net/token", "client", "c4n4ry-client-secret").form()
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def granting(life_s: int) -> Script:
    """Return a token endpoint that issues one token per connection."""

    async def give(peer: Peer) -> None:
        await peer.take()
        body = json.dumps({"access_token": f"t{peer.number}", "expires_in": life_s}).encode()
        await peer.give(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    return give


def saying(answer: bytes) -> Script:
    """Return a receiver that answers every request with these bytes."""

    async def say(peer: Peer) -> None:
        while True:
            await peer.take()
            await peer.give(answer)

    return say


@asynccontextmanager
async def fetching(
    destination: int, endpoint: int, names: Names, timeout_s: float = 10.0
) -> AsyncIterator[Channel]:
    """Open a channel with tokens to a destination at 127.0.0.2; `names` are those of the token endpoint's look-ups."""
    sender = AsyncSender(user_agent="Aegis/1", guard=GUARD, resolver=names)
    asked = make_route(endpoint, host="login.example.net", timeout_s=timeout_s)
    route = make_route(destination, host=PUBLIC, timeout_s=timeout_s)
    tokens = TokenSender(sender)
    grant = Grant(replace(asked, headers=()), FORM)
    channel = tokens.open(replace(route, headers=(), grant=grant))
    try:
        yield channel
    finally:
        channel.close()
        tokens.close()
        sender.close()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "answers", [[INSIDE], [PUBLIC, INSIDE], [PUBLIC, "10.0.0.7"], ["169.254.169.254"]], ids=" + ".join
)
async def test_a_token_endpoint_inside_gets_no_byte(answers):
    """Rows 11 to 21: no address of a token endpoint is connected to if one of them is internal, and nothing is sent anywhere."""
    async with (
        receiving(granting(3600), address=PUBLIC) as public,
        receiving(granting(3600), address=INSIDE, port=public.port) as inside,
        receiving(saying(NO_CONTENT), address=PUBLIC) as destination,
        fetching(destination.port, public.port, Names(answers)) as channel,
    ):
        with wiretap.listening() as tap:
            answer = await channel.post(REQUEST)

    assert isinstance(answer, NoToken)
    assert (answer.kind, answer.failure.fix_needed) == (FaultKind.FORBIDDEN, True)
    assert (tap.connects, public.connections, inside.connections, destination.connections) == ([], 0, 0, 0)


async def test_a_token_endpoint_that_flips_is_refused_at_the_renewal():
    """Row 22: the guard checks every connection: a name that is internal when a token is renewed gets no secret."""
    names, clock = Names([PUBLIC], [INSIDE]), Skipper()
    async with (
        receiving(granting(60), address=PUBLIC) as public,
        receiving(granting(60), address=INSIDE, port=public.port) as inside,
        receiving(saying(NO_CONTENT), address=PUBLIC) as destination,
        fetching(destination.port, public.port, names) as channel,
    ):
        first = await channel.post(REQUEST)
        clock.skip(61)
        second = await channel.post(REQUEST)

    assert isinstance(first, Response)
    assert isinstance(second, NoToken)
    assert second.kind is FaultKind.FORBIDDEN
    assert (public.connections, inside.connections, len(destination.taken)) == (1, 0, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_of_a_token_endpoint_is_not_followed(status):
    """Row 26: a redirect of a token endpoint is not followed, so its target never gets the client's secret."""
    async with (
        receiving(granting(3600), address=PUBLIC) as elsewhere,
        receiving(saying(NO_CONTENT), address=PUBLIC) as destination,
    ):
        place = b"http://127.0.0.2:%d/" % elsewhere.port
        moved = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, place)
        async with (
            receiving(saying(moved), address=PUBLIC) as endpoint,
            fetching(destination.port, endpoint.port, Names([PUBLIC])) as channel,
        ):
            answer = await channel.post(REQUEST)

    assert isinstance(answer, NoToken)
    assert (
        answer.failure.message
        == f"the token endpoint answered {status}: redirects are not followed; check token_url"
    )
    assert (elsewhere.connections, destination.connections) == (0, 0)


HUGE = b'{"access_token": "t", "pad": "' + b"x" * 200_000 + b'"}'
ANSWERS = {
    "a huge answer": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(HUGE), HUGE),
    "no HTTP": b"c4n4ry\r\n\r\n",
    "the form": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(FORM), FORM),
    "a header to be smuggled": b'HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{"access_token": "t\\r\\nX-Evil: c4n4ry" }  ',
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_a_hostile_answer_is_no_token(answer):
    """At most 16 KiB of an answer are read; without a token it is a failure that repeats nothing of it, and nothing is sent."""
    async with (
        receiving(saying(answer), address=PUBLIC) as endpoint,
        receiving(saying(NO_CONTENT), address=PUBLIC) as destination,
        fetching(destination.port, endpoint.port, Names([PUBLIC])) as channel,
    ):
        got = await channel.post(REQUEST)

    assert isinstance(got, NoToken)
    assert got.failure.message.startswith("the token endpoint")
    assert "c4n4ry" not in repr(got)
    assert (endpoint.bodies, destination.connections) == ([FORM], 0)


async def test_an_answer_that_never_ends_is_over_in_time():
    """A token endpoint that sends endlessly, or nothing, delays an attempt at most until the deadline of a request."""

    async def never_end(peer: Peer) -> None:
        await peer.take()
        await peer.give(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.Event().wait()

    async with (
        receiving(never_end, address=PUBLIC) as endpoint,
        receiving(saying(NO_CONTENT), address=PUBLIC) as destination,
        fetching(destination.port, endpoint.port, Names([PUBLIC]), timeout_s=0.2) as channel,
    ):
        got = await channel.post(REQUEST)

    assert isinstance(got, NoToken)
    assert got.kind is FaultKind.TIMEOUT
    assert destination.connections == 0


async def test_a_token_goes_to_its_destination_alone():
    """Only the token endpoint gets the form, and only the destination gets the token."""
    async with (
        receiving(granting(3600), address=PUBLIC) as endpoint,
        receiving(saying(NO_CONTENT), address=PUBLIC) as destination,
        fetching(destination.port, endpoint.port, Names([PUBLIC])) as channel,
    ):
        answer = await channel.post(REQUEST)

    assert isinstance(answer, Response)
    [(_, asked, form)], [(_, sent, body)] = endpoint.taken, destination.taken
    assert (form, body) == (FORM, REQUEST.body)
    assert b"\r\nauthorization:" not in asked.lower()
    assert b"\r\nContent-Type: application/x-www-form-urlencoded\r\n" in asked
    assert b"\r\nAuthorization: Bearer t1\r\n" in sent


async def test_a_token_endpoint_public_when_saved_private_when_tested(tmp_path):
    """Row 22: a token endpoint that is internal at the test is forbidden; its address is not revealed, and nothing is sent."""
    async with open_world(tmp_path) as world:
        tenant = await world.make_organization()
        client = {"token_url": "https://login.example.net/token", "client_id": "c", "client_secret": "s"}
        made = await tenant.admin.post(
            "/forwarding-destinations", json={"url": "https://siem.example.com/in", "oauth2": client}
        )
        sender = AsyncSender(user_agent="Aegis/1", guard=NetGuard(), resolver=world.resolver)
        control = replace(world.service.control, sender=sender)
        world.routes.state["service"] = replace(world.service, control=control)
        world.resolver.addresses["login.example.net"] = ["10.0.0.7"]

        with wiretap.listening() as tap:
            answer = await tenant.admin.post(f"/forwarding-destinations/{made.json()['id']}/test")
        sender.close()

    body = answer.json()
    assert (answer.status_code, body["ok"], body["status_code"]) == (200, False, None)
    assert body["error"].startswith("the token endpoint: the host points to a forbidden address")
    assert "10.0.0.7" not in answer.text
    assert (tap.connects, tap.look_ups) == ([], [])
