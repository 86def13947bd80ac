"""dead-letter: events that used up their attempts, through the REST API."""

from typing import TYPE_CHECKING, NamedTuple

import click

from .output import print_json, print_table
from .remote import BASE, LIMIT, YES, confirm, through_api

if TYPE_CHECKING:
    from .client import Client

DESTINATION = click.option(
    "--destination", "destination_id", required=True, metavar="DST", help="The destination's id."
)


class _Column(NamedTuple):
    head: str
    field: str


_DEAD_LETTER = tuple(
    _Column(field.replace("_", " "), field)
    for field in ("sequence", "event_id", "attempts", "last_status_code", "about", "dead_at", "last_error")
)


@click.group("dead-letter")
def dead_letter() -> None:
    """List, redrive and purge events that used up their attempts."""


@dead_letter.command("list")
@DESTINATION
@LIMIT
@through_api
def list_dead_letters(client: "Client", destination_id: str, *, limit: int, as_json: bool) -> None:
    """List dead letters in the order of the log."""
    found = list(client.items(client.org_path(BASE, destination_id, "dead-letters"), limit=limit))
    if as_json:
        print_json(found)
    else:
        rows = [[one.get(column.field) for column in _DEAD_LETTER] for one in found]
        print_table([column.head for column in _DEAD_LETTER], rows)


@dead_letter.command("redrive")
@DESTINATION
@click.option(
    "--event",
    "event_ids",
    multiple=True,
    metavar="ID",
    help="Redrive only this event; repeatable.  [default: all]",
)
@through_api
def redrive_dead_letters(
    client: "Client", destination_id: str, *, event_ids: tuple[str, ...], as_json: bool
) -> None:
    """Send dead letters again, each with all its attempts."""
    body = {"event_ids": list(event_ids)} if event_ids else {}
    path = client.org_path(BASE, destination_id, "dead-letters", "redrive")
    answer = client.call("POST", path, body=body)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"redriven {answer['redriven']}")


@dead_letter.command("purge")
@DESTINATION
@click.option("--event", "event_id", metavar="ID", help="Purge only this event.  [default: all]")
@YES
@through_api
def purge_dead_letters(
    client: "Client", destination_id: str, *, event_id: str | None, yes: bool, as_json: bool
) -> None:
    """Delete dead letters; this cannot be undone."""
    confirm(f"Delete {event_id or 'all dead letters'} of {destination_id}?", yes=yes)
    query = {"event_id": event_id} if event_id else None
    answer = client.call("DELETE", client.org_path(BASE, destination_id, "dead-letters"), query=query)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"purged {answer['purged']}")
