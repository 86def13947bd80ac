"""event: send, list and tail events, through the REST API."""

import sys
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import click
import msgspec

from aegis_stream.errors import AegisError

from .event_list import Entry, Page, list_events, print_entry
from .input_advice import advice_on
from .output import print_json, print_table
from .remote import DECISION, through_api
from .values import Number, Whole

if TYPE_CHECKING:
    from .client import Client
    from .sending import Summary

TAIL_DEFAULT = 10
"""Past events that `tail` shows first."""
PROGRESS_INTERVAL_S = 5.0
"""Time between two lines of progress, seconds; on a terminal it is a tenth of a second."""
REJECTIONS_SHOWN_MAX = 20


@click.group()
def event() -> None:
    """Send events, look for some, and watch them arrive."""


event.add_command(list_events)


@event.command("send")
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--retry-for",
    "retry_for_s",
    default=30.0,
    show_default=True,
    type=Number(0, 86_400),
    help="Retry a request for this many seconds while the service is unavailable.",
)
@through_api
def send_events(client: "Client", file: BinaryIO, *, retry_for_s: float, as_json: bool) -> None:
    """Send events from FILE or standard input, one JSON object per line.

    A line without an event.id gets a random one before it is sent, so that a retried request stores no event twice. If a
    line is rejected, the others are stored all the same, and the exit status is 1.
    """
    from .sending import Dispatch, UnreadableInput, read_batches  # noqa: PLC0415

    if file.isatty():
        click.echo("reading events, one JSON object per line; end with Ctrl-D", err=True)
    progress = _Progress()
    dispatch = Dispatch(
        client=client,
        retry_for_s=retry_for_s,
        make_id=lambda: f"evt_{uuid.uuid4().hex}",
        now_s=time.monotonic,
        sleep=time.sleep,
        note=progress.note,
    )
    first_line = b""
    try:
        for batch in read_batches(file):
            first_line = first_line or batch[0].body
            dispatch.send(batch)
            progress.show(dispatch.summary.sent)
    except UnreadableInput:
        raise
    except AegisError:
        progress.end()
        _report(dispatch.summary, as_json=as_json)
        click.echo("not all lines were sent: it is safe to send lines that have an event.id again", err=True)
        raise
    progress.end()
    stored = dispatch.summary.accepted + dispatch.summary.duplicates
    advice = None if stored else advice_on(first_line)
    _report(dispatch.summary, as_json=as_json, list_rejected=advice is None)
    if advice is not None:
        click.echo(f"no event was stored: {advice}", err=True)
    if dispatch.summary.rejected_total:
        sys.exit(1)


@event.command("tail")
@click.option(
    "--from-sequence",
    type=Whole(1),
    help=f"Start at this sequence, instead of {TAIL_DEFAULT} events before the end.",
)
@click.option(
    "--limit",
    type=Whole(1),
    help="Show this many events and stop; the newest ones unless --from-sequence is given.",
)
@click.option("--dataset", help="Show only events of this dataset.")
@click.option("--decision", type=DECISION, help="Show only events with this decision.")
@click.option("--no-follow", is_flag=True, help="Stop at the end of the log.")
@click.option(
    "--interval",
    "interval_s",
    default=1.0,
    show_default=True,
    type=Number(0.05, 3600),
    help="Seconds between two polls.",
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
    """Show events as they are recorded, until Ctrl-C.

    Each event is one line; with --json it is printed as stored.
    """
    wanted = {
        name: value for name, value in (("dataset", dataset), ("decision", decision)) if value is not None
    }
    tail = _Tail(client, wanted)
    after = from_sequence - 1 if from_sequence is not None else tail.head() - (limit or TAIL_DEFAULT)
    shown = 0
    try:
        for entry in tail.entries(max(0, after), None if no_follow else interval_s):
            print_entry(entry, as_json=as_json)
            shown += 1
            if shown == limit:
                return
    except KeyboardInterrupt:
        return  # the usual way to stop


@event.command("resend")
@click.argument("event_id", metavar="EVENT")
@click.option(
    "--destination",
    "destination_ids",
    multiple=True,
    required=True,
    metavar="DST",
    help="Send it to this destination; repeatable.",
)
@through_api
def resend_event(client: "Client", event_id: str, *, destination_ids: tuple[str, ...], as_json: bool) -> None:
    """Send an event again to some destinations, whatever their filters say."""
    path = client.org_path("events", event_id, "send")
    answer = client.call("POST", path, body={"destination_ids": list(destination_ids)})
    if as_json:
        print_json(answer)
    else:
        print_table(("destination", "state"), [list(one.values()) for one in answer["data"]])


class _Tail:
    """Follows the log of one organization."""

    def __init__(self, client: "Client", wanted: dict[str, str]) -> None:
        self._client = client
        self._wanted = wanted

    def head(self) -> int:
        """Return the sequence of the newest event."""
        head: int = self._client.call("GET", self._client.org_path())["head_sequence"]
        return head

    def entries(self, after: int, interval_s: float | None) -> Iterator[Entry]:
        """Yield the log after `after`; at its end wait for more, or stop if `interval_s` is None.

        Raises: AegisError when the first poll fails; if the service goes away later, this waits for it.
        """
        from .client import Refused, Unreachable  # noqa: PLC0415

        looked, said = False, False
        while True:
            try:
                # The head is read first: events up to it that the listing leaves out do not pass the filter.
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

    def _listed(self, after: int) -> Iterator[Entry]:
        query: dict[str, str | int] = {**self._wanted, "limit": 200, "after_sequence": after}
        while True:
            content = self._client.fetch(self._client.org_path("events"), query)
            page = msgspec.json.decode(content, type=Page)
            yield from page.data
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor


class _Progress:
    """Reports progress on standard error: one line that is overwritten on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next_s = time.monotonic() + (0.1 if self._terminal else PROGRESS_INTERVAL_S)
        self._open = False

    def show(self, sent: int) -> None:
        """Report how many lines are sent, not too often."""
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + (0.1 if self._terminal else PROGRESS_INTERVAL_S)
        click.echo(
            f"\r{sent:,} sent" if self._terminal else f"{sent:,} sent", err=True, nl=not self._terminal
        )
        self._open = self._terminal

    def note(self, text: str) -> None:
        """Print a message on its own line."""
        self.end()
        click.echo(text, err=True)

    def end(self) -> None:
        """End the line that is overwritten."""
        if self._open:
            click.echo(err=True)
        self._open = False


def _report(summary: "Summary", *, as_json: bool, list_rejected: bool = True) -> None:
    """Print what happened to the lines, and why lines were rejected unless one reason explains all of them."""
    if as_json:
        print_json(summary.as_json())
        return
    from .client import printable  # noqa: PLC0415

    click.echo(
        f"{summary.sent} sent: {summary.accepted} accepted, {summary.duplicates} duplicates, "
        f"{summary.rejected_total} rejected"
    )
    if not list_rejected:
        return
    for one in summary.rejected[:REJECTIONS_SHOWN_MAX]:
        named = f" ({printable(one.event_id)})" if one.event_id else ""
        click.echo(f"  line {one.line}{named}: {one.error}", err=True)
    if summary.rejected_total > REJECTIONS_SHOWN_MAX:
        click.echo(f"  and {summary.rejected_total - REJECTIONS_SHOWN_MAX} more: --json lists them", err=True)
