"""destination template: what a destination is set up with before the first event; needs no running service."""

import json
from typing import get_args

import click

from aegis_stream.formats.elastic_template import PATTERN, Flavor, index_template

from .output import JSON, print_json


@click.group()
def template() -> None:
    """What a destination is set up with before the first event."""


@template.command("elastic")
@click.option(
    "--flavor",
    type=click.Choice(get_args(Flavor)),
    default="elasticsearch",
    show_default=True,
    help="For whose types and settings.",
)
@click.option(
    "--pattern", default=PATTERN, show_default=True, help="Names of the data streams that get the template."
)
@JSON
def elastic(flavor: Flavor, pattern: str, *, as_json: bool) -> None:
    """Print the index template for data streams of events, the body of PUT _index_template/aegis."""
    made = index_template(pattern, flavor)
    if as_json:
        print_json(made)
    else:
        click.echo(json.dumps(made, indent=2))
