"""destination template: what to install at a destination before the first event; needs no running service."""

import json
from typing import get_args

import click

from aegis_stream.formats.elastic_template import PATTERN, Flavor, index_template

from .output import JSON, print_json


@click.group()
def template() -> None:
    """Print what to install at a destination before the first event."""


@template.command("elastic")
@click.option(
    "--flavor",
    type=click.Choice(get_args(Flavor)),
    default="elasticsearch",
    show_default=True,
    help="Product that the template is for.",
)
@click.option(
    "--pattern", default=PATTERN, show_default=True, help="Data streams that the template applies to."
)
@JSON
def elastic(flavor: Flavor, pattern: str, *, as_json: bool) -> None:
    """Print the index template for data streams of events.

    Send it as the body of PUT _index_template/aegis.
    """
    made = index_template(pattern, flavor)
    if as_json:
        print_json(made)
    else:
        click.echo(json.dumps(made, indent=2))
