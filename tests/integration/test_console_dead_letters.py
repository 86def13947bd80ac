"""Promises of the dead letters of a destination in the console: causes, rows, redrive, purge, export, jobs."""

import html
import json
import re

import pytest

from aegis_stream.control import dead_letters as control
from aegis_stream.domain.attempt import FailureScope
from aegis_stream.domain.delivery import DeadRow
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import WorkerId
from aegis_stream.store import dead_letter_jobs
from support.api import START, make_event, make_failure
from support.console import cells_of, signed_in, stream_of

HOSTILE = '<script>alert(1)</script> "><img onerror=x> \u202e'


@pytest.fixture
def small(monkeypatch):
    """Let few dead letters be many."""
    monkeypatch.setattr(control, "AT_ONCE_MAX", 2)
    monkeypatch.setattr(control, "PART", 2)
    monkeypatch.setattr(dead_letter_jobs, "PART", 2)


async def furnish(world, tenant, count=6, failures_in_row=0):
    """Make a destination with dead letters of two causes in turn; returns the path of its tab."""
    dst_id = await world.make_destination(tenant, name="Elastic prod")
    await world.send_events(tenant, count)
    causes = [make_failure(401, "wrong credential"), make_failure(400, HOSTILE, FailureScope.EVENT)]
    dead = [DeadRow(one, 3, START + one, causes[one % 2]) for one in range(1, count + 1)]
    health = Health(
        failures_in_row=failures_in_row, last_error_at=START, last_error_message="wrong credential"
    )
    await world.settle(tenant, dst_id, cursor=count, dead=dead, health=health)
    world.clock.advance(60)
    return f"/console/o/{tenant.org_id}/d/{dst_id}/dead-letters"


async def left(tenant, here):
    """Return the sequences of the dead letters that are left."""
    dst_id = here.split("/")[5]
    answer = await tenant.read.get(f"/forwarding-destinations/{dst_id}/dead-letters")
    return [one["sequence"] for one in answer.json()["data"]]


def link_of(page, label):
    """Return where the link with a label leads."""
    found = re.search(rf'href="([^"]+)"[^>]*>{re.escape(label)}', page)
    assert found, label
    return html.unescape(found[1])


async def test_causes_come_first_and_texts_are_harmless(world, tenant):
    """The page counts by cause, then lists; an error's text shows as text, with hidden characters written out."""
    here = await furnish(world, tenant, 5)
    visitor = await signed_in(world, tenant.read.key)

    await visitor.get(here)

    shown = visitor.page
    assert shown.index('id="groups"') < shown.index('id="rows"')
    assert "wrong credential" in shown
    assert "60 %" in shown
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "\\u202e" in shown
    assert "\u202e" not in shown


async def test_a_cause_filters_the_rows_and_the_query_keeps_it(world, tenant):
    """A cause leads to its rows by a query that can be reloaded; a cursor goes on within it."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.read.key)
    await visitor.get(here)
    where = link_of(visitor.page, "wrong credential").partition("#")[0]

    await visitor.get(where)
    filtered = re.findall(r'id="s(\d+)"', visitor.page)
    await visitor.get(where + "&cursor=2")

    assert filtered == ["2", "4", "6"]
    assert re.findall(r'id="s(\d+)"', visitor.page) == ["4", "6"]


async def test_selected_rows_are_redriven(world, tenant):
    """Ticked rows are on their way again, the others stay; one that is gone meanwhile is told."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here)

    answer = await visitor.post(here + "/redrive", {"event": ["evt_1", "evt_4", "evt_none"]})
    await visitor.get(answer.headers["location"])

    assert (
        "2 events are on their way again. 1 of those selected were no dead letters any more." in visitor.page
    )
    assert await left(tenant, here) == [2, 3, 5, 6]


