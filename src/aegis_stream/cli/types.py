"""destination types: the kinds of destinations, and what each needs; needs no running service."""

import click
import msgspec

from aegis_stream.control.destination_types import DestinationType, destination_types

from .output import JSON, print_json, print_table


@click.command("types")
@click.argument("type_id", metavar="[TYPE]", required=False)
@JSON
def types(type_id: str | None, *, as_json: bool) -> None:
    """List the kinds of destinations, or show what one of them needs and where to find it.

    In its URL and headers {name} stands for the value of a field.
    """
    known = {one.id: one for one in destination_types()}
    if type_id is not None and type_id not in known:
        raise click.UsageError(f"there is no type {type_id!r}: `aegis destination types` lists all")
    chosen = list(known.values()) if type_id is None else [known[type_id]]
    if as_json:
        print_json(msgspec.to_builtins(chosen if type_id is None else chosen[0]))
    elif type_id is None:
        print_table(("type", "name", "format"), [(one.id, one.name, one.format) for one in chosen])
        click.echo("next: aegis destination types TYPE")
    else:
        _show(chosen[0])


def _show(one: DestinationType) -> None:
    click.echo(f"{one.name}: docs/how-to/destinations/{one.page}.md\n")
    print_table(
        ("field", "what", "example", "where to find it"),
        [(f.name, f.label, f.example or "(secret)", f.find) for f in one.fields],
    )
    click.echo(f"\nURL     {one.url}\nformat  {one.format}")
    headers = {one.auth_header_name: one.auth_header_value} | one.headers
    for name, value in headers.items():
        if name:
            click.echo(f"header  {name}: {value}")
    if one.oauth2 is not None:
        click.echo(f"OAuth2  {one.oauth2.token_url}, scope {one.oauth2.scope}")
    click.echo(f"\nmind    {one.trap}")
    click.echo(f"\nto find one event ({one.search.where}):\n  {one.search.query}")
