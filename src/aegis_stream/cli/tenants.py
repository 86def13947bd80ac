"""org, key: on the store of the data directory itself; the service may run meanwhile."""

from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from aegis_stream.control import fleet, keys, organizations
from aegis_stream.control.caller import COMMAND_LINE
from aegis_stream.control.deps import StoreDeps
from aegis_stream.control.keys import Issued, NewKey
from aegis_stream.domain.organization import Organization, Scope
from aegis_stream.domain.times import to_text
from aegis_stream.store.fleet import OrganizationStanding

from .key_requests import requests
from .on_store import run_on_store
from .output import JSON, print_json, print_table
from .service import CONFIG, read_settings
from .values import DEFAULT, ORG, Quota, Whole

KEYS_LISTED_MAX = 10_000
_SHOWN_OF_ORGANIZATIONS = (
    *("org_id", "name", "events_per_minute", "waiting", "waiting_since", "failing", "dead_letters"),
    *("stored_bytes", "last_event_at", "proof"),
)


@click.group()
def org() -> None:
    """Create and list organizations, and set their quotas, in the data directory itself."""


@click.group()
def key() -> None:
    """Manage API keys of an organization, in the data directory itself; `requests` asks the running service."""


key.add_command(requests)


@org.command("create")
@click.argument("name")
@click.option(
    "--id", "org_id", help="Id: org_ and 1 to 60 letters, digits, _ or -. Default: a new random one."
)
@JSON
@CONFIG
@click.pass_context
def create_organization(
    context: click.Context, name: str, org_id: str | None, as_json: bool, config: Path | None
) -> None:
    """Create an organization and its first admin key."""
    made = run_on_store(
        context, config, lambda deps: organizations.create(deps, name, org_id), may_be_first=True
    )
    if as_json:
        print_json({"org_id": made.key.org_id, "api_key": made.text})
        return
    click.echo(f"organization  {made.key.org_id}")
    click.echo(f"admin key     {made.text}   (shown only once; keep it safe)")


