"""delivery: attempts to deliver events, through the REST API."""

from typing import TYPE_CHECKING, Any

import click

from .output import print_json, print_table
from .remote import BASE, LIMIT, through_api

if TYPE_CHECKING:
    from .client import Client

STATUS_CLASSES = ("2xx", "3xx", "4xx", "429", "5xx", "network")
_FIELDS = ("at", "destination_id", "event_id", "attempt", "state", "status_code", "latency_ms", "error", "id")


@click.group()
def delivery() -> None:
    """Show attempts to deliver events."""


@delivery.command("list")
@click.option(
    "--destination",
    "destination_id",
    metavar="DST",
    help="Only attempts at this destination.  [default: all]",
)
@click.option("--event", "event_id", metavar="ID", help="Only attempts of this event.")
@click.option(
    "--state", type=click.Choice(("delivered", "failed")), help="Only attempts that ended like this."
)
@click.option(
    "--status-class",
    type=click.Choice(STATUS_CLASSES),
    help="Only attempts with such an answer; network: with none.",
)
@click.option("--error", metavar="TEXT", help="Only failures whose explanation contains this.")
@click.option(
    "--since", metavar="TIME", help="Only attempts from this time on, such as 2026-05-15T10:00:00Z."
)
@click.option("--until", metavar="TIME", help="Only attempts up to this time.")
@LIMIT
@through_api
def list_deliveries(
    client: "Client", /, destination_id: str | None, *, limit: int, as_json: bool, **filters: Any
) -> None:
    """List attempts, newest first."""
    place = (BASE, destination_id) if destination_id is not None else ()
    query = {name: value for name, value in filters.items() if value is not None}
    found = list(client.items(client.org_path(*place, "deliveries"), query=query, limit=limit))
    if as_json:
        print_json(found)
    else:
        rows = [[one.get(name) for name in _FIELDS] for one in found]
        print_table([name.replace("_", " ") for name in _FIELDS], rows)


@delivery.command("show")
@click.argument("destination_id", metavar="DST")
@click.argument("delivery_id", metavar="DELIVERY")
@through_api
def show_delivery(client: "Client", destination_id: str, delivery_id: str, *, as_json: bool) -> None:
    """Show one attempt in full; `delivery list` shows the ids of attempts."""
    from .client import printable  # noqa: PLC0415

    one = client.call("GET", client.org_path(BASE, destination_id, "deliveries", delivery_id))
    if as_json:
        print_json(one)
        return
    sent, timing = one["request"], one["timing"]
    answer = one["status_code"] if one["status_code"] is not None else "no answer"
    lines = [
        f"attempt      {one['attempt']} of {one['attempts_max']}, {one['state']} at {one['at']}",
        f"event        {one['event_id'] or one['sequence']}",
        f"answer       {answer} after {timing['latency_ms']} ms",
        *([f"error        {one['error']}"] if one["error"] else []),
        f"request      {sent['method']} {sent['url']}",
        *(f"  {header['name']}: {header['value']}" for header in sent["headers"]),
        *([f"note         {sent['note']}"] if sent["note"] else []),
        *([f"body         {sent['body']}"] if sent["body"] is not None else []),
    ]
    for line in lines:
        click.echo(printable(line))
