"""Promises of the operator's page: the worst first, a new organization, and a way into one that its audit trail shows."""

import re

import pytest

from aegis_stream.console.fleet import headline_of
from aegis_stream.control.destinations import Totals
from aegis_stream.control.fleet import Disk, ServiceStatus, ShownWorker
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import Micros
from support.api import OPERATOR_KEY, START, Caller, open_world
from support.console import Visitor

OPERATOR = "/console/operator"
HOME = "/console/o/org_abc"
_TEXT = re.compile(r"aegis_sk_[A-Za-z0-9_-]{43}")


@pytest.fixture
async def world(tmp_path):
    """A running application that records actions."""
    async with open_world(tmp_path, audit_actions=True) as world:
        yield world


@pytest.fixture
async def visitor(world):
    """The operator."""
    visitor = Visitor(world)
    await visitor.sign_in(OPERATOR_KEY)
    return visitor


async def actions(tenant):
    """Return who did what, as the organization's audit trail has it."""
    events = (await tenant.read.get("/events?dataset=aegis.audit_stream.admin")).json()["data"]
    return [(one["event"]["user"]["id"], one["event"]["event"]["action"]) for one in events]


async def test_organizations_stand_in_a_table_the_worst_first(world, visitor):
    """The sentence says how many fail; the organization that fails is the first row."""
    for name in ("org_fine", "org_fails"):
        tenant = await world.make_organization(name)
        destination = await world.make_destination(tenant)
        if name == "org_fails":
            health = Health(failures_in_row=1, last_error_at=Micros(START), last_error_message="answered 401")
            await world.settle(tenant, destination, health=health)
    await visitor.get(OPERATOR)
    rows = re.findall(r'data-row="([^"]+)"', visitor.page)

    assert rows == ["org_fails", "org_fine"]
    assert "1 of 2 organizations has a failing destination" in visitor.page
    assert "1 of 1" in visitor.page.partition('data-row="org_fails"')[2].partition("</tr>")[0]


async def test_an_organization_is_made_with_its_first_key(world, visitor):
    """The page after the form has the first key, which works; a wrong or taken id is said at the field, with what was typed."""
    made = await visitor.post(OPERATOR, {"name": "<i>Acme</i>", "id": "org_acme"})
    key = _TEXT.search(made.text)[0]
    await visitor.get(OPERATOR)
    later = visitor.page
    wrong = await visitor.post(OPERATOR, {"name": "Acme", "id": "acme"})
    taken = await visitor.post(OPERATOR, {"name": "Acme again", "id": "org_acme"})
    nameless = await visitor.post(OPERATOR, {"name": ""})

    assert (made.status_code, wrong.status_code, taken.status_code, nameless.status_code) == (
        201,
        422,
        409,
        422,
    )
    assert "&lt;i&gt;Acme" in made.text
    assert (await Caller(world.client, "org_acme", key).get("")).status_code == 200
    assert key not in later
    assert "must be org_" in wrong.text
    assert 'value="acme"' in wrong.text
    assert 'value="Acme again"' in taken.text


async def test_the_operator_enters_to_read_and_asks_again_to_write(world, visitor):
    """No page opens before entering; then nothing can be changed until the id is typed; both are in the audit trail."""
    tenant = await world.make_organization()
    outside = await visitor.get(HOME)
    await visitor.get(OPERATOR)
    entered = await visitor.post(OPERATOR + "/enter", {"org_id": "org_abc"})
    await visitor.get(HOME)
    inside = visitor.page
    refused = await visitor.post(HOME + "/keys", {"name": "mine", "scope": "admin"})
    recorded = await actions(tenant)
    await visitor.get(OPERATOR + "/write")
    wrong = await visitor.post(OPERATOR + "/write", {"org_id": "org_other"})
    still = await visitor.post(HOME + "/sample")
    await visitor.get(OPERATOR + "/write")
    allowed = await visitor.post(OPERATOR + "/write", {"org_id": "org_abc"})
    await visitor.get(HOME + "/keys")
    made = await visitor.post(HOME + "/keys", {"name": "theirs", "scope": "ingest"})

    assert (outside.status_code, "have not entered" in outside.text) == (403, True)
    assert (entered.status_code, entered.headers["location"]) == (303, HOME)
    assert "New destination" not in inside
    assert (refused.status_code, wrong.status_code, still.status_code) == (403, 422, 403)
    assert recorded == [("operator", "operator_enter")]
    assert (allowed.status_code, made.status_code) == (303, 201)
    assert await actions(tenant) == [
        ("operator", "operator_enter"),
        ("operator", "operator_write"),
        ("operator", "key_create"),
    ]