@org.command("list")
@click.option("--worst-first", is_flag=True, help="Those that need somebody most first.  [default: by id]")
@click.option(
    "--limit", default=1000, show_default=True, type=Whole(1, 10_000), help="Show at most this many."
)
@JSON
@CONFIG
@click.pass_context
def list_organizations(
    context: click.Context, worst_first: bool, limit: int, as_json: bool, config: Path | None
) -> None:
    """List organizations and how they stand."""

    def work(deps: StoreDeps) -> Coroutine[Any, Any, list[OrganizationStanding]]:
        return fleet.list_organizations(deps, worst_first=worst_first, limit=limit)

    found = run_on_store(context, config, work)
    names = ("created_at", "waiting_since", "last_event_at")  # times
    rows = [
        {
            name: to_text(value) if name in names and value is not None else value
            for name, value in one._asdict().items()
        }
        for one in found
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(
            _SHOWN_OF_ORGANIZATIONS, [[row[name] for name in _SHOWN_OF_ORGANIZATIONS] for row in rows]
        )


@org.command("quota")
@ORG
@click.option("--stored-bytes", "stored_bytes_max", type=Quota(), help="Most bytes of events in its log.")
@click.option(
    "--bytes-per-second",
    "ingest_bytes_per_second",
    type=Quota(),
    help="Most bytes of events that it may record per second.",
)
@JSON
@CONFIG
@click.pass_context
def change_quotas(
    context: click.Context,
    org_id: str,
    stored_bytes_max: int | str | None,
    ingest_bytes_per_second: int | str | None,
    as_json: bool,
    config: Path | None,
) -> None:
    """Show what an organization stores and its quotas; change those that are given.

    A quota is a number of bytes, 0 for no limit, or the word default for the setting that holds for all.
    """
    given = {"stored_bytes_max": stored_bytes_max, "ingest_bytes_per_second": ingest_bytes_per_second}
    changes = {
        name: None if value == DEFAULT else int(value) for name, value in given.items() if value is not None
    }
    settings, _ = read_settings(context, config)

    async def work(deps: StoreDeps) -> Organization:
        if changes:
            return await organizations.set_quotas(deps, COMMAND_LINE, org_id, changes)
        return await organizations.find(deps, org_id)

    found = run_on_store(context, config, work)
    quotas = found.quotas.over(settings.quotas)
    if as_json:
        print_json({"org_id": found.org_id, "stored_bytes": found.stored_bytes, "quotas": asdict(quotas)})
        return
    share = f" ({found.stored_bytes / quotas.stored_bytes_max:.0%})" if quotas.stored_bytes_max else ""
    click.echo(f"stored            {found.stored_bytes:,} bytes{share}")
    click.echo(f"stored bytes      {_limit_text(quotas.stored_bytes_max, found.quotas.stored_bytes_max)}")
    click.echo(
        f"bytes per second  {_limit_text(quotas.ingest_bytes_per_second, found.quotas.ingest_bytes_per_second)}"
    )


def _limit_text(limit: int, own: int | None) -> str:
    text = f"at most {limit:,}" if limit else "no limit"
    return text if own is not None else f"{text} (default)"


@key.command("create")
@ORG
@click.option("--name", default="", help="What the key is for.")
@click.option("--scope", type=click.Choice([one.value for one in Scope]), default="ingest", show_default=True)
@JSON
@CONFIG
@click.pass_context
def create_key(
    context: click.Context, org_id: str, name: str, scope: str, as_json: bool, config: Path | None
) -> None:
    """Create an API key."""
    new = NewKey(name, Scope(scope))
    made = run_on_store(context, config, lambda deps: keys.create(deps, COMMAND_LINE, org_id, new))
    _print_made(made, as_json=as_json)


@key.command("list")
@ORG
@JSON
@CONFIG
@click.pass_context
def list_keys(context: click.Context, org_id: str, as_json: bool, config: Path | None) -> None:
    """List API keys, without their texts, and with their last use.

    A running service writes uses about once a minute.
    """
    found = run_on_store(context, config, lambda deps: keys.list_of(deps, org_id, "", KEYS_LISTED_MAX))
    rows = [
        (
            one.key_id,
            one.scope.value,
            one.name,
            "…" + one.hint,
            to_text(one.created_at),
            to_text(one.expires_at) if one.expires_at else None,
            to_text(usage.last_used_at) if usage.last_used_at else None,
            usage.last_used_from,
            usage.events_last_hour,
        )
        for one, usage in found
    ]
    heads = (
        *("id", "scope", "name", "hint", "created_at", "expires_at"),
        *("last_used_at", "last_used_from", "events_last_hour"),
    )
    if as_json:
        print_json([dict(zip(heads, row, strict=True)) for row in rows])
    else:
        print_table(heads, rows)


@key.command("revoke")
@click.argument("key_id")
@ORG
@JSON
@CONFIG
@click.pass_context
def revoke_key(context: click.Context, key_id: str, org_id: str, as_json: bool, config: Path | None) -> None:
    """Revoke an API key; within a second it is rejected everywhere."""
    run_on_store(context, config, lambda deps: keys.revoke(deps, COMMAND_LINE, org_id, key_id))
    if as_json:
        print_json({"revoked": key_id})
    else:
        click.echo(f"revoked {key_id}")


@key.command("rotate")
@click.argument("key_id")
@ORG
@click.option(
    "--overlap",
    default=0,
    show_default=True,
    type=Whole(0, 2_592_000),
    help="Seconds for which the old key stays valid.",
)
@JSON
@CONFIG
@click.pass_context
def rotate_key(
    context: click.Context, key_id: str, org_id: str, overlap: int, as_json: bool, config: Path | None
) -> None:
    """Create a new API key like an old one, which expires."""
    made = run_on_store(
        context, config, lambda deps: keys.rotate(deps, COMMAND_LINE, org_id, key_id, overlap_s=overlap)
    )
    _print_made(made, as_json=as_json)


def _print_made(made: Issued, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": made.key.key_id, "scope": made.key.scope.value, "api_key": made.text})
        return
    click.echo(f"key id  {made.key.key_id}   scope {made.key.scope.value}")
    click.echo(f"key     {made.text}   (shown only once; keep it safe)")
