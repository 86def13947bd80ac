"""destination: through the REST API.

templates.py has `destination template`; dead_letters.py and events.py have `dead-letter` and `event`; what all remote commands
share is here.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, get_args

import click

from aegis_stream.domain.destination import Compression
from aegis_stream.domain.event import Decision
from aegis_stream.errors import Invalid

from .headers import find_headers
from .oauth2 import find_oauth2, oauth2_options
from .output import JSON, print_json, print_table
from .templates import template
from .tenants import ORG

if TYPE_CHECKING:
    from .client import Client

P = ParamSpec("P")
Destination = Mapping[str, Any]

URL_DEFAULT = "http://127.0.0.1:8700"
DECISION = click.Choice(get_args(Decision))
LIMIT_DEFAULT = 1000
BASE = "forwarding-destinations"

DST = click.argument("destination_id", metavar="DST")
LIMIT = click.option(
    "--limit",
    default=LIMIT_DEFAULT,
    show_default=True,
    type=click.IntRange(1),
    help="Show this many at most.",
)
YES = click.option("--yes", is_flag=True, help="Do not ask.")


def through_api(
    command: Callable[Concatenate["Client", P], None],
) -> Callable[..., None]:
    """Give a command --url, --key, --org and --json, and call it with a client made of the first three."""

    @click.option(
        "--url",
        "service_url",
        envvar="AEGIS_URL",
        default=URL_DEFAULT,
        show_default=True,
        help="Where the service answers (AEGIS_URL).",
    )
    @click.option(
        "--key",
        envvar="AEGIS_API_KEY",
        required=True,
        help="API key; better as AEGIS_API_KEY, which no list of processes shows.",
    )
    @ORG
    @JSON
    @functools.wraps(command)
    def call(service_url: str, key: str, org_id: str, **options: Any) -> None:
        from .client import Client  # noqa: PLC0415 - commands that call nobody start faster without it

        try:
            client = Client(service_url, key, org_id)
        except Invalid as error:
            raise click.UsageError(error.message) from error
        with client:
            command(client, **options)  # type: ignore[call-arg] # click passes what its options say

    return call


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person before something that cannot be undone; a script is not asked. Raises: click.Abort."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


# ── destination ──


@click.group()
def destination() -> None:
    """Forwarding destinations: where events go."""


destination.add_command(template)


@destination.command("add")
@click.argument("target", metavar="[URL]", required=False)
@click.option("--to", "to", metavar="URL", help="The same as the argument: where events go.")
@click.option("--name", help="What people call it.")
@click.option(
    "--header",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header, seen in the list of processes; repeatable.",
)
@click.option(
    "--header-file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Read headers from a file, one a line; - is standard input.",
)
@click.option(
    "--auth-header-name", metavar="NAME", help="Which header is the auth header; Authorization if not given."
)
@click.option(
    "--auth-header-value",
    envvar="AEGIS_AUTH_HEADER_VALUE",
    metavar="VALUE",
    help="Its value; better as AEGIS_AUTH_HEADER_VALUE.",
)
@click.option("--auth-header-value-stdin", is_flag=True, help="Read its value from standard input.")
@oauth2_options
@click.option(
    "--format", "format_name", metavar="NAME", help="auto, json, ndjson, …; see the API documentation."
)
@click.option("--dataset", "datasets", multiple=True, help="Only events of this dataset; repeatable.")
@click.option("--decision", "decisions", multiple=True, type=DECISION, help="Only these; repeatable.")
@click.option("--batch-max-events", type=int, help="Events in a request at most.")
@click.option("--batch-max-bytes", type=int, help="Bytes in a request at most.")
@click.option("--batch-max-wait-ms", type=int, help="Longest wait for a batch to fill.")
@click.option("--retry-max-attempts", type=int, help="Attempts before the dead letter.")
@click.option("--retry-base-seconds", type=float, help="Delay before the second attempt.")
@click.option("--retry-multiplier", type=float, help="Growth of the delay.")
@click.option("--retry-max-seconds", type=float, help="Longest delay.")
@click.option(
    "--ca-certificate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file of the authority to trust instead of the default ones.",
)
@click.option("--compression", type=click.Choice(get_args(Compression)), help="Of request bodies.")
@click.option("--disabled", is_flag=True, help="Begin paused.")
@through_api
def add_destination(client: "Client", /, **options: Any) -> None:
    """Make a destination; it receives events recorded from now on.

    A secret on the command line stands in the list of processes while the command runs. Where others use this machine,
    give it as AEGIS_AUTH_HEADER_VALUE or AEGIS_HEADERS, by --auth-header-value-stdin or by --header-file. The secret of an
    OAuth2 client is never taken there.
    """
    made = client.call("POST", client.org_path(BASE), body=_written(click.get_current_context(), options))
    if options["as_json"]:
        print_json(made)
        return
    _print_destination(made)
    click.echo(f"next: aegis destination test {made['id']} --org {client.org_id}")


@destination.command("list")
@LIMIT
@through_api
def list_destinations(client: "Client", limit: int, *, as_json: bool) -> None:
    """List destinations with their state."""
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
    """Show a destination: configuration without the credential, state, counts."""
    _show(client.call("GET", client.org_path(BASE, destination_id)), as_json=as_json)


@destination.command("test")
@DST
@through_api
def test_destination(client: "Client", destination_id: str, *, as_json: bool) -> None:
    """Send one test event at once, also while it is paused; exit status 1 when it is not taken."""
    answer = client.call("POST", client.org_path(BASE, destination_id, "test"))
    if as_json:
        print_json(answer)
    else:
        status = f"status {answer['status_code']}" if answer["status_code"] is not None else "no answer"
        verdict = "ok" if answer["ok"] else "failed"
        click.echo(_line(f"{verdict}  {status}  {answer['latency_ms']} ms  {answer.get('error') or ''}"))
        for line in (answer.get("response_excerpt") or "").splitlines():
            click.echo(_line(f"  {line}"))
    if not answer["ok"]:
        sys.exit(1)


@destination.command("pause")
@DST
@through_api
def pause_destination(client: "Client", destination_id: str, *, as_json: bool) -> None:
    """Hold everything back until `resume`; nothing is lost."""
    _show(client.call("POST", client.org_path(BASE, destination_id, "pause")), as_json=as_json)


@destination.command("resume")
@DST
@through_api
def resume_destination(client: "Client", destination_id: str, *, as_json: bool) -> None:
    """Go on where `pause` stopped."""
    _show(client.call("POST", client.org_path(BASE, destination_id, "resume")), as_json=as_json)


@destination.command("remove")
@DST
@YES
@through_api
def remove_destination(client: "Client", destination_id: str, *, yes: bool, as_json: bool) -> None:
    """Delete a destination, its credential, its retries and its dead letters."""
    confirm(f"Delete {destination_id} with everything that waits for it?", yes=yes)
    client.call("DELETE", client.org_path(BASE, destination_id))
    if as_json:
        print_json({"removed": destination_id})
    else:
        click.echo(_line(f"removed {destination_id}"))


@destination.command("replay")
@DST
@click.option("--from", "from_time", metavar="TIME", help="From this time on, as 2026-05-15T10:00:00Z.")
@click.option("--to", "to_time", metavar="TIME", help="Up to this time; up to now when left out.")
@click.option("--from-sequence", type=click.IntRange(1), help="From this place in the log on.")
@click.option("--to-sequence", type=click.IntRange(1), help="Up to this place.")
@through_api
def replay_destination(
    client: "Client",
    destination_id: str,
    *,
    from_time: str | None,
    to_time: str | None,
    from_sequence: int | None,
    to_sequence: int | None,
    as_json: bool,
) -> None:
    """Send a range of the log once more, beside the new events."""
    if (from_time is None) == (from_sequence is None):
        raise click.UsageError("give either --from (and --to) or --from-sequence (and --to-sequence)")
    if (to_time if from_sequence is not None else to_sequence) is not None:
        raise click.UsageError("--to goes with --from, and --to-sequence with --from-sequence")
    stretch = {
        "from": _time(from_time, "--from"),
        "to": _time(to_time, "--to"),
        "from_sequence": from_sequence,
        "to_sequence": to_sequence,
    }
    body = {name: value for name, value in stretch.items() if value is not None}
    answer = client.call("POST", client.org_path(BASE, destination_id, "replay"), body=body)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"replays {answer['events']} events")


def _written(context: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the destination as the API takes it: only what the person said."""
    if (options["target"] is None) == (options["to"] is None):
        raise click.UsageError("give the destination's URL once, as the argument or as --to")
    headers, oauth2 = find_headers(context, options), find_oauth2(options)
    body = {
        "url": options["target"] or options["to"],
        "auth_header_name": headers.auth_name,
        "auth_header_value": headers.auth_value,
        "headers": headers.others or None,
        "oauth2": oauth2,
        "name": options["name"],
        "enabled": False if options["disabled"] else None,
        "format": options["format_name"],
        "compression": options["compression"],
        "ca_certificate": _read_certificate(options["ca_certificate"]),
        "filter": _said(options, {"datasets": "datasets", "decisions": "decisions"}),
        "batch": _said(options, {one: f"batch_{one}" for one in ("max_events", "max_bytes", "max_wait_ms")}),
        "retry": _said(
            options,
            {one: f"retry_{one}" for one in ("max_attempts", "base_seconds", "multiplier", "max_seconds")},
        ),
    }
    return {field: given for field, given in body.items() if given is not None}