async def test_nothing_selected_does_nothing(world, tenant):
    """A form without a tick says so."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here)

    answer = await visitor.post(here + "/redrive")
    await visitor.get(answer.headers["location"])

    assert "Nothing was selected, so nothing was done" in visitor.page
    assert len(await left(tenant, here)) == 6


async def test_a_redrive_says_what_it_will_do_and_does_it(world, tenant):
    """The page before it has the number, the causes and the duplicates; then all of that cause are on their way, and no others."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here)
    await visitor.get(link_of(visitor.page, "wrong credential").partition("#")[0])
    await visitor.get(link_of(visitor.page, "Redrive all 3 that match…"))
    asked = visitor.page
    error = re.search(r'name="error" value="([^"]+)"', asked)[1]

    answer = await visitor.post(here + "/redrive", {"all": "yes", "about": "", "error": error})
    await visitor.get(answer.headers["location"])

    assert "3 events are sent again" in asked
    assert "may see duplicates" in asked
    assert "aegis dead-letter redrive" in asked
    assert "3 events are on their way again." in visitor.page
    assert await left(tenant, here) == [1, 3, 5]


@pytest.mark.usefixtures("small")
async def test_many_are_redriven_by_a_job_with_a_bar(world, tenant):
    """A redrive of many shows a bar that moves, in the page and in what the open page is told, and can be cancelled."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here + "/redrive")
    answer = await visitor.post(here + "/redrive", {"all": "yes"})
    await visitor.get(answer.headers["location"])
    began = visitor.page
    await world.stores.dead_letters.step(WorkerId("wrk_test"))
    await visitor.get(here)
    job = re.search(r'<li id="(job_[^"]+)"', visitor.page)[1]
    moved = visitor.page
    cells = await cells_of(visitor, moved)
    cancelled = await visitor.post(f"{here}/jobs/{job}/cancel")
    again = await visitor.post(f"{here}/jobs/{job}/cancel")
    world.clock.advance(1)
    over = await cells_of(visitor, moved)
    await visitor.get(here)

    assert "The redrive of 6 events has started" in began
    assert '<progress max="6" value="0"' in began
    assert '<progress max="6" value="2"' in moved
    assert cells[f"{job}.bar"]["set"] == {"max": "6", "value": "2"}
    assert cells[f"{job}.text"]["text"].startswith("2 of 6 events")
    assert [one[f"{job}.state"]["kind"] for one in (cells, over)] == ["badge running", "badge cancelled"]
    assert [one[f"{job}.cancel"]["kind"] for one in (cells, over)] == ["shown", "none"]
    assert stream_of(visitor.page).endswith("&drawn=")
    assert (cancelled.status_code, again.status_code) == (303, 409)
    assert "cancelled" in visitor.page
    assert await left(tenant, here) == [3, 4, 5, 6]


async def test_a_redrive_of_an_old_page_is_refused(world, tenant):
    """When nothing matches any more, because somebody was faster, the answer is 409 and says so."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here + "/redrive")
    await visitor.post(here + "/redrive", {"all": "yes"})

    answer = await visitor.post(here + "/redrive", {"all": "yes"})

    assert answer.status_code == 409
    assert "nothing was done" in answer.text


async def test_a_purge_asks_for_the_number(world, tenant):
    """Another number than the one shown deletes nothing; the right one deletes those that were shown, and no later ones."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here + "/purge?about=event")
    fields = dict(re.findall(r'name="(about|error|shown|before)" value="([^"]*)"', visitor.page))

    wrong = await visitor.post(here + "/purge", fields | {"number": "5"})
    kept = await left(tenant, here)
    right = await visitor.post(here + "/purge", fields | {"number": " 3 "})
    await visitor.get(right.headers["location"])

    assert (wrong.status_code, kept) == (422, [1, 2, 3, 4, 5, 6])
    assert "Type 3, the number of dead letters to delete" in wrong.text
    assert "3 dead letters deleted." in visitor.page
    assert await left(tenant, here) == [2, 4, 6]


async def test_selecting_all_that_match_asks_first(world, tenant):
    """The box for all leads to the page that says what a redrive of them will do, with the same filter; nothing is done yet."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here + "?about=event")
    answer = await visitor.post(here + "/redrive", {"about": "event", "matching": "yes", "event": "evt_1"})

    assert "Select all 3 that match" in visitor.page
    assert (answer.status_code, answer.headers["location"]) == (303, here + "/redrive?about=event")
    assert len(await left(tenant, here)) == 6


