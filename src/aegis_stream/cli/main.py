"""The command `aegis`: its groups, and how an error becomes one line and an exit status."""

import importlib
import os
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import click

from aegis_stream import __version__, build
from aegis_stream.errors import AegisError

MODULES = {
    "serve": "service",
    "worker": "service",
    "sealer": "service",
    "api": "service",
    "demo": "service",
    "receiver": "service",
    "org": "tenants",
    "key": "tenants",
    "console": "console",
    "vault": "vault",
    "backup": "backup",
    "restore": "backup",
    "database": "database",
    "doctor": "doctor",
    "destination": "destinations",
    "dead-letter": "dead_letters",
    "delivery": "deliveries",
    "event": "events",
    "status": "status",
    "verify": "verify",
    "proof": "proof",
}
"""Command → its module."""


class _Commands(MutableMapping[str, click.Command]):
    """The commands by name. Each is imported when it is asked for: a service or worker starts without the others."""

    def __getitem__(self, name: str) -> click.Command:
        module = importlib.import_module(f"{__package__}.{MODULES[name]}")
        command: click.Command = getattr(module, name.replace("-", "_"))
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)

    def __setitem__(self, name: str, command: click.Command) -> None:
        raise NotImplementedError

    def __delitem__(self, name: str) -> None:
        raise NotImplementedError


@click.group(
    commands=_Commands(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(
    __version__, prog_name="aegis", message=f"%(prog)s, version %(version)s ({build.label()})"
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="AEGIS_CONFIG",
    help="Read settings from this TOML file (AEGIS_CONFIG).",
)
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """Record audit events durably and deliver each of them to every destination, at least once.

    Exit status: 0 done, 1 failed, 2 wrong use.
    """
    context.obj = config


def main() -> None:
    """Run the command and exit: 0 done, 1 failed, 2 wrong use."""
    try:
        status = cli.main(prog_name="aegis", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.BadParameter as error:
        click.echo(f"Error: {error.format_message()}{_variable_of(error)}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(1)
    except AegisError as error:
        click.echo(f"aegis: {error.explained}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _variable_of(error: click.BadParameter) -> str:
    """Return how to set an option that is missing in the environment instead, if that is possible; else ""."""
    variable = error.param.envvar if error.param and isinstance(error, click.MissingParameter) else None
    return f" Give it, or set {variable}." if variable else ""
