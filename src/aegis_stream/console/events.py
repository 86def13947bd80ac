"""The events of an organization: a line that says which, menus that write the same line, bars over time, and rows."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from litestar import Request, Response, get
from litestar.params import FromQuery
from litestar.response import Stream

from aegis_stream.api.scopes import leave_turn, take_turn
from aegis_stream.api.service import control_of, service_of
from aegis_stream.control import event_histogram, event_search
from aegis_stream.control.event_histogram import Histogram, HistogramQuery
from aegis_stream.control.event_search import EventQuery
from aegis_stream.control.event_states import PAGE_MAX, states_of
from aegis_stream.domain.event_filter import DECISIONS, EventFilter
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.search_line import LineProblem, SearchLine, parse_line
from aegis_stream.domain.times import to_text

from .commands import ShownCall, quoted, shown_call
from .event_chart import chart_of
from .event_rows import row_of
from .gate import origin_of, visit_of
from .page import base_of, page
from .rights import ORGANIZATION
from .snippets import snippets

AnyRequest = Request[Any, Any, Any]
SPANS = (
    ("15m", "last 15 minutes"),
    ("1h", "last hour"),
    ("24h", "last 24 hours"),
    ("7d", "last 7 days"),
    ("30d", "last 30 days"),
)
DATASETS_MAX = 12
EXPORTED_MAX = 10_000
"""Most events of one export."""
EXPORT_PAGE = 200
EXPORT_CALLS_MAX = 500
"""Most searches of one export, of 20,000 events at most each: a rare event is looked for in so many, and not in all of a long log."""


class Choice(NamedTuple):
    """One entry of a menu: choosing it writes another line.

    Args:
        events: how many events of the span have it; None where that is not counted.
    """

    label: str
    href: str
    is_chosen: bool
    events: int | None = None


class Menu(NamedTuple):
    """A menu of values for one term of the line."""

    name: str
    chosen: str
    choices: list[Choice]


class Wrong(NamedTuple):
    """A line that cannot be read, cut where it is wrong."""

    before: str
    part: str
    after: str
    message: str


@get(ORGANIZATION + "/events")
async def show_events(
    request: AnyRequest,
    q: FromQuery[str] = "",
    last: FromQuery[str] = "",
    before: FromQuery[int] = 0,
) -> Response[str]:
    """Show events, the newest first.

    Args:
        q: the search line.
        last: the newest line that could be read: its events stay while `q` cannot.
        before: only events below this sequence; 0 for all.
    """
    control, visit = control_of(request), visit_of(request)
    line, wrong = read_line(q, last)
    since, until = line.span(control.clock.now())
    found = await event_search.list_of(
        control,
        visit.caller,
        EventQuery(line.filter, since, until, 0, before if before > 0 else None, PAGE_MAX, newest_first=True),
    )
    counted = await event_histogram.read(control, visit.caller, span_of(since, until))
    states = await states_of(control, visit.caller, found.found)
    base = base_of(visit.org_id)
    here = f"{base}/events"
    return await page(
        request,
        "events.html",
        title="Events",
        here=here,
        typed=q if wrong is not None else line.text(),
        line=line.text(),
        mistake=wrong,
        terms=terms_of(line, here),
        menus=menus_of(line, counted, here),
        chart=chart_of(
            counted.bars,
            counted.step_s,
            line.filter,
            lambda first, end: href_of(here, replace(line, since=first, until=end)),
        ),
        rows=[row_of(one, states.get(one.sequence, ()), base) for one in found.found],
        scanned=found.scanned,
        first=href_of(here, line) if before > 0 else "",
        following=href_of(here, line, found.following) if found.following is not None else "",
        export=f"{base}/export?{urlencode({'q': line.text()})}",
        exported_max=EXPORTED_MAX,
        shown=call_of(request, line, since, until),
        snippets=snippets(origin_of(request), visit.org_id),
    )


@get(ORGANIZATION + "/export")
async def export_events(request: AnyRequest, q: FromQuery[str] = "") -> Stream:
    """Send the events of a line as NDJSON, each as stored, the newest first. Other reads go on meanwhile."""
    control, visit = control_of(request), visit_of(request)
    line, _ = read_line(q, "")
    since, until = line.span(control.clock.now())
    leave_turn(request)

    async def lines() -> AsyncIterator[bytes]:
        before, left = None, EXPORTED_MAX
        for _ in range(EXPORT_CALLS_MAX):
            query = EventQuery(
                line.filter, since, until, 0, before, min(left, EXPORT_PAGE), newest_first=True
            )
            await take_turn(service_of(request), request, visit.caller)
            try:
                found = await event_search.list_of(control, visit.caller, query)
            finally:
                leave_turn(request)
            if found.found:
                yield b"".join(one_line(one.body) for one in found.found)
            left -= len(found.found)
            before = found.following
            if before is None or left == 0:
                return

    headers = {"content-disposition": 'attachment; filename="events.ndjson"'}
    return Stream(lines(), media_type="application/x-ndjson", headers=headers)


def one_line(body: str) -> bytes:
    """Return an event on one line: outside of texts JSON may have line breaks, inside it has none."""
    return body.replace("\r", " ").replace("\n", " ").encode() + b"\n"


def read_line(typed: str, last: str) -> tuple[SearchLine, Wrong | None]:
    """Return the line to show events of, and what is wrong with the one that was typed; then the last good one is shown."""
    found = parse_line(typed)
    if isinstance(found, SearchLine):
        return found, None
    start, end, message = found
    wrong = Wrong(typed[:start], typed[start:end], typed[end:], message)
    kept = parse_line(last)
    return SearchLine() if isinstance(kept, LineProblem) else kept, wrong


def span_of(since: Micros | None, until: Micros | None) -> HistogramQuery:
    """Return the span of the bars; one that ends before it begins has none, and is shown as its end."""
    if since is not None and until is not None and since > until:
        since = until
    return HistogramQuery(since, until, whole=True)


def href_of(here: str, line: SearchLine, before: int | None = None) -> str:
    """Return where the events of a line are: a link to it is a saved view."""
    query = {"q": line.text()} | ({"before": str(before)} if before is not None else {})
    return f"{here}?{urlencode(query, quote_via=quote)}"


def terms_of(line: SearchLine, here: str) -> list[Choice]:
    """Return the terms of a line, each with the line that lacks it."""
    wanted = line.filter
    found: list[tuple[SearchLine, SearchLine]] = []

    def add(term: EventFilter, **rest: Any) -> None:
        found.append((SearchLine(term), replace(line, filter=replace(wanted, **rest))))

    if wanted.dataset is not None:
        add(EventFilter(dataset=wanted.dataset), dataset=None)
    if wanted.decision is not None:
        add(EventFilter(decision=wanted.decision), decision=None)
    if line.since is not None:
        found.append((SearchLine(since=line.since), replace(line, since=None)))
    if line.until is not None:
        found.append((SearchLine(until=line.until), replace(line, until=None)))
    for one in wanted.fields:
        add(EventFilter(fields=(one,)), fields=tuple(other for other in wanted.fields if other != one))
    for place, word in enumerate(wanted.words):
        add(EventFilter(words=(word,)), words=wanted.words[:place] + wanted.words[place + 1 :])
    return [Choice(term.text(), href_of(here, rest), is_chosen=True) for term, rest in found]


def menus_of(line: SearchLine, counted: Histogram, here: str) -> list[Menu]:
    """Return the menus: the same terms as in the line, one click each."""
    wanted = line.filter
    datasets: Counter[str] = Counter()
    decisions: Counter[str] = Counter()
    for bar in counted.bars:
        for group in bar.groups:
            datasets[group.dataset] += group.events
            decisions[group.decision or ""] += group.events

    def with_dataset(name: str | None) -> str:
        return href_of(here, replace(line, filter=replace(wanted, dataset=name)))

    def with_decision(name: str | None) -> str:
        return href_of(here, replace(line, filter=replace(wanted, decision=name)))

    def with_since(text: str | None) -> str:
        return href_of(here, replace(line, since=text, until=None))

    return [
        Menu(
            "Dataset",
            "any" if wanted.dataset is None else wanted.dataset or "none",
            [
                Choice("any", with_dataset(None), wanted.dataset is None),
                *(
                    Choice(name or "none", with_dataset(name), wanted.dataset == name, events)
                    for name, events in datasets.most_common(DATASETS_MAX)
                ),
            ],
        ),
        Menu(
            "Decision",
            wanted.decision or "any",
            [
                Choice("any", with_decision(None), wanted.decision is None),
                *(
                    Choice(name, with_decision(name), wanted.decision == name, decisions[name])
                    for name in DECISIONS
                ),
            ],
        ),
        Menu(
            "Time",
            dict(SPANS).get(line.since or "", "as in the line") if line.since or line.until else "all",
            [
                Choice("all", with_since(None), line.since is None and line.until is None),
                *(
                    Choice(words, with_since(text), line.since == text and line.until is None)
                    for text, words in SPANS
                ),
            ],
        ),
    ]


def call_of(request: AnyRequest, line: SearchLine, since: Micros | None, until: Micros | None) -> ShownCall:
    """Return the same search from a program."""
    wanted = line.filter
    named = {
        "dataset": wanted.dataset,
        "decision": wanted.decision,
        "since": to_text(since) if since is not None else None,
        "until": to_text(until) if until is not None else None,
        "q": SearchLine(EventFilter(words=wanted.words)).text() or None,
    }
    query = {name: value for name, value in named.items() if value is not None}
    query |= {f"field.{path}": value for path, value in wanted.fields}
    path = f"/api/orgs/{visit_of(request).org_id}/events?{urlencode({'order': 'desc', **query}, quote_via=quote)}"
    aegis = f"aegis event list {quoted(line.text())}" if line.text() else "aegis event list"
    return shown_call(origin_of(request), "GET", path, aegis=aegis)


HANDLERS = [show_events, export_events]
