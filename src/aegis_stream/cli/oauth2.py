"""OAuth 2.0 client credentials of a destination, from options; the client's secret from a file or the environment only."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import click

from .files import read_text

VARIABLE = "AEGIS_OAUTH2_CLIENT_SECRET"
FILE_CHARACTERS_MAX = 1 << 16
"""A longer file is not a secret."""


def oauth2_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that `find_oauth2` reads to a command."""
    for option in (
        click.option(
            "--oauth2-client-secret-file",
            type=click.Path(exists=True, dir_okay=False, allow_dash=True),
            help=f"Read the client's secret from a file; - is standard input. Or set {VARIABLE}.",
        ),
        click.option("--oauth2-scope", metavar="SCOPE", help="Scope of the token."),
        click.option("--oauth2-client-id", metavar="ID", help="Id of the client that the token is for."),
        click.option(
            "--oauth2-token-url",
            metavar="URL",
            help="Fetch tokens from this URL, by OAuth 2.0 client credentials.",
        ),
    ):
        command = option(command)
    return command


def find_oauth2(options: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the credentials as the API takes them, None if none are given.

    Raises: click.UsageError when a part is missing.
    """
    token_url, client_id, scope, path = (
        options[f"oauth2_{one}"] for one in ("token_url", "client_id", "scope", "client_secret_file")
    )
    if not any((token_url, client_id, scope, path)):
        return None
    if not token_url or not client_id:
        raise click.UsageError("give --oauth2-token-url and --oauth2-client-id together")
    if path is not None:
        secret = read_text(path, "--oauth2-client-secret-file", FILE_CHARACTERS_MAX).strip()
    else:
        secret = os.environ.get(VARIABLE, "")
    if not secret:
        raise click.UsageError(
            f"the client has no secret: set {VARIABLE}, or give --oauth2-client-secret-file"
        )
    body = {"token_url": token_url, "client_id": client_id, "client_secret": secret, "scope": scope}
    return {name: value for name, value in body.items() if value is not None}
