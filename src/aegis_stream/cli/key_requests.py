"""key requests: the last ingest requests of a key, through the REST API."""

from typing import TYPE_CHECKING

import click

from .output import print_json, print_table
from .remote import through_api

if TYPE_CHECKING:
    from .client import Client

_COLUMNS = ("at", "status", "body_bytes", "accepted", "duplicates", "rejected", "reason")


@click.command("requests")
@click.argument("key_id")
@through_api
def requests(client: "Client", key_id: str, *, as_json: bool) -> None:
    """Show the last ingest requests of a key: why do events not arrive?

    Requests are noted from the first call on: send some, and call this again.
    """
    found = client.call("GET", client.org_path("api-keys", key_id, "requests"))
    if as_json:
        print_json(found)
        return
    print_table(_COLUMNS, [[one[name] for name in _COLUMNS] for one in found["data"]])
    if not found["data"]:
        click.echo(f"none yet: requests of this key are noted for {found['noted_seconds']} s from now on")
