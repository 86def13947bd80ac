"""What the commands have in common that call the REST API."""

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, get_args

import click

from aegis_stream.domain.preflight import Decision
from aegis_stream.errors import Invalid

from .output import JSON
from .values import ORG, Whole

if TYPE_CHECKING:
    from .client import Client

P = ParamSpec("P")

URL_DEFAULT = "http://127.0.0.1:8700"
DECISION = click.Choice(get_args(Decision))
LIMIT_DEFAULT = 1000
BASE = "forwarding-destinations"

LIMIT = click.option(
    "--limit",
    default=LIMIT_DEFAULT,
    show_default=True,
    type=Whole(1),
    help="Show at most this many.",
)
YES = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


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
        help="URL of the service (AEGIS_URL).",
    )
    @click.option(
        "--key",
        envvar="AEGIS_API_KEY",
        required=True,
        help="API key. Set AEGIS_API_KEY instead: the process list shows command lines.",
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
