"""console: links that open the console once, made, listed and revoked in the data directory itself; the service may run meanwhile."""

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
from .output import JSON, print_json, print_table
from .service import CONFIG
from .values import ORG, Whole


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


@console.command("links")
@ORG
@JSON
@CONFIG
@click.pass_context
def list_links(context: click.Context, org_id: str, as_json: bool, config: Path | None) -> None:
    """List console links that are unused, or were used in the last 12 hours, oldest first, without their URLs."""
    found = run_on_store(
        context, config, lambda deps: console_links.list_of(deps, org_id, "", console_links.KEPT_MAX)
    )
    heads = ("id", "scope", "made_by", "created_at", "expires_at", "used_at", "return_url")
    rows = [
        (
            one.link_id,
            one.scope.value,
            one.made_by or None,
            to_text(one.created_at),
            to_text(one.expires_at),
            to_text(one.used_at) if one.used_at is not None else None,
            one.return_url or None,
        )
        for one in found
    ]
    if as_json:
        print_json([dict(zip(heads, row, strict=True)) for row in rows])
    else:
        print_table(heads, rows)


@console.command("revoke")
@click.argument("link_id")
@ORG
@JSON
@CONFIG
@click.pass_context
def revoke_link(
    context: click.Context, link_id: str, org_id: str, as_json: bool, config: Path | None
) -> None:
    """Revoke a console link; a session that began with it ends at its next request."""
    run_on_store(context, config, lambda deps: console_links.delete(deps, COMMAND_LINE, org_id, link_id))
    if as_json:
        print_json({"revoked": link_id})
    else:
        click.echo(f"revoked {link_id}")
