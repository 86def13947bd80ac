"""org, key: on the store of the data directory itself; the service may run meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from aegis_stream.control import keys, organizations
from aegis_stream.control.caller import COMMAND_LINE
from aegis_stream.control.deps import StoreDeps
from aegis_stream.control.keys import Issued, NewKey
from aegis_stream.domain.organization import Organization, Scope
from aegis_stream.domain.times import to_text

from .data_directory import expect_database
from .output import JSON, print_json, print_table
from .service import CONFIG, read_settings
from .values import DEFAULT, Quota, Whole

T = TypeVar("T")
ORG = click.option("--org", "org_id", required=True, envvar="AEGIS_ORG", help="Id of the organization.")
KEYS_LISTED_MAX = 10_000


@click.group()
def org() -> None:
    """Create organizations and set their quotas, in the data directory itself."""


@click.group()
def key() -> None:
    """Manage API keys of an organization, in the data directory itself."""


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
    made = _run(context, config, lambda deps: organizations.create(deps, name, org_id), may_be_first=True)
    if as_json:
        print_json({"org_id": made.key.org_id, "api_key": made.text})
        return
    click.echo(f"organization  {made.key.org_id}")
    click.echo(f"admin key     {made.text}   (shown only once; keep it safe)")


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

    found = _run(context, config, work)
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
    made = _run(context, config, lambda deps: keys.create(deps, COMMAND_LINE, org_id, new))
    _print_made(made, as_json=as_json)


@key.command("list")
@ORG
@JSON
@CONFIG
@click.pass_context
def list_keys(context: click.Context, org_id: str, as_json: bool, config: Path | None) -> None:
    """List API keys, without their texts."""
    found = _run(context, config, lambda deps: keys.list_of(deps, org_id, "", KEYS_LISTED_MAX))
    rows = [
        (
            one.key_id,
            one.scope.value,
            one.name,
            "…" + one.hint,
            to_text(one.created_at),
            to_text(one.expires_at) if one.expires_at else None,
        )
        for one in found
    ]
    heads = ("id", "scope", "name", "hint", "created_at", "expires_at")
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
    _run(context, config, lambda deps: keys.revoke(deps, COMMAND_LINE, org_id, key_id))
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
    made = _run(
        context, config, lambda deps: keys.rotate(deps, COMMAND_LINE, org_id, key_id, overlap_s=overlap)
    )
    _print_made(made, as_json=as_json)


def _print_made(made: Issued, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": made.key.key_id, "scope": made.key.scope.value, "api_key": made.text})
        return
    click.echo(f"key id  {made.key.key_id}   scope {made.key.scope.value}")
    click.echo(f"key     {made.text}   (shown only once; keep it safe)")


def _run(
    context: click.Context,
    config: Path | None,
    use_case: Callable[[StoreDeps], Coroutine[Any, Any, T]],
    *,
    may_be_first: bool = False,
) -> T:
    """Run one use case on the store of the data directory."""
    from aegis_stream.wiring.administration import make_store_deps  # noqa: PLC0415
    from aegis_stream.wiring.process import make_log  # noqa: PLC0415
    from aegis_stream.wiring.stores import open_stores  # noqa: PLC0415

    settings, _ = read_settings(context, config)
    expect_database(settings, may_be_first=may_be_first)
    stores = open_stores(settings, make_log(settings.telemetry))
    for note in stores.notes:
        click.echo(f"first start: {note}", err=True)
    if stores.notes:
        folder = settings.store.data_dir.absolute()
        click.echo(
            f"keys of {folder} are valid only for a service with this data directory; "
            "if your service has another one, set AEGIS_DATA_DIR to that and run this again",
            err=True,
        )
    try:
        return asyncio.run(use_case(make_store_deps(settings, stores)))
    finally:
        stores.close()
