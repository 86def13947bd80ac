"""backup, restore: copies of the store of the data directory."""

import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .data_directory import expect_database
from .output import JSON, print_json
from .service import CONFIG, read_settings

if TYPE_CHECKING:
    from aegis_stream.store.opening import Location

FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.command()
@FILE
@JSON
@CONFIG
@click.pass_context
def backup(context: click.Context, file: Path, as_json: bool, config: Path | None) -> None:
    """Copy the database to FILE, which must not exist; the service may run meanwhile.

    The copy holds every event that was acknowledged before the command started. It is checked, synced, and appears under
    its name only when it is complete. Keep master.key apart from it.
    """
    from aegis_stream.store.opening import back_up  # noqa: PLC0415
    from aegis_stream.wiring.stores import database_location  # noqa: PLC0415

    settings, _ = read_settings(context, config)
    location = database_location(settings)
    _refuse_server(location, "back it up with pg_dump or pg_basebackup")
    expect_database(settings)
    back_up(location, file, _tell)
    size = file.stat().st_size
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        click.echo(
            f"backed up to {file} ({size / 1e6:.1f} MB), checked; "
            f"also keep {settings.store.data_dir / 'master.key'}, in another place"
        )


@click.command()
@FILE
@click.option("--replace", is_flag=True, help="Move a database that is there to a directory beside it.")
@JSON
@CONFIG
@click.pass_context
def restore(context: click.Context, file: Path, replace: bool, as_json: bool, config: Path | None) -> int:
    """Put the backup FILE in place as the database; the service must be stopped.

    The backup is checked first, and nothing changes if it is damaged. Exit status 1 if the master key does not fit it.
    """
    from aegis_stream.errors import Conflict  # noqa: PLC0415
    from aegis_stream.store.opening import restore as put_back  # noqa: PLC0415
    from aegis_stream.wiring.stores import database_location, make_folder  # noqa: PLC0415

    from .checks_running import check_running  # noqa: PLC0415

    settings, _ = read_settings(context, config)
    folder, location = settings.store.data_dir, database_location(settings)
    _refuse_server(location, "restore it with pg_restore or from its base backup")
    make_folder(folder)
    if any(check_running(folder, location.path)):
        raise Conflict(f"a service still runs on {location.path}: stop it before you restore")
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")  # noqa: TID251 - a name for a person, not a time of an event
    aside = folder / f"replaced-{stamp}" if replace else None
    put_back(location, file, aside)
    problems = _check_keys(context, config)
    moved = str(aside) if aside is not None and aside.exists() else None
    if as_json:
        print_json({"database": str(location.path), "replaced": moved, "problems": problems})
    else:
        click.echo(f"restored {location.path.absolute()} from {file}")
        if moved:
            click.echo(f"the database that was there is in {moved}")
        for problem in problems:
            click.echo(f"before you start the service: {problem}", err=True)
        if not problems:
            click.echo("the master key fits: start the service")
    return 1 if problems else 0


def _refuse_server(location: "Location", instead: str) -> None:
    """Refuse to copy a database that a server has. Raises: Misconfigured with what to use."""
    from aegis_stream.errors import Misconfigured  # noqa: PLC0415

    if location.shared:
        raise Misconfigured(
            f"AEGIS_DATABASE_URL names a PostgreSQL database: {instead}; see docs/how-to/back-up-postgresql.md"
        )


def _check_keys(context: click.Context, config: Path | None) -> list[str]:
    """Return what is wrong with the master key for the restored database."""
    from aegis_stream.errors import Misconfigured  # noqa: PLC0415
    from aegis_stream.store.opening import inspect_database  # noqa: PLC0415
    from aegis_stream.vault import Vault  # noqa: PLC0415
    from aegis_stream.wiring.master_key import key_source  # noqa: PLC0415
    from aegis_stream.wiring.process import SystemRandom  # noqa: PLC0415
    from aegis_stream.wiring.stores import database_location  # noqa: PLC0415

    from .checks_store import check_keys  # noqa: PLC0415

    settings, _ = read_settings(context, config)
    with inspect_database(database_location(settings)) as inspection:
        if inspection.schema.found < inspection.schema.newest:
            return []  # the next start migrates it and then tries the key
        try:
            keys = key_source(settings)
            vault = Vault(keys, SystemRandom())
        except Misconfigured as error:
            return [f"{error.message}: put it back from its backup, with mode 0600"]
        found = list(check_keys(keys, vault, inspection))
    return [f"{one.detail}: {one.remedy}" for one in found if one.state == "problem"]


def _tell(done: int, total: int) -> None:
    """Show progress on a terminal."""
    if sys.stderr.isatty() and total:
        click.echo(f"\r{done * 100 // total} %", err=True, nl=done >= total)
