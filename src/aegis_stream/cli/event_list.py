"""event list: look for events, the newest first; and how an event is printed."""

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from aegis_stream.domain.event_filter import EventFilter
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.search_line import LineProblem, SearchLine, parse_line
from aegis_stream.domain.times import to_text
from aegis_stream.receiver.output import event_line

from .output import print_json
from .remote import through_api
from .values import Whole

if TYPE_CHECKING:
    from .client import Client

PAGE_MAX = 200
LISTED_DEFAULT = 50


class Entry(msgspec.Struct):
    """An event as stored: `event` is its exact text."""

    sequence: int
    received_at: str
    event: msgspec.Raw


class Page(msgspec.Struct):
    """One answer of the list of events."""

    data: list[Entry]
    next_cursor: str | None


@click.command("list")
@click.argument("line", default="")
@click.option("--oldest-first", is_flag=True, help="List in log order.")
@click.option(
    "--limit", default=LISTED_DEFAULT, show_default=True, type=Whole(1), help="Show at most this many."
)
@through_api
def list_events(client: "Client", line: str, *, oldest_first: bool, limit: int, as_json: bool) -> None:
    """List events that LINE describes, the newest first; all events without it.

    LINE is what the console's search box takes, such as
    'dataset:aegis.preflight decision:BLOCKED user.id:alice since:2h "credit card"'. A text must occur in the event, in any case.
    """
    found = parse_line(line)
    if isinstance(found, LineProblem):
        raise click.UsageError(f"{found.message}\n  {line}\n  {' ' * found.start}^")
    query: dict[str, Any] = {
        **parameters(found, Micros(time.time_ns() // 1000)),
        "order": "asc" if oldest_first else "desc",
    }
    listed: list[Any] = []
    while limit > 0:
        query["limit"] = min(limit, PAGE_MAX)
        page = msgspec.json.decode(client.fetch(client.org_path("events"), query), type=Page)
        for entry in page.data:
            if as_json:
                listed.append(
                    {
                        "sequence": entry.sequence,
                        "received_at": entry.received_at,
                        "event": json.loads(bytes(entry.event)),
                    }
                )
            else:
                print_entry(entry, as_json=False)
        limit -= len(page.data)
        if page.next_cursor is None:
            break
        query["cursor"] = page.next_cursor
    if as_json:
        print_json(listed)


def parameters(line: SearchLine, now: Micros) -> dict[str, str]:
    """Return a line as query parameters of the API."""
    wanted = line.filter
    since, until = line.span(now)
    named = {
        "dataset": wanted.dataset,
        "decision": wanted.decision,
        "since": to_text(since) if since is not None else None,
        "until": to_text(until) if until is not None else None,
        "q": SearchLine(EventFilter(words=wanted.words)).text() or None,
    }
    fields = {f"field.{path}": value for path, value in wanted.fields}
    return {name: value for name, value in named.items() if value is not None} | fields


def print_entry(entry: Entry, *, as_json: bool) -> None:
    """Print an event on one line; as JSON as it is stored."""
    if as_json:
        click.echo(_one_line(bytes(entry.event).decode()))
    else:
        click.echo(event_line(json.loads(bytes(entry.event)), entry.received_at, str(entry.sequence)))
    sys.stdout.flush()


def _one_line(text: str) -> str:
    """Return JSON on one line, with control characters escaped; it decodes to the same value."""
    if text.isprintable():
        return text
    # Outside strings only tabs and line ends are not printable; inside, JSON allows no raw control below 0x20.
    return "".join(
        one if one.isprintable() else " " if one in "\t\r\n" else json.dumps(one)[1:-1] for one in text
    )
