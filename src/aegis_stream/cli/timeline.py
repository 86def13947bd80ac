"""destination timeline: what a destination did over time, through the REST API."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .output import print_json, print_table
from .remote import BASE, through_api
from .values import Whole, at_time

if TYPE_CHECKING:
    from .client import Client

_CLASSES = ("3xx", "4xx", "429", "5xx", "network", "other")


@click.command("timeline")
@click.argument("destination_id", metavar="DST")
@click.option(
    "--from",
    "since",
    metavar="TIME",
    help="Begin at this time, such as 2026-05-15T10:00:00Z.  [default: 24 hours before the end]",
)
@click.option("--to", "until", metavar="TIME", help="End at this time.  [default: now]")
@click.option(
    "--step",
    type=Whole(60),
    metavar="SECONDS",
    help="Length of a step: a multiple of 60, and of 3600 where --from is more than 48 hours ago.  [default: one that fits]",
)
@through_api
def timeline(
    client: "Client",
    destination_id: str,
    *,
    since: str | None,
    until: str | None,
    step: int | None,
    as_json: bool,
) -> None:
    """Show what a destination did over time: delivered events, failed attempts by status, latency, what waited.

    Steps without an attempt are left out; --json has all.
    """
    query = {"from": at_time(since, "--from"), "to": at_time(until, "--to"), "step": step}
    chosen = {name: value for name, value in query.items() if value is not None}
    found = client.call("GET", client.org_path(BASE, destination_id, "timeline"), query=chosen)
    if as_json:
        print_json(found)
        return
    steps = [one for one in found["data"] if one["waiting_max"] is not None]
    rows = [
        [one["at"][:19] + "Z", *_counts(one), one["p50_ms"], one["p99_ms"], one["waiting_max"]]
        for one in steps
    ]
    total = found["total"]
    rows.append(["total", *_counts(total), total["p50_ms"], total["p99_ms"], None])
    print_table(("from", "delivered", *_CLASSES, "p50 ms", "p99 ms", "waiting"), rows)
    click.echo(f"steps of {found['step_seconds']} s from {found['from']} to {found['to']}")


def _counts(one: Mapping[str, Any]) -> list[int]:
    return [one["delivered"], *(one["failed"][name] for name in _CLASSES)]
