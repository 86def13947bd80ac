"""OAuth 2.0 client credentials of a destination as a person gives them: the client's secret never on the command line."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import click

from .files import read_text

VARIABLE = "AEGIS_OAUTH2_CLIENT_SECRET"
FILE_CHARACTERS_MAX = 1 << 16
"""A file beyond is no secret."""


def oauth2_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that `find_oauth2` reads."""
    for option in (
        click.option(
            "--oauth2-client-secret-file",
            type=click.Path(exists=True, dir_okay=False, allow_dash=True),
            help=f"Read the client's secret from a file, - is standard input; or give it as {VARIABLE}.",
        ),
        click.option("--oauth2-scope", metavar="SCOPE", help="What the token is for."),
        click.option("--oauth2-client-id", metavar="ID", help="Whose token it is."),
        click.option(
            "--oauth2-token-url", metavar="URL", help="Fetch tokens here (OAuth 2.0 client credentials)."
        ),
    ):
        command = option(command)
    return command


def find_oauth2(options: Mapping[str, Any]) -> dict[str, str] | None:
    """Put together what was given, as the API takes it; None where nothing was.

    Raises: click.UsageError when something is missing.
    """
    token_url, client_id, scope, path = (
        options[f"oauth2_{one}"] for one in ("token_url", "client_id", "scope", "client_secret_file")
    )
    if not any((token_url, client_id, scope, path)):
        return None
    if not token_url or not client_id:
        raise click.UsageError("--oauth2-token-url and --oauth2-client-id go together")
    if path is not None:
        secret = read_text(path, "--oauth2-client-secret-file", FILE_CHARACTERS_MAX).strip()
    else:
        secret = os.environ.get(VARIABLE, "")
    if not secret:
        raise click.UsageError(f"the client has no secret: --oauth2-client-secret-file, or {VARIABLE}")
    body = {"token_url": token_url, "client_id": client_id, "client_secret": secret, "scope": scope}
    return {name: value for name, value in body.items() if value is not None}
