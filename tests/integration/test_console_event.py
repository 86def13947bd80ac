"""Promises of the page of one event: its journey to every destination, its content, sending it again; and the search box."""

import hashlib
import html
import re
from urllib.parse import urlencode

import pytest

from aegis_stream.console.event import line_of
from aegis_stream.console.event_rows import event_path
from aegis_stream.console.event_tree import NODES_MAX, tree_of
from aegis_stream.control.destination_types import destination_types, type_of
from aegis_stream.domain.destination import DestinationSpec
from support.api import make_event, make_lines
from support.console import Visitor

BASE = "/console/o/org_abc"
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202e\x1b[31mred https://evil.example/'
ODD_IDS = ["plain", "a/b", "a b?c#d", "../x", "<b>", "ä%2F", "send", "histogram", "q\"'"]


async def visit(world, *events: bytes, scope: str = "admin"):
    """Record events in a new organization, and sign in there."""
    tenant = await world.make_organization()
    if events:
        await tenant.ingest.send(make_lines(events), "application/x-ndjson")
    visitor = Visitor(world)
    await visitor.sign_in(tenant.by_scope(scope).key)
    return tenant, visitor


def path_of(event_id: str) -> str:
    """Return the path of an event's page."""
    return event_path(BASE, event_id)


def lanes(page: str) -> dict[str, str]:
    """Return the text of each destination's lane by its name."""
    found = re.findall(
        r'<li data-row="[^"]*">(.*?)</li>\s*(?=<li data-row|</ol>\s*</section>)', page, re.DOTALL
    )
    texts = [" ".join(html.unescape(re.sub(r"<[^>]*>", " ", one)).split()) for one in found]
    return {text.split()[0]: text for text in texts}


async def test_a_journey_tells_every_destination_apart(world):
    """Pending, paused, dead letter, filtered by which rule, and made later: each lane says so in words."""
    tenant, visitor = await visit(world, scope="read")
    await world.make_destination(tenant, name="Waits")
    await world.make_destination(tenant, name="Pauses", enabled=False)
    await world.make_destination(tenant, name="Filters", filter={"datasets": ["other", "more"]})
    await world.make_destination(tenant, name="Blocks", filter={"decisions": ["BLOCKED"]})
    dead = await world.make_destination(tenant, name="Refuses")
    await tenant.ingest.send(make_event("e1"))
    await world.add_dead_letters(tenant, dead, range(1, 2))
    await world.make_destination(tenant, name="Later")
    world.clock.advance(60)
    found = lanes((await visitor.get(path_of("e1"))).text)

    assert "waits for its attempt since 1 min" in found["Waits"]
    assert "waits until the destination is resumed" in found["Pauses"]
    assert "its dataset app.login is not among other, more" in found["Filters"]
    assert "its decision (none) is not among BLOCKED" in found["Blocks"]
    assert "all failed" in found["Refuses"]
    assert "created after this event" in found["Later"]
    assert next(iter(found)) == "Refuses"


@pytest.mark.parametrize("event_id", ODD_IDS)
async def test_every_id_has_its_page(world, event_id):
    """Whatever characters an id has, its page, its bytes and the search box find it."""
    event = make_event(event_id)
    _, visitor = await visit(world, event)
    found = await find(visitor, event_id)
    page = await visitor.get(found.headers["location"])
    stored = await visitor.get(found.headers["location"].replace("/events/", "/event-bytes/", 1))

    assert found.status_code == 303
    assert page.status_code == 200
    assert stored.content == event


async def find(visitor, text: str):
    """Type a text into the search box."""
    return await visitor.get(f"{BASE}/search?{urlencode({'q': text})}")


async def test_the_content_is_text(world):
    """Nothing of an event is markup, a link or a control character on its page; its bytes are described exactly."""
    event = make_event(
        HOSTILE[:40], user={"id": HOSTILE, HOSTILE: [HOSTILE, {"x": HOSTILE}]}, message=HOSTILE
    )
    _, visitor = await visit(world, event)
    page = (await visitor.get(path_of(HOSTILE[:40]))).text

    assert page.count("<script") == page.count(' src="/console/static/'), "our own"
    assert "<img" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert 'href="https://evil' not in page
    assert "\\u202e" in page
    assert hashlib.sha256(event).hexdigest() in page
    assert f"{len(event):,} bytes" in page


async def test_neighbours_are_one_click_away(world):
    """The page leads to the event before and the one after."""
    _, visitor = await visit(world, make_event("e1"), make_event("e2"), make_event("e3"))
    middle = (await visitor.get(path_of("e2"))).text
    first = (await visitor.get(path_of("e1"))).text

    assert f'rel="prev" href="{path_of("e1")}"' in middle
    assert f'rel="next" href="{path_of("e3")}"' in middle
    assert 'rel="prev"' not in first


async def test_an_event_is_sent_again(world):
    """The form makes the event pending where it was ticked, and says so once; the call for it is shown."""
    tenant, visitor = await visit(world, make_event("e1"))
    one = await world.make_destination(tenant, name="One")
    await world.make_destination(tenant, name="Two")
    before = lanes((await visitor.get(path_of("e1"))).text)
    answer = await visitor.post(f"{BASE}/send", {"event_id": "e1", "destination_id": f"{one} made later"})
    page = (await visitor.get(answer.headers["location"])).text
    after = lanes(page)

    assert "made later" in before["One"]
    assert (answer.status_code, answer.headers["location"]) == (303, path_of("e1"))
    assert "on its way to 1 of 1 destinations" in page
    assert "pending" in after["One"]
    assert "made later" in after["Two"]
    assert "aegis event resend e1" in page


@pytest.mark.parametrize("state", ["", " delivered"])
async def test_a_form_of_an_old_page_sends_nothing(world, state):
    """A form that shows another state of the event at a destination, or none, is refused, and says in which it is."""
    tenant, visitor = await visit(world, make_event("e1"))
    one = await world.make_destination(tenant, name="One")
    await visitor.get(path_of("e1"))
    answer = await visitor.post(f"{BASE}/send", {"event_id": "e1", "destination_id": f"{one}{state}"})

    assert answer.status_code == 409
    assert "at One this event is made later by now" in answer.text
    assert "made later" in lanes((await visitor.get(path_of("e1"))).text)["One"]


async def test_nothing_is_sent_without_a_destination(world):
    """A form without a tick does nothing, and says so."""
    _, visitor = await visit(world, make_event("e1"))
    await visitor.get(path_of("e1"))
    answer = await visitor.post(f"{BASE}/send", {"event_id": "e1"})

    assert answer.status_code == 422
    assert "no destination was chosen" in answer.text


async def test_a_reader_sends_nothing(world):
    """A key of scope read has no form, and the call is refused."""
    tenant, visitor = await visit(world, make_event("e1"), scope="read")
    one = await world.make_destination(tenant)
    page = (await visitor.get(path_of("e1"))).text
    answer = await visitor.post(f"{BASE}/send", {"event_id": "e1", "destination_id": one})

    assert f'action="{BASE}/send"' not in page
    assert answer.status_code == 403


async def test_an_unknown_event_is_not_found(world):
    """An id that nothing has is 404, in the words of the API."""
    _, visitor = await visit(world, make_event("e1"))
    answer = await visitor.get(path_of("e2"))

    assert answer.status_code == 404
    assert "there is no event with this id" in answer.text


async def test_the_search_box_finds_more_than_events(world):
    """A destination by its name or id, a page by its name, and any other text as a search line."""
    tenant, visitor = await visit(world, make_event("e1"))
    one = await world.make_destination(tenant, name="Elastic prod")

    async def leads_to(text: str) -> str:
        return (await find(visitor, text)).headers["location"]

    assert await leads_to(" e1 ") == path_of("e1")
    assert await leads_to("elastic PROD") == f"{BASE}/d/{one}"
    assert await leads_to(one) == f"{BASE}/d/{one}"
    assert await leads_to("Keys") == f"{BASE}/keys"
    assert await leads_to("user.id:alice") == f"{BASE}/events?q=user.id%3Aalice"
    assert await leads_to("") == f"{BASE}/events"
    assert await leads_to("a: b") == f"{BASE}/events?q=%22a%3A%20b%22"


async def test_it_says_how_to_find_the_event_in_the_siem(world):
    """For each destination whose kind is known, the query of that product with the event's id."""
    tenant, visitor = await visit(world)
    await world.make_destination(tenant, url="https://splunk.example.com:8088/services/collector/event")
    await tenant.ingest.send(make_event("e1"))
    page = html.unescape((await visitor.get(path_of("e1"))).text)

    assert "Find it there" in page
    assert "Splunk" in page
    assert '"e1"' in page


@pytest.mark.parametrize("kind", destination_types(), ids=lambda one: one.id)
def test_a_kind_is_recognized_or_left_open(kind):
    """A destination that was made by a kind's templates is of that kind, or of none where several fit."""
    values = {one.name: one.example or "https://x.example.com/secret" for one in kind.fields}
    url = kind.url.format_map(values)
    spec = DestinationSpec(url, auth_header_name=kind.auth_header_name or None, format=kind.format)
    found = type_of(spec)

    assert found in (kind, None)
    if kind.id in ("splunk", "grafana-loki", "datadog", "elasticsearch", "microsoft-sentinel"):
        assert found is kind


def test_a_tree_is_bounded():
    """An event of very many fields, or very deep, shows the first ones and says that there are more."""
    wide, is_cut_wide = tree_of({f"k{n}": n for n in range(NODES_MAX + 10)})
    deep: dict = {}
    for _ in range(60):
        deep = {"a": deep}
    _, is_cut_deep = tree_of(deep)
    small, is_cut = tree_of({"user": {"id": "alice", "roles": ["a"]}, "n": None})

    assert (len(wide), is_cut_wide, is_cut_deep, is_cut) == (NODES_MAX, True, True, False)
    assert small[0].nodes[0].line == "user.id:alice"
    assert small[0].nodes[1].nodes[0].line == "user.roles:a"
    assert small[1].value == "null"


def test_any_text_is_a_search():
    """A text that is no search line is looked for as it is."""
    assert line_of("card") == "card"
    assert line_of('say "hi') == r'"say \"hi"'