def _said(options: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any] | None:
    given = {field: options[option] for field, option in names.items() if options[option] not in (None, ())}
    return given or None


def _read_certificate(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(
            f"{path} is not a readable PEM file", param_hint="--ca-certificate"
        ) from error


def _time(text: str | None, option: str) -> str | None:
    """Check a time here, so that a slip of the pen is wrong use and no failed call."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 - has no time zone, and is refused for it
    if moment.tzinfo is None:
        message = f"{text!r} is not a time with a time zone, such as 2026-05-15T10:00:00Z"
        raise click.BadParameter(message, param_hint=option)
    return moment.isoformat()


def _show(one: Destination, *, as_json: bool) -> None:
    if as_json:
        print_json(one)
    else:
        _print_destination(one)


def _print_destination(one: Destination) -> None:
    stats, last_error = one["stats"], one["last_error"]
    header = f"{one['auth_header_name']}: ****" if one["auth_header_set"] else "none"
    if one["oauth2"] is not None:
        header = f"a token of {one['oauth2']['client_id']} from {one['oauth2']['token_url']}"
    lines = {
        "destination": one["id"],
        "name": one["name"],
        "url": one["url"],
        "auth header": header,
        "headers": ", ".join(f"{name}: ****" for name in one["header_names"]) or "none",
        "format": one["format"],
        "compression": one["compression"],
        "status": one["status"],
        "filter": ", ".join([*one["filter"]["datasets"], *one["filter"]["decisions"]]) or "everything",
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
