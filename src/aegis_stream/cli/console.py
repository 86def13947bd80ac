"""console: links that open the console once, made in the data directory itself; the service may run meanwhile."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from aegis_stream.control import console_links
from aegis_stream.control.caller import COMMAND_LINE
from aegis_stream.control.console_links import IssuedLink, NewLink
from aegis_stream.control.deps import StoreDeps
from aegis_stream.domain.console_link import SCOPES, SECONDS_DEFAULT, SECONDS_MAX, SECONDS_MIN, console_url
from aegis_stream.domain.organization import Scope
from aegis_stream.domain.times import to_text

from .on_store import run_on_store
from .output import JSON, print_json
from .service import CONFIG
from .values import Whole


@click.group()
def console() -> None:
    """Open the console without typing a key."""


@console.command("link")
@click.option("--org", "org_id", envvar="AEGIS_ORG", help="Id of the organization (AEGIS_ORG).")
@click.option("--operator", is_flag=True, help="Open the operator's pages instead of an organization's.")
@click.option(
    "--scope",
    type=click.Choice([one.value for one in SCOPES]),
    default="read",
    show_default=True,
    help="What the session may do.",
)
@click.option(
    "--expires-seconds",
    "seconds",
    default=SECONDS_DEFAULT,
    show_default=True,
    type=Whole(SECONDS_MIN, SECONDS_MAX),
    help="How long the link may wait to be opened.",
)
@click.option("--return-url", default="", help='Where "Back to …" leads: an https URL.  [default: nowhere]')
@click.option(
    "--url",
    envvar="AEGIS_URL",
    default="http://127.0.0.1:8700",
    show_default=True,
    help="Address of the service, as the browser opens it (AEGIS_URL).",
)
@JSON
@CONFIG
@click.pass_context
def make_link(
    context: click.Context,
    org_id: str | None,
    operator: bool,
    scope: str,
    seconds: int,
    return_url: str,
    url: str,
    as_json: bool,
    config: Path | None,
) -> None:
    """Print a URL that opens the console once, signed in.

    Whoever has the URL can open the console: give it to one person. The session lasts up to 12 hours.
    """
    if not operator and not org_id:
        raise click.UsageError("give either --org ORGANIZATION or --operator")

    def work(deps: StoreDeps) -> Coroutine[Any, Any, IssuedLink]:
        if operator or not org_id:
            return console_links.create_for_operator(deps, seconds)
        return console_links.create(deps, COMMAND_LINE, org_id, NewLink(Scope(scope), seconds, return_url))

    made = run_on_store(context, config, work)
    opens, expires_at = console_url(url.rstrip("/"), made.token), to_text(made.link.expires_at)
    if as_json:
        print_json({"id": made.link.link_id, "url": opens, "expires_at": expires_at})
        return
    click.echo(opens)
    click.echo(f"opens the console once, until {expires_at}", err=True)
