"""event: send and tail, through the REST API."""

import json
import sys
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import click
import msgspec

from aegis_stream.errors import AegisError
from aegis_stream.receiver.output import event_line

from .output import print_json
from .remote import DECISION, through_api

if TYPE_CHECKING:
    from .client import Client
    from .sending import Summary

TAIL_DEFAULT = 10
"""Events from before the start that `tail` shows."""
PROGRESS_INTERVAL_S = 5.0
"""Time between two lines of progress where there is no terminal; on one it is a tenth of a second."""
REJECTIONS_SHOWN_MAX = 20


@click.group()
def event() -> None:
    """Events: sent, and watched."""


@event.command("send")
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--retry-for",
    "retry_for_s",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0, 86_400),
    help="Seconds to repeat a request that the service cannot take now.",
)
@through_api
def send_events(client: "Client", file: BinaryIO, *, retry_for_s: float, as_json: bool) -> None:
    """Send events, one JSON object a line, from FILE or standard input.

    Lines without an event.id get a random one before the first try, so a repeated request stores nothing twice. Exit
    status 1 when a line was rejected; the others are stored all the same.
    """
    from .sending import Dispatch, read_batches  # noqa: PLC0415

    if file.isatty():
        click.echo("reading events, one JSON object a line; Ctrl-D ends", err=True)
    progress = _Progress()
    dispatch = Dispatch(
        client=client,
        retry_for_s=retry_for_s,
        make_id=lambda: f"evt_{uuid.uuid4().hex}",
        now_s=time.monotonic,
        sleep=time.sleep,
        note=progress.note,
    )
    try:
        for batch in read_batches(file):
            dispatch.send(batch)
            progress.show(dispatch.summary.sent)
    except AegisError:
        progress.end()
        _report(dispatch.summary, as_json=as_json)
        click.echo("not all lines were sent: lines that have an event.id can be sent again safely", err=True)
        raise
    progress.end()
    _report(dispatch.summary, as_json=as_json)
    if dispatch.summary.rejected_total:
        sys.exit(1)


@event.command("tail")
@click.option(
    "--from-sequence",
    type=click.IntRange(1),
    help=f"Begin here instead of {TAIL_DEFAULT} events before the end.",
)
@click.option(
    "--limit", type=click.IntRange(1), help="Show this many, the last ones unless told otherwise, and end."
)
@click.option("--dataset", help="Only events of this dataset.")
@click.option("--decision", type=DECISION, help="Only events with this decision.")
@click.option("--no-follow", is_flag=True, help="End at the end of the log.")
@click.option(
    "--interval",
    "interval_s",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.05, 3600),
    help="Seconds between two looks.",
)
@through_api
def tail_events(
    client: "Client",
    *,
    from_sequence: int | None,
    limit: int | None,
    dataset: str | None,
    decision: str | None,
    no_follow: bool,
    interval_s: float,
    as_json: bool,
) -> None:
    """Show events as they are recorded, a line each, or with --json as stored. Ctrl-C ends it."""
    wanted = {
        name: value for name, value in (("dataset", dataset), ("decision", decision)) if value is not None
    }
    tail = _Tail(client, wanted)
    after = from_sequence - 1 if from_sequence is not None else tail.head() - (limit or TAIL_DEFAULT)
    shown = 0
    try:
        for entry in tail.entries(max(0, after), None if no_follow else interval_s):
            _print_entry(entry, as_json=as_json)
            shown += 1
            if shown == limit:
                return
    except KeyboardInterrupt:
        return  # the ordinary end of watching


class _Entry(msgspec.Struct):
    """An event as stored: `event` is its text, to the byte."""

    sequence: int
    received_at: str
    event: msgspec.Raw


class _Page(msgspec.Struct):
    data: list[_Entry]
    next_cursor: str | None


class _Tail:
    """Follows the log of one organization."""

    def __init__(self, client: "Client", wanted: dict[str, str]) -> None:
        self._client = client
        self._wanted = wanted

    def head(self) -> int:
        """Return the sequence of the newest event."""
        head: int = self._client.call("GET", self._client.org_path())["head_sequence"]
        return head

    def entries(self, after: int, interval_s: float | None) -> Iterator[_Entry]:
        """Go through the log behind `after`; at its end wait for more, or stop where `interval_s` is None.

        Raises: AegisError when the first look fails; a service that goes away later is waited for.
        """
        from .client import Refused, Unreachable  # noqa: PLC0415

        looked, said = False, False
        while True:
            try:
                # The head is read first: what the listing then leaves out up to there was filtered away.
                head = self.head()
                if head > after:
                    for entry in self._listed(after):
                        after = entry.sequence
                        yield entry
                    after = max(after, head)
                looked, said = True, False
            except (Unreachable, Refused) as error:
                gone = isinstance(error, Unreachable) or error.status in (429, 502, 503, 504)
                if not looked or not gone or interval_s is None:
                    raise
                if not said:
                    click.echo(f"aegis: {error.message}; waiting", err=True)
                said = True
            if interval_s is None:
                return
            time.sleep(interval_s)

    def _listed(self, after: int) -> Iterator[_Entry]:
        query: dict[str, str | int] = {**self._wanted, "limit": 200, "after_sequence": after}
        while True:
            content = self._client.fetch(self._client.org_path("events"), query)
            page = msgspec.json.decode(content, type=_Page)
            yield from page.data
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor


class _Progress:
    """Tells on standard error how far sending has come: one moving line on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next_s = time.monotonic() + (0.1 if self._terminal else PROGRESS_INTERVAL_S)
        self._open = False

    def show(self, sent: int) -> None:
        """Say how many lines are sent, not too often."""
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + (0.1 if self._terminal else PROGRESS_INTERVAL_S)
        click.echo(
            f"\r{sent:,} sent" if self._terminal else f"{sent:,} sent", err=True, nl=not self._terminal
        )
        self._open = self._terminal

    def note(self, text: str) -> None:
        """Say something else, on a line of its own."""
        self.end()
        click.echo(text, err=True)

    def end(self) -> None:
        """Leave the moving line."""
        if self._open:
            click.echo(err=True)
        self._open = False


def _report(summary: "Summary", *, as_json: bool) -> None:
    if as_json:
        print_json(summary.as_json())
        return
    from .client import printable  # noqa: PLC0415

    click.echo(
        f"{summary.sent} sent: {summary.accepted} accepted, {summary.duplicates} duplicates, "
        f"{summary.rejected_total} rejected"
    )
    for one in summary.rejected[:REJECTIONS_SHOWN_MAX]:
        named = f" ({printable(one.event_id)})" if one.event_id else ""
        click.echo(f"  line {one.line}{named}: {one.error}", err=True)
    if summary.rejected_total > REJECTIONS_SHOWN_MAX:
        click.echo(f"  and {summary.rejected_total - REJECTIONS_SHOWN_MAX} more: --json lists them", err=True)


def _print_entry(entry: _Entry, *, as_json: bool) -> None:
    if as_json:
        click.echo(_one_line(bytes(entry.event).decode()))
    else:
        click.echo(event_line(json.loads(bytes(entry.event)), entry.received_at, str(entry.sequence)))
    sys.stdout.flush()


def _one_line(text: str) -> str:
    """Return JSON on one line, with escapes for what a terminal would obey; the same value for every reader."""
    if text.isprintable():
        return text
    # Outside strings only blanks, tabs and line ends are not printable; inside, JSON allows no raw control below 0x20.
    return "".join(
        one if one.isprintable() else " " if one in "\t\r\n" else json.dumps(one)[1:-1] for one in text
    )
