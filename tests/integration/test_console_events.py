"""Promises of the page of events: one line says which, menus write the same line, and a mistake loses nothing."""

import html
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from aegis_stream.console import events as events_page
from aegis_stream.console.event_chart import chart_of
from aegis_stream.console.event_rows import marks_of
from aegis_stream.console.events import menus_of, read_line, terms_of
from aegis_stream.control import event_search
from aegis_stream.control.event_histogram import Histogram
from aegis_stream.control.event_states import EventState
from aegis_stream.domain.event_filter import EventFilter
from aegis_stream.domain.histogram import Bar, Group
from aegis_stream.domain.search_line import SearchLine, parse_line
from support.api import make_event, make_lines, make_preflight
from support.console import Visitor

HERE = "/console/o/org_abc/events"
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202e\x1b[31mred'


async def visit(world, *events: bytes, scope: str = "read"):
    """Record events in a new organization, and sign in there."""
    tenant = await world.make_organization()
    if events:
        await tenant.ingest.send(make_lines(events), "application/x-ndjson")
    visitor = Visitor(world)
    await visitor.sign_in(tenant.by_scope(scope).key)
    return tenant, visitor


def rows(page: str) -> list[str]:
    """Return the ids of the events that a page lists."""
    return [
        html.unescape(one)
        for one in re.findall(r'<th scope="row"><a href="[^"]*/events/[^"]*">([^<]*)</a>', page)
    ]


def hrefs(page: str, text: str) -> list[str]:
    """Return where the links with a text lead."""
    return [
        html.unescape(one) for one in re.findall(rf'<a [^>]*?href="([^"]*)"[^>]*>{re.escape(text)}', page)
    ]


async def test_the_newest_event_comes_first(world):
    """Rows are the newest first, with the values that people look at, and the page goes on with older ones."""
    events = [make_event(f"e{n}", user={"id": "alice"}, message=f"number {n}") for n in range(1, 61)]
    _, visitor = await visit(world, *events)
    first = (await visitor.get(HERE)).text
    (older,) = hrefs(first, "Older")
    second = (await visitor.get(older)).text

    assert rows(first) == [f"e{n}" for n in range(60, 10, -1)]
    assert rows(second) == [f"e{n}" for n in range(10, 0, -1)]
    assert "alice" in first
    assert "number 60" in first
    assert hrefs(second, "Newest") == [f"{HERE}?q="]


async def test_the_line_selects_events(world):
    """A line narrows the rows, and stays in the URL and in its box."""
    _, visitor = await visit(
        world,
        make_event("e1", user={"id": "alice"}),
        make_event("e2", user={"id": "bob"}),
        make_preflight("p1"),
    )
    page = (await visitor.get(f"{HERE}?q=user.id%3Aalice+since%3A2h")).text

    assert rows(page) == ["e1"]
    assert 'value="since:2h user.id:alice"' in page


async def test_a_mistake_is_shown_at_its_place_and_the_last_result_stays(world):
    """A line that cannot be read is kept and marked; the events of the last good line stay."""
    _, visitor = await visit(world, make_event("e1"), make_preflight("p1"))
    answer = await visitor.get(f"{HERE}?q=decision%3ANOPE+card&last=decision%3ABLOCKED")

    assert "<mark>decision:NOPE</mark> card" in answer.text
    assert "A decision is one of ALLOWED" in answer.text
    assert 'value="decision:NOPE card"' in answer.text
    assert 'name="last" value="decision:BLOCKED"' in answer.text
    assert rows(answer.text) == ["p1"]


async def test_menus_and_line_are_the_same_state(world):
    """A click in a menu writes the term into the line; removing the term takes it out again."""
    _, visitor = await visit(world, make_event("e1"), make_preflight("p1"))
    page = (await visitor.get(f"{HERE}?q=since%3A24h")).text
    (chosen,) = hrefs(page, "aegis.preflight")
    narrowed = (await visitor.get(chosen)).text
    (back,) = [
        one for one in hrefs(narrowed, '<span class="mono">dataset:aegis.preflight</span>') if "since" in one
    ]

    assert parse_qs(urlsplit(chosen).query)["q"] == ["dataset:aegis.preflight since:24h"]
    assert rows(narrowed) == ["p1"]
    assert parse_qs(urlsplit(back).query)["q"] == ["since:24h"]


async def test_a_search_that_ends_early_says_so_and_goes_on(world, monkeypatch):
    """A page that looked through its share says how far it came, with a link that goes on there."""
    monkeypatch.setattr(event_search, "SCAN_MAX", 100)
    events = [make_event(f"e{n}", message="rare" if n == 1 else "x") for n in range(1, 801)]
    _, visitor = await visit(world, *events)
    page, pages = (await visitor.get(f"{HERE}?q=rare")).text, 1
    assert "Looked through 100 events back to 20:26 UTC" in page
    while not rows(page):
        (further,) = hrefs(page, "Go on")
        page, pages = (await visitor.get(further)).text, pages + 1

    assert rows(page) == ["e1"]
    assert pages == 8


async def test_event_text_is_shown_as_text(world):
    """Markup, direction marks and control characters of an event are visible text, whatever field they are in."""
    event = make_event(HOSTILE[:30], user={"id": HOSTILE}, message=HOSTILE)
    _, visitor = await visit(world, event)
    page = (await visitor.get(HERE)).text

    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "\\u202e" in page
    assert "&lt;script&gt;" in page


async def test_each_event_has_a_mark_for_each_destination(world):
    """A mark is a shape and words: waiting, retrying, dead letter, filtered; nothing where the destination came later."""
    tenant, visitor = await visit(world)
    await world.make_destination(tenant, name="Waits")
    await world.make_destination(tenant, name="Filters", filter={"datasets": ["other"]})
    dead = await world.make_destination(tenant, name="Refuses")
    await tenant.ingest.send(make_event("e1"))
    await world.add_dead_letters(tenant, dead, range(1, 2))
    await world.make_destination(tenant, name="Later")
    page = html.unescape((await visitor.get(HERE)).text)

    assert "Waits: pending" in page
    assert "Filters: filtered" in page
    assert "Refuses: dead letter" in page
    assert "Later:" not in page


async def test_an_empty_log_offers_an_event_to_send(world):
    """Without events the page shows how to send one; whoever may write can send a sample by a click."""
    _, reader = await visit(world)
    empty = (await reader.get(HERE)).text
    admin = Visitor(world)
    tenant_key = (await world.make_organization("org_two")).admin.key
    await admin.sign_in(tenant_key)
    page = (await admin.get("/console/o/org_two/events")).text

    assert "No event is recorded yet" in empty
    assert "Send one for me" not in empty
    assert "Send one for me" in page


async def test_an_export_has_every_event_as_stored(world):
    """An export is NDJSON of the events of the line, the newest first, beyond the page that is shown."""
    events = [make_event(f"e{n}", message="line\nbreak") for n in range(1, 451)]
    _, visitor = await visit(world, *events, make_preflight("p1"))
    answer = await visitor.get("/console/o/org_abc/export?q=dataset%3Aapp.login")
    lines = answer.content.splitlines()

    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert answer.headers["content-disposition"] == 'attachment; filename="events.ndjson"'
    assert lines == events[::-1]
    assert (await visitor.get(HERE)).status_code == 200, "its turn has ended"


async def test_an_export_is_bounded(world, monkeypatch):
    """An export has at most so many events, and ends after so many searches although nothing was found."""
    monkeypatch.setattr(events_page, "EXPORTED_MAX", 3)
    monkeypatch.setattr(events_page, "EXPORT_CALLS_MAX", 2)
    monkeypatch.setattr(event_search, "SCAN_MAX", 10)
    _, visitor = await visit(world, *(make_event(f"e{n}", n=n) for n in range(1, 41)))
    some = await visitor.get("/console/o/org_abc/export")
    rare = await visitor.get("/console/o/org_abc/export?q=n%3A1")
    near = await visitor.get("/console/o/org_abc/export?q=n%3A25")

    assert len(some.content.splitlines()) == 3
    assert rare.content == b""
    assert len(near.content.splitlines()) == 1


async def test_a_page_shows_the_call_that_it_makes(world):
    """The same search as curl and as command."""
    _, visitor = await visit(world, make_event("e1"))
    page = html.unescape((await visitor.get(f"{HERE}?q=user.id%3Aalice+card")).text)

    assert "/api/orgs/org_abc/events?order=desc&q=card&field.user.id=alice" in page
    assert "aegis event list 'user.id:alice card'" in page or "aegis event list 'card" in page


def test_a_line_that_was_never_good_shows_everything():
    """Where the last line cannot be read either, all events are shown."""
    line, wrong = read_line("a:", "b:")

    assert line == SearchLine()
    assert (wrong.before, wrong.part, wrong.after) == ("", "a:", "")


def test_every_term_can_be_removed():
    """Each term of a line has a link to the line without it, and with it alone gone."""
    line = parse_line('dataset:a decision:BLOCKED since:2h until:1h user.id:x "two words" y')
    assert isinstance(line, SearchLine)
    terms = terms_of(line, "/e")

    assert [one.label for one in terms] == [
        "dataset:a",
        "decision:BLOCKED",
        "since:2h",
        "until:1h",
        "user.id:x",
        '"two words"',
        "y",
    ]
    for one in terms:
        left = parse_line(parse_qs(urlsplit(one.href).query)["q"][0])
        assert isinstance(left, SearchLine)
        assert len(terms_of(left, "/e")) == len(terms) - 1
        assert one.label not in left.text().split()


def test_bars_are_links_to_their_span():
    """A bar leads to the events of its step, exactly, and the numbers of its layers add up."""
    bars = [Bar(0, 10, 10, [Group("app", None, 6), Group("p", "BLOCKED", 4)]), Bar(3_600_000_000, 0, 0, [])]
    chart = chart_of(bars, 3600, EventFilter(), lambda since, until: f"{since}..{until}")
    narrowed = chart_of(bars, 3600, EventFilter(decision="BLOCKED"), lambda since, until: "")

    assert chart.columns[0].href == "1970-01-01T00:00:00Z..1970-01-01T00:59:59.999999Z"
    assert (chart.total, chart.columns[0].parts) == (10, {"BLOCKED": 4, "no decision": 6})
    assert sum(one.height for one in chart.columns[0].pieces) == pytest.approx(80)
    assert narrowed.total == 4
    assert not chart.is_estimate


def test_menus_count_the_events_of_the_span():
    """A menu says how many events of the span have each value, the most frequent first."""
    bars = [Bar(0, 10, 10, [Group("app", None, 4), Group("p", "BLOCKED", 6)])]
    dataset, decision, _ = menus_of(SearchLine(), Histogram(60, bars), "/e")

    assert [(one.label, one.events) for one in dataset.choices] == [("any", None), ("p", 6), ("app", 4)]
    assert [(one.label, one.events) for one in decision.choices][3] == ("BLOCKED", 6)


def test_many_destinations_are_counted_by_state():
    """With many destinations a row has a mark for each state, the worst first, with the number of destinations."""
    states = [EventState(f"d{n}", f"d{n}", "delivered") for n in range(49)]
    marks = marks_of([*states, EventState("x", "x", "dead_letter")])

    assert [one.words for one in marks] == [
        "dead letter at 1 of 50 destinations",
        "delivered at 49 of 50 destinations",
    ]


def test_stored_line_breaks_stay_out_of_an_export():
    """An event that was stored on several lines is one line of an export, with the same values."""
    from aegis_stream.console.events import one_line

    body = '{\r\n "a": "b\\nc"\n}'
    line = one_line(body)

    assert line.count(b"\n") == 1
    assert json.loads(line) == json.loads(body)
