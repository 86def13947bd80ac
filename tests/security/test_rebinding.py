"""Rows 21–24 of the attack table: names that resolve to internal addresses, now or later, and the service as its own destination.

127.0.0.2 stands for a public address: it is the one that the guard of these tests allows. 127.0.0.1 is the inside.
"""

import json
from dataclasses import replace

import pytest

from aegis_stream.domain.attempt import Fault, FaultKind, Response
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.formats import REGISTRY
from aegis_stream.netguard import NetGuard, parse_networks
from aegis_stream.pipeline.route import route_of
from aegis_stream.sender import AsyncSender
from aegis_stream.settings import Settings
from security import wiretap
from security.receivers import REQUEST, Names, Peer, Skipper, posting, receiving
from support.api import make_event, open_world, problem_of
from support.simulation import Simulation

PATH = "/forwarding-destinations"
PUBLIC, INSIDE = "127.0.0.2", "127.0.0.1"
GUARD = NetGuard(parse_networks(f"{PUBLIC}/32"))
OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


async def answer_once(peer: Peer) -> None:
    """Answer one request and close, so that every attempt makes a new connection."""
    await peer.take()
    await peer.give(OK)


async def answer_all(peer: Peer) -> None:
    """Answer every request."""
    while True:
        await peer.take()
        await peer.give(OK)


# ── row 21 ──


@pytest.mark.parametrize(
    "answers",
    [
        [PUBLIC, INSIDE],
        [INSIDE, PUBLIC],
        [PUBLIC, "10.0.0.7"],
        [PUBLIC, "::1"],
        ["169.254.169.254", PUBLIC],
        [PUBLIC, "64:ff9b::a9fe:a9fe"],
        [PUBLIC, "::ffff:127.0.0.1"],
        [*[PUBLIC] * 50, INSIDE],
    ],
    ids=lambda answers: f"row 21: {', '.join(answers[-2:])}",
)
async def test_one_forbidden_address_refuses_the_name(answers):
    """No address of a name is connected to if one of them is internal, wherever it is in the answer."""
    names = Names(answers)
    async with (
        receiving(answer_all, address=PUBLIC) as public,
        receiving(answer_all, address=INSIDE, port=public.port) as inside,
        posting(public.port, host="siem.example.net", guard=GUARD, names=names) as channel,
    ):
        with wiretap.listening() as tap:
            answer = await channel.post(REQUEST)

    assert isinstance(answer, Fault)
    assert answer.kind is FaultKind.FORBIDDEN
    assert (public.connections, inside.connections, tap.connects) == (0, 0, [])


# ── row 22 ──


@pytest.mark.parametrize(
    "answers",
    [
        [[PUBLIC], [INSIDE]],
        [[PUBLIC], [INSIDE], [PUBLIC], [INSIDE], [PUBLIC]],
        [[INSIDE], [PUBLIC]],
        [[PUBLIC], [PUBLIC, INSIDE], [PUBLIC]],
        [[PUBLIC], ["64:ff9b::7f00:1"], ["::ffff:127.0.0.1"], ["10.0.0.7"], ["169.254.169.254"]],
    ],
    ids=lambda answers: f"row 22: {' → '.join('+'.join(one) for one in answers)}",
)
async def test_a_name_that_flips_never_leads_inside(answers):
    """However a name changes between attempts, each attempt goes to the public address or nowhere."""
    names = Names(*answers)
    attempts = 2 * len(answers)
    clock = Skipper()
    async with (
        receiving(answer_once, address=PUBLIC) as public,
        receiving(answer_once, address=INSIDE, port=public.port) as inside,
        posting(public.port, host="siem.example.net", guard=GUARD, names=names) as channel,
    ):
        with wiretap.listening() as tap:
            seen = []
            for _ in range(attempts):
                seen.append(await channel.post(REQUEST))
                clock.skip(5)  # beyond the time for which a look-up is used again

    expected = [answers[min(number, len(answers) - 1)] == [PUBLIC] for number in range(attempts)]
    assert [isinstance(one, Response) for one in seen] == expected
    assert all(one.kind is FaultKind.FORBIDDEN for one in seen if isinstance(one, Fault))
    assert tap.connects == [(PUBLIC, public.port)] * expected.count(True)
    assert (public.connections, inside.connections) == (expected.count(True), 0)


