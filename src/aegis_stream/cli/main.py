"""The command `aegis`: its groups, and how an error becomes one line and an exit status."""

import os
import sys
from pathlib import Path

import click

from aegis_stream import __version__
from aegis_stream.errors import AegisError

from .backup import backup, restore
from .dead_letters import dead_letter
from .destinations import destination
from .doctor import doctor
from .events import event
from .service import api, demo, receiver, serve, worker
from .tenants import key, org
from .vault import vault


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="aegis")
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


COMMANDS = (
    *(serve, worker, api, demo, receiver, org, key, vault, backup, restore, doctor),
    *(destination, dead_letter, event),
)
for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run the command and exit: 0 done, 1 failed, 2 wrong use."""
    try:
        status = cli.main(prog_name="aegis", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(1)
    except AegisError as error:
        click.echo(f"aegis: {error.message}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