@pytest.mark.parametrize("missing", ["shown", "before"])
async def test_a_purge_needs_what_the_page_showed(world, tenant, missing):
    """A form that does not tell how many dead letters the page showed, and when, deletes nothing."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here + "/purge")
    fields = dict(re.findall(r'name="(about|error|shown|before)" value="([^"]*)"', visitor.page))
    fields |= {"number": "" if missing == "shown" else fields["shown"]}
    answer = await visitor.post(here + "/purge", {name: fields[name] for name in fields if name != missing})

    assert answer.status_code in (409, 422)
    assert len(await left(tenant, here)) == 6


async def test_a_purge_spares_what_died_after_the_page_was_shown(world, tenant):
    """Nobody deletes what they have not seen."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(here + "/purge")
    fields = dict(re.findall(r'name="(about|error|shown|before)" value="([^"]*)"', visitor.page))
    world.clock.advance(10)
    later = DeadRow(7, 3, world.clock.now(), make_failure(401, "wrong credential"))
    await tenant.ingest.send(make_event("evt_7"))
    await world.settle(tenant, here.split("/")[5], cursor=7, dead=[later])

    await visitor.post(here + "/purge", fields | {"number": "6"})

    assert await left(tenant, here) == [7]


async def test_an_export_has_every_dead_letter_with_its_event(world, tenant):
    """The file has a line for each that matches: why it died, and the event as it is stored."""
    here = await furnish(world, tenant, 50)
    visitor = await signed_in(world, tenant.read.key)
    await visitor.get(here)

    every = await visitor.post(here + "/export")
    some = await visitor.post(here + "/export", {"about": "event"})
    lines = [json.loads(line) for line in every.text.splitlines()]

    assert every.headers["content-type"] == "application/x-ndjson"
    assert "attachment" in every.headers["content-disposition"]
    assert [one["sequence"] for one in lines] == list(range(1, 51))
    assert lines[0]["event"]["event"]["id"] == lines[0]["event_id"] == "evt_1"
    assert lines[0]["last_error"] == HOSTILE
    assert len(some.text.splitlines()) == 25


async def test_what_comes_by_itself_is_told(world, tenant):
    """While the destination fails, the page says that its dead letters are redriven by themselves; once it is well it does not."""
    here = await furnish(world, tenant, failures_in_row=3)
    visitor = await signed_in(world, tenant.read.key)
    await visitor.get(here)
    while_failing = visitor.page
    await world.settle(tenant, here.split("/")[5], health=Health(last_success_at=world.clock.now()))
    await visitor.get(here)

    assert "Nothing needs doing for 3 dead letters about the destination" in while_failing
    assert "Nothing needs doing" not in visitor.page


async def test_a_read_key_has_no_controls(world, tenant):
    """Nothing that writes is in the page of a key that may only read, and the calls are 403."""
    here = await furnish(world, tenant)
    visitor = await signed_in(world, tenant.read.key)
    await visitor.get(here)
    page = visitor.page
    answers = [
        await visitor.get(here + "/redrive"),
        await visitor.get(here + "/purge"),
        await visitor.post(here + "/redrive", {"all": "yes"}),
        await visitor.post(here + "/purge", {"number": "6", "shown": "6"}),
        await visitor.post(here + "/jobs/job_1/cancel"),
    ]

    assert "checkbox" not in page.partition("<main")[2].partition("</main>")[0]
    assert "Redrive" not in page
    assert "Purge" not in page
    assert [one.status_code for one in answers] == [403] * 5
    assert len(await left(tenant, here)) == 6


async def test_a_destination_without_dead_letters_says_what_they_are(world, tenant):
    """An empty list explains itself."""
    dst_id = await world.make_destination(tenant)
    visitor = await signed_in(world, tenant.read.key)

    await visitor.get(f"/console/o/{tenant.org_id}/d/{dst_id}/dead-letters")

    assert "No dead letters. An event that has used up its attempts is listed here" in visitor.page