async def test_a_name_is_looked_up_once_and_connected_to_as_vetted():
    """Row 22, a TTL of 0: there is no look-up between the guard's check and the connect, so the address cannot change."""
    names = Names([PUBLIC], [INSIDE])
    async with (
        receiving(answer_all, address=PUBLIC) as public,
        receiving(answer_all, address=INSIDE, port=public.port) as inside,
        posting(public.port, host="siem.example.net", guard=GUARD, names=names) as channel,
    ):
        with wiretap.listening() as tap:
            answer = await channel.post(REQUEST)

    assert isinstance(answer, Response)
    assert (names.asked, tap.look_ups) == (["siem.example.net"], [])
    assert tap.connects == [(PUBLIC, public.port)]
    assert inside.connections == 0


async def test_a_kept_connection_stays_where_it_was_vetted():
    """Row 22: if a name changes while a connection is open, the next request goes to the same peer as the first."""
    names = Names([PUBLIC], [INSIDE])
    async with (
        receiving(answer_all, address=PUBLIC) as public,
        receiving(answer_all, address=INSIDE, port=public.port) as inside,
        posting(public.port, host="siem.example.net", guard=GUARD, names=names) as channel,
    ):
        answers = [await channel.post(REQUEST) for _ in range(3)]

    assert [type(one) for one in answers] == [Response] * 3
    assert (public.connections, len(public.bodies), inside.connections) == (1, 3, 0)


async def test_public_when_saved_private_when_tested(tmp_path):
    """Row 22: a name that was public when it was saved and is internal at the test is forbidden, and its address is not revealed."""
    async with open_world(tmp_path) as world:
        tenant = await world.make_organization()
        destination_id = await world.make_destination(tenant)
        sender = AsyncSender(user_agent="Aegis/1", guard=NetGuard(), resolver=world.resolver)
        control = replace(world.service.control, sender=sender)
        world.routes.state["service"] = replace(world.service, control=control)
        world.resolver.addresses["siem.example.com"] = ["10.0.0.7"]

        with wiretap.listening() as tap:
            answer = await tenant.admin.post(f"{PATH}/{destination_id}/test")
        sender.close()

    body = answer.json()
    assert (answer.status_code, body["ok"], body["status_code"]) == (200, False, None)
    assert "AEGIS_ALLOWED_NETWORKS" in body["error"]
    assert "10.0.0.7" not in answer.text
    assert (tap.connects, tap.look_ups) == ([], [])


# ── what becomes of the destination ──


class Real:
    """The real sender in a simulated world, with the route that the service makes from a destination."""

    def __init__(self, spec: DestinationSpec, names: Names, simulation: Simulation) -> None:
        self._spec = spec
        self._sender = AsyncSender(
            user_agent="Aegis/1", guard=NetGuard(), resolver=names, clock=simulation.loop.time
        )

    def open(self, _: object, trace: object = None):
        """Return a channel; raises Invalid if the URL is no longer allowed."""
        return self._sender.open(route_of(self._spec, Settings()))


@pytest.mark.parametrize(
    "url, address, says",
    [
        ("https://siem.example.net/in", "10.0.0.7", "private network (10.0.0.0/8), which is forbidden"),
        ("https://siem.example.net/in", "169.254.169.254", "link-local and cloud metadata (169.254.0.0/16)"),
        ("https://169.254.169.254/latest/meta-data/", "", "link-local and cloud metadata (169.254.0.0/16)"),
        ("https://[64:ff9b::a9fe:a9fe]/", "", "link-local and cloud metadata (169.254.0.0/16)"),
        ("https://0x7f.1/", "", "four decimal numbers"),
        ("http://siem.example.net/in", "", "AEGIS_ALLOW_HTTP"),
        ("gopher://siem.example.net/_x", "", "must begin with https://"),
    ],
    ids=["row 11: flipped", "row 13: flipped", "row 13", "row 17", "row 8", "row 1", "row 2"],
)
def test_a_destination_that_leads_inside_is_flagged_and_sends_nothing(tmp_path, url, address, says):
    """A forbidden destination that got into the store is failing with the rule as its reason, and no attempt sends anything."""
    spec = DestinationSpec(url=url)
    simulation = Simulation(tmp_path, spec=spec)
    names = Names([address])
    simulation.receiver = Real(spec, names, simulation)  # type: ignore[assignment] # a sender all the same
    try:
        with wiretap.listening() as tap:
            simulation.start()
            simulation.append(2)
            simulation.advance(1)
            first = simulation.progress().health
            asked_first = len(names.asked)
            simulation.advance(3600)
            last = simulation.progress()
    finally:
        simulation.close()

    assert (first.failures_in_row, first.last_error_status) == (2, None)
    assert says in first.last_error_message
    assert says in last.health.last_error_message
    assert not address or address not in last.health.last_error_message
    assert (last.dead_letters, last.failed_attempts, last.delivered) == (2, 6, 0)
    assert (tap.connects, tap.look_ups) == ([], [])
    assert (
        asked_first <= 2
    )  # once an attempt at most: no second try on another address, as after a network error


