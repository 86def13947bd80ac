"""status: how the service does, through the REST API with the operator key."""

from typing import Any

import click

from aegis_stream.errors import Invalid

from .output import JSON, print_json, print_table
from .remote import URL_DEFAULT


@click.command()
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
    envvar="AEGIS_OPERATOR_KEY",
    required=True,
    help="Operator key. Set AEGIS_OPERATOR_KEY instead: the process list shows command lines.",
)
@JSON
def status(service_url: str, key: str, *, as_json: bool) -> None:
    """Show how the service does: store, organizations, workers, ingest."""
    from .client import Client  # noqa: PLC0415 - commands that call nobody start faster without it

    try:
        client = Client(service_url, key)
    except Invalid as error:
        raise click.UsageError(error.message.replace("AEGIS_API_KEY", "AEGIS_OPERATOR_KEY")) from error
    with client:
        found = client.call("GET", "/api/status")
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    store, organizations, destinations = found["store"], found["organizations"], found["destinations"]
    requests = found["ingest"]["requests"]
    rows = [
        ("version", f"{found['version']} ({found['build']})"),
        ("store", f"{store['kind']}, {store['stored_bytes']:,} bytes of events"),
        *([("disk", _disk_text(store["disk"]))] if store["disk"] else []),
        (
            "organizations",
            f"{organizations['total']:,}, {organizations['failing']:,} with a failing destination",
        ),
        (
            "destinations",
            f"{destinations['total']:,}, {destinations['failing']:,} failing, {destinations['unserved']:,} without a worker",
        ),
        (
            "events",
            (
                f"{destinations['waiting']:,} waiting, {destinations['retrying']:,} to be retried, "
                f"{destinations['dead_letters']:,} dead letters"
            ),
        ),
        (
            "ingest",
            ", ".join(f"{status} {count:,}" for status, count in requests.items()) or "no request yet",
        ),
    ]
    for name, text in rows:
        click.echo(f"{name:<14} {text}")
    click.echo()
    print_table(
        ("worker", "started_at", "destinations", "lease_seconds"),
        [
            [one[name] for name in ("id", "started_at", "destinations", "lease_seconds")]
            for one in found["workers"]
        ],
    )
    click.echo()
    print_table(
        ("service", "started_at", "api_processes"),
        [[one[name] for name in ("id", "started_at", "api_processes")] for one in found["services"]],
    )


def _disk_text(disk: dict[str, int]) -> str:
    used = 1 - disk["free_bytes"] / disk["total_bytes"] if disk["total_bytes"] else 0
    return f"{used:.0%} used, {disk['free_bytes']:,} bytes free"
