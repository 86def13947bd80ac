"""Promises of dead letters at scale: groups, filters, previews, jobs."""

import pytest

from aegis_stream.api import dead_letters as api
from aegis_stream.control import dead_letters as control
from aegis_stream.domain.attempt import FailureScope
from aegis_stream.domain.delivery import DeadRow
from aegis_stream.domain.ids import WorkerId
from aegis_stream.store import dead_letter_jobs
from support.api import START, make_failure, open_world, problem_of

PATH = "/forwarding-destinations"
WORKER = WorkerId("wrk_test")


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


@pytest.fixture
def small(monkeypatch):
    """Let few dead letters be many."""
    monkeypatch.setattr(control, "AT_ONCE_MAX", 4)
    monkeypatch.setattr(control, "PART", 4)
    monkeypatch.setattr(dead_letter_jobs, "PART", 2)


async def furnish(world, count: int = 9):
    """Make a destination with dead letters of three causes in turn; returns the tenant and the path of its dead letters."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, count)
    causes = [
        make_failure(401, "answered 401: it does not accept the credential"),
        make_failure(400, "failed to parse field", FailureScope.EVENT),
        make_failure(None, "no answer within 10 s"),
    ]
    dead = [DeadRow(one, 3, START + one, causes[one % 3]) for one in range(1, count + 1)]
    await world.settle(tenant, destination_id, cursor=count, dead=dead)
    world.clock.advance(60)
    return tenant, f"{PATH}/{destination_id}/dead-letters"


async def work(world) -> None:
    """Do what a worker does for jobs, until there is nothing left."""
    while await world.stores.dead_letters.step(WORKER):
        world.clock.advance(1)


async def sequences(tenant, path, **query) -> list[int]:
    """Return the sequences of a list."""
    answer = await tenant.read.get(path, **query)
    assert answer.status_code == 200, answer.text
    return [one["sequence"] for one in answer.json()["data"]]


async def test_groups_say_how_many_of_each_cause(world):
    """A group has its count, its share, what it is about, its error and its times; the largest is first."""
    tenant, path = await furnish(world, 8)

    answer = (await tenant.read.get(f"{path}/groups")).json()

    shown = [(one["about"], one["status_code"], one["count"], one["share"]) for one in answer["data"]]
    assert sorted(shown[:2], key=str) == [("destination", None, 3, 0.375), ("event", 400, 3, 0.375)]
    assert shown[2] == ("destination", 401, 2, 0.25)
    assert answer["total"] == 8
    assert answer["data"][2]["error"] == "answered 401: it does not accept the credential"
    assert answer["data"][2]["first_at"] < answer["data"][2]["last_at"]


async def test_a_list_is_filtered_by_kind_cause_and_time(world):
    """`about`, `error` (a group's id, or a text) and `before` select, and pages follow each other."""
    tenant, path = await furnish(world)
    groups = (await tenant.read.get(f"{path}/groups")).json()["data"]
    poison = next(one["id"] for one in groups if one["about"] == "event")
    third = (await tenant.read.get(path)).json()["data"][2]["dead_at"]

    page = (await tenant.read.get(path, error=poison, limit=2)).json()
    rest = (await tenant.read.get(path, error=poison, cursor=page["next_cursor"])).json()

    assert await sequences(tenant, path, about="event") == [1, 4, 7]
    assert await sequences(tenant, path, error="no answer within 30 s") == [2, 5, 8]
    assert await sequences(tenant, path, before=third) == [1, 2]
    assert await sequences(tenant, path, error="grp_none") == []
    assert [one["sequence"] for one in page["data"]] == [1, 4]
    assert ([one["sequence"] for one in rest["data"]], rest["next_cursor"]) == ([7], None)


@pytest.mark.parametrize(
    "query, field",
    [
        ({"about": "both"}, "about"),
        ({"error": ""}, "error"),
        ({"error": "x" * 1001}, "error"),
        ({"before": "noon"}, "before"),
    ],
)
async def test_a_wrong_filter_is_refused(world, query, field):
    """A filter that selects nothing by mistake is an error that names the field, for lists and purges."""
    tenant, path = await furnish(world, 3)

    shown, purged = await tenant.admin.get(path, **query), await tenant.admin.delete(path, **query)

    for answer in (shown, purged):
        problem_of(answer, 422, field)
    assert await sequences(tenant, path) == [1, 2, 3]


async def test_few_that_match_are_redriven_at_once(world):
    """The answer has their number and no job; the others stay."""
    tenant, path = await furnish(world)

    answer = await tenant.admin.post(f"{path}/redrive", json={"about": "event"})

    assert (answer.status_code, answer.json()) == (202, {"redriven": 3})
    assert await sequences(tenant, path) == [2, 3, 5, 6, 8, 9]


async def test_few_that_match_are_purged_at_once(world):
    """So it is for a purge."""
    tenant, path = await furnish(world)

    answer = await tenant.admin.delete(path, error="no answer within 10 s")

    assert (answer.status_code, answer.json()) == (200, {"purged": 3})
    assert await sequences(tenant, path) == [1, 3, 4, 6, 7, 9]


@pytest.mark.usefixtures("small")
async def test_many_are_redriven_by_a_job(world):
    """The answer names the job and how many it concerns; it shows its progress, and ends with all of them done."""
    tenant, path = await furnish(world, 12)

    started = (await tenant.admin.post(f"{path}/redrive", json={"about": "destination"})).json()
    await world.stores.dead_letters.step(WORKER)
    world.clock.advance(1)
    half = (await tenant.read.get(f"{path}/jobs/{started['job_id']}")).json()
    await work(world)
    [done] = (await tenant.read.get(f"{path}/jobs")).json()["data"]

    assert (started["redriven"], started["total"]) == (0, 8)
    assert (half["state"], half["total"], half["about"], half["action"]) == (
        "running",
        8,
        "destination",
        "redrive",
    )
    assert half["done"] == 1
    assert (done["state"], done["done"], done["eta_seconds"]) == ("done", 8, None)
    assert await sequences(tenant, path) == [1, 4, 7, 10]


@pytest.mark.usefixtures("small")
async def test_a_job_can_be_cancelled(world):
    """A cancelled job leaves what it has not reached; a second cancel is refused."""
    tenant, path = await furnish(world, 12)
    started = (await tenant.admin.delete(path)).json()
    job = f"{path}/jobs/{started['job_id']}"
    await world.stores.dead_letters.step(WORKER)

    first, second = await tenant.admin.delete(job), await tenant.admin.delete(job)
    await work(world)

    assert (first.status_code, second.status_code) == (204, 409)
    assert problem_of(second, 409)["type"].endswith("job-ended")
    assert (await tenant.read.get(job)).json()["state"] == "cancelled"
    assert len(await sequences(tenant, path)) == 10


async def test_a_preview_starts_nothing(world):
    """A preview says how many match and how long that takes, as far as that is known; nothing changes."""
    tenant, path = await furnish(world)

    one = await tenant.admin.post(f"{path}/redrive", json={"about": "event"}, params={"preview": "true"})
    every = await tenant.admin.post(f"{path}/redrive", params={"preview": "true"})

    assert one.json() == {"redriven": 0, "matching": 3, "eta_seconds": None}
    assert every.json()["matching"] == 9
    assert len(await sequences(tenant, path)) == 9
    assert (await tenant.read.get(f"{path}/jobs")).json()["data"] == []


async def test_events_and_a_filter_do_not_go_together(world):
    """Naming events beside a filter or a preview is refused: which of the two is meant nobody knows."""
    tenant, path = await furnish(world, 3)
    ids = {"event_ids": ["evt_1"]}

    beside = await tenant.admin.post(f"{path}/redrive", json=ids | {"about": "event"})
    preview = await tenant.admin.post(f"{path}/redrive", json=ids, params={"preview": "true"})
    purge = await tenant.admin.delete(path, event_id="evt_1", about="event")

    assert [one.status_code for one in (beside, preview, purge)] == [422] * 3
    assert len(await sequences(tenant, path)) == 3


async def test_another_organizations_jobs_and_groups_are_not_found(world):
    """An organization's dead letters, groups and jobs do not exist for another one, by whatever id."""
    _, path = await furnish(world, 3)
    other = await world.make_organization("org_other")

    answers = [
        await other.admin.get(f"{path}/groups"),
        await other.admin.get(f"{path}/jobs"),
        await other.admin.get(f"{path}/jobs/job_x"),
        await other.admin.delete(f"{path}/jobs/job_x"),
        await other.admin.post(f"{path}/redrive", json={"about": "event"}),
    ]

    assert {one.status_code for one in answers} == {404}


async def test_replays_show_their_progress(world):
    """A preview counts the events and starts nothing; a replay shows how many it covers, its rate, and when it will be done."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 8)
    path, whole = f"{PATH}/{destination_id}/replay", {"from_sequence": 1}

    preview = (await tenant.admin.post(path, json=whole, params={"preview": "true"})).json()
    before = (await tenant.read.get(f"{PATH}/{destination_id}/replays")).json()["data"]
    started = (await tenant.admin.post(path, json=whole)).json()
    world.clock.advance(4)
    [fresh] = (await tenant.read.get(f"{PATH}/{destination_id}/replays")).json()["data"]
    await world.settle(tenant, destination_id, cursor=0, replays=[(started["replay_id"], 2)])
    [under_way] = (await tenant.read.get(f"{PATH}/{destination_id}/replays")).json()["data"]

    assert (preview, before) == ({"events": 8, "replay_id": None, "eta_seconds": None}, [])
    shown = [
        (one["events_total"], one["events_done"], one["rate"], one["eta_seconds"])
        for one in (fresh, under_way)
    ]
    assert shown == [(8, 0, None, None), (8, 2, 0.5, 12.0)]


def test_the_limits_of_a_filter_are_those_of_the_document():
    """The longest error of a filter is the same in the check and in the OpenAPI document."""
    assert api.ERROR_CHARACTERS_MAX == 1000