# ── row 23 ──


@pytest.mark.parametrize(
    "name, address",
    [
        ("127.0.0.1.nip.io", "127.0.0.1"),
        ("169-254-169-254.nip.io", "169.254.169.254"),
        ("lvh.me", "127.0.0.1"),
        ("localtest.me", "::1"),
        ("www.10.0.0.7.sslip.io", "10.0.0.7"),
        ("anything.attacker.example", "fd00:ec2::254"),
    ],
    ids=lambda value: f"row 23: {value}" if value[0].isalpha() or "." in value else "",
)
async def test_wildcard_names_are_refused_by_address(tmp_path, name, address):
    """A public name that resolves to internal addresses is rejected when it is saved, and again at every connect."""
    async with open_world(tmp_path) as world:
        tenant = await world.make_organization()
        world.resolver.addresses[name] = [address]

        saved = await tenant.admin.post(PATH, json={"url": f"https://{name}/in"})

    problem_of(saved, 422, "url")
    with wiretap.listening() as tap:
        async with posting(443, host=f"x.{name}", guard=NetGuard(), names=Names([address])) as channel:
            answer = await channel.post(REQUEST)
    assert answer.kind is FaultKind.FORBIDDEN
    assert tap.connects == []


# ── row 24 ──


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8700/api/orgs/org_abc/events", "http://localhost:8700/", "http://[::1]:8700/"]
)
async def test_our_own_address_is_refused_until_its_network_is_allowed(tmp_path, url):
    """Row 24: the service cannot be its own destination, unless the operator has allowed its network."""
    names = {"localhost": ["127.0.0.1"]}
    async with open_world(tmp_path / "strict", allow_http=True) as world:
        tenant = await world.make_organization()
        world.resolver.addresses.update(names)
        refused = await tenant.admin.post(PATH, json={"url": url})
    async with open_world(
        tmp_path / "open", allow_http=True, allowed_networks=parse_networks("127.0.0.0/8,::1")
    ) as world:
        tenant = await world.make_organization()
        world.resolver.addresses.update(names)
        taken = await tenant.admin.post(PATH, json={"url": url})

    assert "AEGIS_ALLOWED_NETWORKS" in problem_of(refused, 422, "url")["detail"]
    assert taken.status_code == 201


@pytest.mark.parametrize("name", ["json", "ndjson", "json_array"])
async def test_a_loop_into_ourselves_ends_at_once(tmp_path, name):
    """Row 24: events that a delivery sends back to their organization are duplicates by their ids, so the loop ends."""
    async with open_world(tmp_path) as world:
        tenant = await world.make_organization()
        await tenant.ingest.send(make_event(None, org_id=None))  # id and organization are filled in
        await tenant.ingest.send(make_event("evt_2"))
        stored = (await tenant.read.get("/events")).json()["data"]
        rings = len(world.notifier.rings)
        bodies = (await world.stores.log.page(tenant.no, 1, 2, bytes_max=1 << 20, labels=False)).bodies
        format_ = REGISTRY[name]
        requests = [
            format_.encode(together)
            for together in ([bodies] if format_.batches else [[one] for one in bodies])
        ]

        answers = [await tenant.ingest.send(one.body, one.content_type) for one in requests]

        assert sum(one.json()["duplicates"] for one in answers) == 2
        assert sum(one.json()["accepted"] for one in answers) == 0
        assert (await tenant.read.get("/events")).json()["data"] == stored
        assert len(world.notifier.rings) == rings


async def test_no_loop_goes_through_two_organizations(tmp_path):
    """Row 24: an event names its organization, so another one rejects it; test events are always rejected."""
    async with open_world(tmp_path) as world:
        tenant, other = await world.make_organization(), await world.make_organization("org_other")
        destination_id = await world.make_destination(tenant, format="json")
        await tenant.ingest.send(make_event(None, org_id=None))
        (entry,) = (await tenant.read.get("/events")).json()["data"]
        await tenant.admin.post(f"{PATH}/{destination_id}/test")
        ((_, test),) = world.sender.posts

        crossed = await other.ingest.send(json.dumps(entry["event"]).encode())
        tested = [await one.ingest.send(test.body) for one in (tenant, other)]

        problem_of(crossed, 422, "organization.id")
        for answer in tested:
            problem_of(answer, 422)
        assert (await other.read.get("/events")).json()["data"] == []
