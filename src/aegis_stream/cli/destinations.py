"""destination: forwarding destinations, through the REST API."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from aegis_stream.domain.destination import Compression
from aegis_stream.formats import AUTO, REGISTRY

from .destination_body import body_of
from .oauth2 import oauth2_options
from .output import print_json, print_table
from .remote import BASE, DECISION, LIMIT, YES, confirm, through_api
from .templates import template
from .tested import print_test
from .timeline import timeline
from .types import types
from .values import Number, Whole, at_time

if TYPE_CHECKING:
    from .client import Client

DestinationJson = Mapping[str, Any]

DST = click.argument("destination_id", metavar="DST")


@click.group()
def destination() -> None:
    """Manage forwarding destinations: where events go."""


destination.add_command(template)
destination.add_command(types)
destination.add_command(timeline)


@destination.command("add")
@click.argument("target", metavar="[URL]", required=False)
@click.option("--to", "to", metavar="URL", help="The destination's URL, instead of the argument.")
@click.option("--name", help="Name for people.")
@click.option(
    "--header",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Send this header with every request; repeatable. The process list shows it.",
)
@click.option(
    "--header-file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Read headers from a file, one per line; - is standard input.",
)
@click.option("--auth-header-name", metavar="NAME", help="Name of the auth header.  [default: Authorization]")
@click.option(
    "--auth-header-value",
    envvar="AEGIS_AUTH_HEADER_VALUE",
    metavar="VALUE",
    help="Value of the auth header. Set AEGIS_AUTH_HEADER_VALUE instead: the process list shows command lines.",
)
@click.option(
    "--auth-header-value-stdin", is_flag=True, help="Read the value of the auth header from standard input."
)
@oauth2_options
@click.option(
    "--format",
    "format_name",
    type=click.Choice([AUTO, *REGISTRY]),
    metavar="FORMAT",
    help=f"Format of the requests: {', '.join([AUTO, *REGISTRY])}.  [default: auto, which chooses by the URL]",
)
@click.option("--dataset", "datasets", multiple=True, help="Send only events of this dataset; repeatable.")
@click.option(
    "--decision",
    "decisions",
    multiple=True,
    type=DECISION,
    help="Send only events with this decision; repeatable.",
)
@click.option("--batch-max-events", type=Whole(1), help="Most events in one request.")
@click.option("--batch-max-bytes", type=Whole(1), help="Most bytes in one request.")
@click.option("--batch-max-wait-ms", type=Whole(0), help="Longest wait for a batch to fill, in milliseconds.")
@click.option("--retry-max-attempts", type=Whole(1), help="Attempts before an event becomes a dead letter.")
@click.option("--retry-base-seconds", type=Number(0), help="Delay before the second attempt.")
@click.option("--retry-multiplier", type=Number(0), help="Factor by which the delay grows.")
@click.option("--retry-max-seconds", type=Number(0), help="Longest delay.")
@click.option(
    "--ca-certificate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Trust the certificate authorities of this PEM file instead of the default ones.",
)
@click.option("--compression", type=click.Choice(get_args(Compression)), help="Compress request bodies.")
@click.option("--disabled", is_flag=True, help="Create it paused.")
@click.option(
    "--test-only",
    is_flag=True,
    help="Send one test event and create nothing; exit status 1 if it is not accepted.",
)
@through_api
def add_destination(client: "Client", /, **options: Any) -> None:
    """Create a destination; it receives events recorded from now on.

    Other users of this machine can read a command line in the process list while the command runs. To keep a secret from
    them, use AEGIS_AUTH_HEADER_VALUE, AEGIS_HEADERS, --auth-header-value-stdin or --header-file. The secret of an OAuth2
    client has no option on the command line.
    """
    body = body_of(click.get_current_context(), options)
    if options["test_only"]:
        print_test(client.call("POST", client.org_path(BASE, "test"), body=body), as_json=options["as_json"])
        return
    made = client.call("POST", client.org_path(BASE), body=body)
    if options["as_json"]:
        print_json(made)
        return
    _print_destination(made)
    click.echo(f"next: aegis destination test {made['id']} --org {client.org_id}")


@destination.command("list")
@LIMIT
@through_api
def list_destinations(client: "Client", limit: int, *, as_json: bool) -> None:
    """List destinations with status and counts."""
    found = list(client.items(client.org_path(BASE), limit=limit))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            *(one[name] for name in ("id", "name", "status", "format", "url")),
            *(one["stats"][name] for name in ("delivered", "backlog", "retrying", "dead_letters")),
        )
        for one in found
    ]
    heads = ("id", "name", "status", "format", "url", "delivered", "backlog", "retrying", "dead letters")
    print_table(heads, rows)


@destination.command("show")
@DST
@through_api
def show_destination(client: "Client", destination_id: str, *, as_json: bool) -> None:
    """Show a destination, without its credential."""
    _show(client.call("GET", client.org_path(BASE, destination_id)), as_json=as_json)


@destination.command("test")
@DST
@through_api
def test_destination(client: "Client", destination_id: str, *, as_json: bool) -> None:
    """Send one test event immediately, and tell how far it came.

    Also works while the destination is paused. Exit status 1 if the destination does not accept the event.
    """
    print_test(client.call("POST", client.org_path(BASE, destination_id, "test")), as_json=as_json)


@destination.command("pause")
@DST
@through_api
def pause_destination(client: "Client", destination_id: str, *, as_json: bool) -> None:
    """Stop delivery until `resume`; events wait in the log."""
    _show(client.call("POST", client.org_path(BASE, destination_id, "pause")), as_json=as_json)


@destination.command("resume")
@DST
@through_api
def resume_destination(client: "Client", destination_id: str, *, as_json: bool) -> None:
    """Continue delivery where `pause` stopped it."""
    _show(client.call("POST", client.org_path(BASE, destination_id, "resume")), as_json=as_json)


@destination.command("remove")
@DST
@YES
@through_api
def remove_destination(client: "Client", destination_id: str, *, yes: bool, as_json: bool) -> None:
    """Delete a destination and all that waits for it.

    Its credential, its retries and its dead letters are deleted with it.
    """
    confirm(f"Delete {destination_id} with its retries and dead letters?", yes=yes)
    client.call("DELETE", client.org_path(BASE, destination_id))
    if as_json:
        print_json({"removed": destination_id})
    else:
        click.echo(_line(f"removed {destination_id}"))


@destination.command("replay")
@DST
@click.option("--from", "from_time", metavar="TIME", help="Start at this time, such as 2026-05-15T10:00:00Z.")
@click.option("--to", "to_time", metavar="TIME", help="End at this time.  [default: now]")
@click.option("--from-sequence", type=Whole(1), help="Start at this sequence.")
@click.option("--to-sequence", type=Whole(1), help="End at this sequence.  [default: the newest]")
@click.option("--preview", is_flag=True, help="Say how many events that is, and start nothing.")
@through_api
def replay_destination(
    client: "Client",
    destination_id: str,
    *,
    from_time: str | None,
    to_time: str | None,
    from_sequence: int | None,
    to_sequence: int | None,
    preview: bool,
    as_json: bool,
) -> None:
    """Send a range of the log again, while new events continue."""
    if (from_time is None) == (from_sequence is None):
        raise click.UsageError(
            "give either --from, with or without --to, or --from-sequence, with or without --to-sequence"
        )
    if (to_time if from_sequence is not None else to_sequence) is not None:
        raise click.UsageError("combine --to with --from, and --to-sequence with --from-sequence")
    stretch = {
        "from": at_time(from_time, "--from"),
        "to": at_time(to_time, "--to"),
        "from_sequence": from_sequence,
        "to_sequence": to_sequence,
    }
    body = {name: value for name, value in stretch.items() if value is not None}
    query = {"preview": "true"} if preview else None
    answer = client.call("POST", client.org_path(BASE, destination_id, "replay"), body=body, query=query)
    if as_json:
        print_json(answer)
    elif preview:
        click.echo(f"{answer['events']} events; nothing was started")
    else:
        click.echo(f"replaying {answer['events']} events")


def _show(one: DestinationJson, *, as_json: bool) -> None:
    if as_json:
        print_json(one)
    else:
        _print_destination(one)


def _print_destination(one: DestinationJson) -> None:
    stats, last_error = one["stats"], one["last_error"]
    header = f"{one['auth_header_name']}: ****" if one["auth_header_set"] else "none"
    if one["oauth2"] is not None:
        header = f"token for {one['oauth2']['client_id']} from {one['oauth2']['token_url']}"
    lines = {
        "destination": one["id"],
        "name": one["name"],
        "url": one["url"],
        "auth header": header,
        "headers": ", ".join(f"{name}: ****" for name in one["header_names"]) or "none",
        "format": one["format"],
        "compression": one["compression"],
        "status": one["status"],
        "filter": ", ".join([*one["filter"]["datasets"], *one["filter"]["decisions"]]) or "all events",
        "batch": _pairs(one["batch"]),
        "retry": _pairs(one["retry"]),
        "own CA": "yes" if one["ca_certificate"] else "no",
        "counts": _pairs(stats),
        "last success": one["last_success_at"] or "never",
        "last error": f"{last_error['at']}  {last_error['message']}" if last_error else "none",
    }
    for name, value in lines.items():
        click.echo(_line(f"{name:<12}  {value}"))


def _pairs(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _line(text: str) -> str:
    from .client import printable  # noqa: PLC0415

    return printable(text).rstrip()
