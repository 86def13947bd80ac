"""serve, worker, demo, receiver: programs that run until they are stopped."""

import gc
import os
import sys
from pathlib import Path

import click

from aegis_stream.settings import Settings, load_settings

from .output import print_json
from .values import PORT, Number, OptionalFile, Whole, duration

CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), help="Read settings from this TOML file (AEGIS_CONFIG)."
)

SUPERVISED = click.option("--supervised", is_flag=True, hidden=True, help="Stop when standard input ends.")


def read_settings(context: click.Context, config: Path | None) -> tuple[Settings, Path | None]:
    """Read the settings for a command, from its own --config or the group's."""
    path = config or context.find_root().obj
    return load_settings(os.environ, path), path


def _beside_the_api(context: click.Context, config: Path | None) -> Settings:
    """Return the settings of a program that works on the database of `aegis serve`, and may start before it."""
    settings, _ = read_settings(context, config)
    from .data_directory import expect_database  # noqa: PLC0415

    expect_database(settings, may_be_first=True)
    gc.disable()  # until everything is loaded: see serving.process.freeze
    return settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8700, show_default=True, type=PORT, help="Port to listen on; 0 picks a free one."
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=Whole(0, 64),
    help="Number of delivery workers; 0 runs the API alone.",
)
@click.option(
    "--api-processes",
    default=1,
    show_default=True,
    type=Whole(1, 32),
    help="Number of processes that share the API's port.",
)
@click.option(
    "--print-link/--no-print-link",
    default=None,
    help="Print a link that opens the console once.  [default: on a terminal]",
)
@click.option("--print-config", is_flag=True, help="Print the settings with secrets masked, and exit.")
@click.option("--json", "as_json", is_flag=True, help="With --print-config: print JSON.")
@CONFIG
@click.pass_context
def serve(
    context: click.Context,
    host: str,
    port: int,
    workers: int,
    api_processes: int,
    print_link: bool | None,
    print_config: bool,
    as_json: bool,
    config: Path | None,
) -> None:
    """Run the API and the delivery workers."""
    settings, path = read_settings(context, config)
    if print_config:
        shown = settings.shown()
        if as_json:
            print_json(shown)
        else:
            for name, value in shown.items():
                click.echo(f"AEGIS_{name.upper()}={value}")
        return
    gc.disable()  # until everything is loaded: see serving.process.freeze
    from aegis_stream.serving.server import Serving, run_server  # noqa: PLC0415 - the other commands start faster without the server

    run_server(settings, Serving(host, port, workers, path, api_processes, print_link))


@click.command()
@SUPERVISED
@CONFIG
@click.pass_context
def worker(context: click.Context, supervised: bool, config: Path | None) -> None:
    """Run one delivery worker, without the API."""
    settings = _beside_the_api(context, config)
    from aegis_stream.serving.worker import run_worker  # noqa: PLC0415

    run_worker(settings, supervised=supervised)


@click.command()
@SUPERVISED
@CONFIG
@click.pass_context
def sealer(context: click.Context, supervised: bool, config: Path | None) -> None:
    """Seal the logs of organizations, without the API; `aegis serve` runs one by itself."""
    settings = _beside_the_api(context, config)
    from aegis_stream.serving.sealer import run_sealer  # noqa: PLC0415

    run_sealer(settings, supervised=supervised)


@click.command(hidden=True)
@click.option("--listener-fd", required=True, type=Whole(0), help="Descriptor of the listening socket.")
@click.option("--counts-fd", required=True, type=Whole(0), help="Descriptor of the shared counters.")
@click.option("--slot", required=True, type=Whole(1, 31), help="Slot of this process in them.")
@click.option("--needs-worker", is_flag=True, help="Not ready while no delivery worker runs.")
@CONFIG
@click.pass_context
def api(
    context: click.Context,
    listener_fd: int,
    counts_fd: int,
    slot: int,
    needs_worker: bool,
    config: Path | None,
) -> None:
    """Answer API requests; started by `aegis serve --api-processes`."""
    settings, _ = read_settings(context, config)
    gc.disable()
    from aegis_stream.serving.api import Inherited, run_api  # noqa: PLC0415

    run_api(settings, Inherited(listener_fd, counts_fd, slot, needs_worker))


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8800, show_default=True, type=PORT, help="Port to listen on; 0 picks a free one."
)
@click.option(
    "--bearer",
    envvar="AEGIS_RECEIVER_BEARER",
    metavar="SECRET",
    help="Require this bearer token (AEGIS_RECEIVER_BEARER).",
)
@click.option(
    "--hmac",
    "hmac_key",
    envvar="AEGIS_RECEIVER_HMAC",
    metavar="KEY",
    help="Require X-Aegis-Signature made with this key (AEGIS_RECEIVER_HMAC). The service does not sign requests yet.",
)
@click.option(
    "--fail", default=0.0, show_default=True, type=Number(0, 1), help="Share of requests to answer with 500."
)
@click.option(
    "--latency", default="0ms", show_default=True, type=duration, help="Delay each answer: 50ms, 2s."
)
@click.option("--tls", is_flag=True, help="Serve https with a certificate generated here.")
@click.option("--tls-dir", type=click.Path(path_type=Path), help="Directory of that certificate.")
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    help="Append every request to this file, one JSON object per line.",
)
@click.option("--quiet", is_flag=True, help="Do not print events.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def receiver(
    host: str,
    port: int,
    bearer: str | None,
    hmac_key: str | None,
    fail: float,
    latency: float,
    tls: bool,
    tls_dir: Path | None,
    record: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a reference receiver.

    It verifies, prints and counts what arrives; Ctrl-C stops it.
    """
    from aegis_stream.receiver.options import ReceiverOptions  # noqa: PLC0415
    from aegis_stream.receiver.server import run  # noqa: PLC0415

    try:
        options = ReceiverOptions(
            host=host,
            port=port,
            bearer=bearer,
            hmac_key=hmac_key.encode() if hmac_key else None,
            fail=fail,
            latency_s=latency,
            tls=tls,
            tls_dir=tls_dir,
            record=record,
            quiet=quiet,
            json=as_json,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(run(options))


@click.command()
@click.option(
    "--events",
    type=OptionalFile(path_type=Path, exists=True, dir_okay=False),
    envvar="AEGIS_DEMO_EVENTS",
    help="Send the events of this file, one JSON object per line, instead of built-in ones (AEGIS_DEMO_EVENTS).",
)
@click.option(
    "--port", default=8700, show_default=True, type=PORT, help="Port of the API; if it is taken, a free one."
)
@click.option(
    "--database",
    type=click.Choice(["sqlite", "postgres"]),
    default="sqlite",
    show_default=True,
    help="postgres: two nodes on a PostgreSQL of their own, of which one is killed; it ends by itself.",
)
@CONFIG
@click.pass_context
def demo(context: click.Context, events: Path | None, port: int, database: str, config: Path | None) -> None:
    """Show everything at work on this machine.

    Runs a service and a receiver, sends events from one to the other, and prints each step. Ctrl-C stops it.
    """
    settings, path = read_settings(context, config)
    from .demo import run_demo  # noqa: PLC0415
    from .demo_context import DemoOptions  # noqa: PLC0415

    sys.exit(run_demo(settings, DemoOptions(events, port, path), nodes=database == "postgres"))
