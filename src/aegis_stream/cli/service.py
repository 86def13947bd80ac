"""serve, worker, demo, receiver: the programs that run until they are told to stop."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from aegis_stream.settings import Settings, load_settings

from .output import print_json

CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), help="TOML file with settings (AEGIS_CONFIG)."
)


class _OptionalFile(click.Path):
    """A file, or nothing where the text is empty, as from an unset variable of make."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value == "" else super().convert(value, param, ctx)


def read_settings(context: click.Context, config: Path | None) -> tuple[Settings, Path | None]:
    """Read the settings for a command, from its own --config or the group's."""
    path = config or context.find_root().obj
    return load_settings(os.environ, path), path


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8700,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Port; 0 takes a free one.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(0, 64),
    help="Delivery workers; 0 for the API alone.",
)
@click.option(
    "--api-processes",
    default=1,
    show_default=True,
    type=click.IntRange(1, 32),
    help="Processes that answer the API, on one port.",
)
@click.option("--print-config", is_flag=True, help="Show the settings, secrets masked, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --print-config: as JSON.")
@CONFIG
@click.pass_context
def serve(
    context: click.Context,
    host: str,
    port: int,
    workers: int,
    api_processes: int,
    print_config: bool,
    as_json: bool,
    config: Path | None,
) -> None:
    """Run the API and deliver what it records."""
    settings, path = read_settings(context, config)
    if print_config:
        shown = settings.shown()
        if as_json:
            print_json(shown)
        else:
            for name, value in shown.items():
                click.echo(f"AEGIS_{name.upper()}={value}")
        return
    from aegis_stream.serving import Serving, run_server  # noqa: PLC0415 - the other commands start faster without the server

    run_server(settings, Serving(host, port, workers, path, api_processes))


@click.command()
@click.option("--supervised", is_flag=True, hidden=True, help="End when standard input ends.")
@CONFIG
@click.pass_context
def worker(context: click.Context, supervised: bool, config: Path | None) -> None:
    """Deliver what is recorded, without the API."""
    settings, _ = read_settings(context, config)
    from aegis_stream.serving import run_worker  # noqa: PLC0415

    run_worker(settings, supervised=supervised)


@click.command(hidden=True)
@click.option("--listener-fd", required=True, type=click.IntRange(0), help="The listener.")
@click.option("--counts-fd", required=True, type=click.IntRange(0), help="The counts of all API processes.")
@click.option("--slot", required=True, type=click.IntRange(1, 31), help="This process's place in them.")
@CONFIG
@click.pass_context
def api(context: click.Context, listener_fd: int, counts_fd: int, slot: int, config: Path | None) -> None:
    """Answer the API beside `aegis serve --api-processes`, which starts this command."""
    settings, _ = read_settings(context, config)
    from aegis_stream.serving import Inherited, run_api  # noqa: PLC0415

    run_api(settings, Inherited(listener_fd, counts_fd, slot))


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8800,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Port; 0 takes a free one.",
)
@click.option(
    "--bearer", envvar="AEGIS_RECEIVER_BEARER", help="Token that requests must carry (AEGIS_RECEIVER_BEARER)."
)
@click.option(
    "--hmac",
    "hmac_key",
    envvar="AEGIS_RECEIVER_HMAC",
    help="Key of the signature that requests must carry (AEGIS_RECEIVER_HMAC).",
)
@click.option(
    "--fail",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of requests answered 500.",
)
@click.option("--latency", default="0ms", show_default=True, help="Wait before each answer: 50ms, 2s.")
@click.option("--tls", is_flag=True, help="Serve https with a certificate made here.")
@click.option("--tls-dir", type=click.Path(path_type=Path), help="Where that certificate lies.")
@click.option(
    "--record", type=click.Path(path_type=Path), help="Append every request to this file, as lines of JSON."
)
@click.option("--quiet", is_flag=True, help="Do not print events.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON.")
def receiver(
    host: str,
    port: int,
    bearer: str | None,
    hmac_key: str | None,
    fail: float,
    latency: str,
    tls: bool,
    tls_dir: Path | None,
    record: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run the reference receiver: shows what arrives, verifies, counts duplicates."""
    from aegis_stream.receiver.server import ReceiverOptions, run  # noqa: PLC0415

    try:
        options = ReceiverOptions(
            host=host,
            port=port,
            bearer=bearer,
            hmac_key=hmac_key.encode() if hmac_key else None,
            fail=fail,
            latency_s=_seconds(latency),
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
    type=_OptionalFile(path_type=Path, exists=True, dir_okay=False),
    envvar="AEGIS_DEMO_EVENTS",
    help="Your own events, NDJSON.",
)
@click.option(
    "--port",
    default=8700,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Port of the API; a free one if it is taken.",
)
@CONFIG
@click.pass_context
def demo(context: click.Context, events: Path | None, port: int, config: Path | None) -> None:
    """Run everything on this machine: service, receiver, events that arrive. Ctrl-C ends it."""
    settings, path = read_settings(context, config)
    from .demo import run_demo  # noqa: PLC0415

    sys.exit(run_demo(settings, events, port, path))


def _seconds(text: str) -> float:
    """Read a duration such as 50ms or 2s."""
    for unit, factor in (("ms", 0.001), ("s", 1.0)):
        if text.endswith(unit):
            try:
                seconds = float(text.removesuffix(unit)) * factor
            except ValueError:
                break
            if 0 <= seconds <= 3600:
                return seconds
    raise click.BadParameter(f"{text!r} is not a duration such as 50ms or 2s", param_hint="--latency")
