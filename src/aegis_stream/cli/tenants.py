"""org, key: on the store of the data directory itself, also while the service runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from aegis_stream.access import Issued, Issuer
from aegis_stream.domain.organization import Scope
from aegis_stream.domain.times import to_text
from aegis_stream.store.database import Unit

from .output import JSON, print_json, print_table
from .service import CONFIG, read_settings

T = TypeVar("T")
ORG = click.option("--org", "org_id", required=True, envvar="AEGIS_ORG", help="The organization's id.")


@click.group()
def org() -> None:
    """Organizations."""


@click.group()
def key() -> None:
    """API keys of an organization."""


@org.command("create")
@click.argument("name")
@click.option("--id", "org_id", help="Its id: org_ and letters, digits, _ or -; made up when left out.")
@JSON
@CONFIG
@click.pass_context
def create_organization(
    context: click.Context, name: str, org_id: str | None, as_json: bool, config: Path | None
) -> None:
    """Make an organization and its first admin key."""
    made = _write(context, config, lambda issuer, unit: issuer.add_organization(unit, name, org_id))
    if as_json:
        print_json({"org_id": made.key.org_id, "api_key": made.text})
        return
    click.echo(f"organization  {made.key.org_id}")
    click.echo(f"admin key     {made.text}   (shown this once; keep it safe)")


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
    """Make a key."""
    made = _write(
        context, config, lambda issuer, unit: issuer.add_key(unit, org_id, name, Scope(scope), None)
    )
    _print_made(made, as_json=as_json)


@key.command("list")
@ORG
@JSON
@CONFIG
@click.pass_context
def list_keys(context: click.Context, org_id: str, as_json: bool, config: Path | None) -> None:
    """List keys, without their texts."""
    keys = _write(context, config, lambda issuer, unit: issuer.keys(unit, org_id))
    rows = [
        (
            one.key_id,
            one.scope.value,
            one.name,
            "…" + one.hint,
            to_text(one.created_at),
            to_text(one.expires_at) if one.expires_at else None,
        )
        for one in keys
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
    """Revoke a key; within a second it opens nothing."""
    _write(context, config, lambda issuer, unit: issuer.revoke_key(unit, org_id, key_id))
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
    type=click.IntRange(0, 2_592_000),
    help="Seconds that the old key still opens.",
)
@JSON
@CONFIG
@click.pass_context
def rotate_key(
    context: click.Context, key_id: str, org_id: str, overlap: int, as_json: bool, config: Path | None
) -> None:
    """Make a new key like an old one, which ends."""
    made = _write(context, config, lambda issuer, unit: issuer.rotate_key(unit, org_id, key_id, overlap))
    _print_made(made, as_json=as_json)


def _print_made(made: Issued, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": made.key.key_id, "scope": made.key.scope.value, "api_key": made.text})
        return
    click.echo(f"key id  {made.key.key_id}   scope {made.key.scope.value}")
    click.echo(f"key     {made.text}   (shown this once; keep it safe)")


def _write(context: click.Context, config: Path | None, work: Callable[[Issuer, Unit], T]) -> T:
    from aegis_stream.wiring import make_issuer, make_log, open_stores  # noqa: PLC0415

    settings, _ = read_settings(context, config)
    stores = open_stores(settings, make_log(settings))
    for note in stores.notes:
        click.echo(f"first start: {note}", err=True)
    try:
        issuer = make_issuer(settings)
        return stores.db.write_now(lambda unit: work(issuer, unit))
    finally:
        stores.close()