async def test_entering_another_organization_ends_the_first(world, visitor):
    """The right to write is that of one organization; another one is entered read only, and the first must be entered again."""
    await world.make_organization()
    await world.make_organization("org_other")
    await visitor.get(OPERATOR)
    await visitor.post(OPERATOR + "/enter", {"org_id": "org_abc"})
    await visitor.get(OPERATOR + "/write")
    await visitor.post(OPERATOR + "/write", {"org_id": "org_abc"})
    await visitor.get(OPERATOR)
    await visitor.post(OPERATOR + "/enter", {"org_id": "org_other"})
    await visitor.get("/console/o/org_other/keys")
    other = await visitor.post("/console/o/org_other/keys", {"name": "x", "scope": "read"})

    assert other.status_code == 403
    assert (await visitor.get(HOME)).status_code == 403
    await visitor.get(OPERATOR)
    assert (await visitor.post(OPERATOR + "/enter", {"org_id": "org_none"})).status_code == 404


async def test_only_the_operator_sees_the_page(world):
    """An organization's admin has no way there."""
    tenant = await world.make_organization()
    visitor = Visitor(world)
    await visitor.sign_in(tenant.admin.key)
    answers = [
        await visitor.get(OPERATOR),
        await visitor.post(OPERATOR, {"name": "mine"}),
        await visitor.post(OPERATOR + "/enter", {"org_id": "org_abc"}),
        await visitor.get(OPERATOR + "/write"),
        await visitor.post(OPERATOR + "/write", {"org_id": "org_abc"}),
    ]

    assert [one.status_code for one in answers] == [403] * 5
    assert await actions(tenant) == []


def service(**changes):
    """Build the status of a healthy service."""
    healthy = {
        "store": "sqlite",
        "disk": Disk(100, 60),
        "stored_bytes": 0,
        "organizations": 214,
        "failing_organizations": 0,
        "near_quota": 0,
        "totals": Totals(*[0] * 9),
        "services": [],
        "workers": [ShownWorker("wrk_1", Micros(0), 3, 20.0)],
        "unserved": 0,
    }
    return ServiceStatus(**(healthy | changes))


@pytest.mark.parametrize(
    ("changes", "tone", "text"),
    [
        ({}, "good", "The service runs: 1 worker, 214 organizations, no failing destination."),
        ({"disk": None}, "good", "The service runs: 1 worker, 214 organizations, no failing destination."),
        (
            {"disk": Disk(100, 19), "failing_organizations": 3},
            "bad",
            "The disk is 81% full; 3 of 214 organizations have a failing destination.",
        ),
        ({"unserved": 2}, "warn", "2 destinations without a worker."),
        ({"near_quota": 1}, "warn", "1 organization near the quota of stored bytes."),
        (
            {"workers": [ShownWorker("wrk_1", Micros(0), 3, -1.0)]},
            "bad",
            "No worker runs, so nothing is delivered: start `aegis serve` or `aegis worker`.",
        ),
    ],
)
def test_the_sentence_of_the_service(changes, tone, text):
    """What is wrong with the service, the worst first, and what to do."""
    told = headline_of(service(**changes))

    assert (told.tone, told.text) == (tone, text)


async def test_the_operator_makes_a_link_for_an_organization(world, visitor):
    """The link is shown once, opens that organization, and is in its audit trail; a wrong id makes none."""
    tenant = await world.make_organization()
    await visitor.get(OPERATOR)
    made = await visitor.post(OPERATOR + "/link", {"org_id": "org_abc"})
    token = re.search(r"http://127\.0\.0\.1/console/link#(aegis_cl_[\w-]{43})", made.text)[1]
    guest = Visitor(world)
    opened = await guest.post("/console/link", {"token": token})
    await guest.get(opened.headers["location"])
    missing = await visitor.post(OPERATOR + "/link", {"org_id": "org_none"})

    assert (made.status_code, missing.status_code) == (201, 404)
    assert opened.headers["location"] == HOME
    assert "New destination" in guest.page
    assert [one for one in await actions(tenant) if one[1].startswith("console_link")] == [
        ("operator", "console_link_create"),
        (guest_id(await actions(tenant)), "console_link_use"),
    ]


def guest_id(recorded):
    """Return the id under which a visitor by link is recorded."""
    [found] = {who for who, _ in recorded if who.startswith("lnk_")}
    return found
