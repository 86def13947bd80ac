"""database: moves an installation from one database to another."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import JSON, print_json, print_table
from .remote import YES, confirm
from .service import CONFIG, read_settings

if TYPE_CHECKING:
    from aegis_stream.settings import DatabaseUrl, Settings
    from aegis_stream.store.copying import Compared, Copied

_SHOWN_MAX = 3
"""How many organizations of a table that differs are named."""


@click.group()
def database() -> None:
    """Move an installation to another database."""


@database.command("copy")
@click.option(
    "--from", "source", metavar="URL", help="Database to copy; default: aegis.db in AEGIS_DATA_DIR."
)
@click.option("--from-env", metavar="NAME", help="Variable that has the URL of the database to copy.")
@click.option("--to", "target", metavar="URL", help="Empty database to copy to; default: AEGIS_DATABASE_URL.")
@click.option("--to-env", metavar="NAME", help="Variable that has the URL of the database to copy to.")
@click.option(
    "--first-pass",
    is_flag=True,
    help="Leave the copy unfinished, so that another run brings it up to date: copy from a backup while the service runs.",
)
@JSON
@CONFIG
@click.pass_context
def copy(
    context: click.Context,
    source: str | None,
    from_env: str | None,
    target: str | None,
    to_env: str | None,
    first_pass: bool,
    as_json: bool,
    config: Path | None,
) -> int:
    """Copy everything to an empty database, and compare the two row by row.

    Stop the service first. If the copy was interrupted, run it again: it goes on where it stopped. No service starts on a
    copy that is unfinished. The list of processes shows URLs on the command line: give a URL with a password in a variable.

    Exit status 1 if a row differs, an event of the source is damaged, or the source was used meanwhile.
    """
    from aegis_stream.store.copying import copy as copy_rows  # noqa: PLC0415
    from aegis_stream.store.opening import open_copy_source, open_copy_target  # noqa: PLC0415

    settings, _ = read_settings(context, config)
    origin = _chosen("from", source, from_env) or _file_of(settings)
    destination = _chosen("to", target, to_env) or settings.store.database_url
    if destination is None:
        raise click.UsageError("name the database to copy to: --to, --to-env or AEGIS_DATABASE_URL")
    if origin == destination:
        raise click.UsageError(
            "source and target are the same database: name another one with --from or --to"
        )
    one = open_copy_source(origin)
    try:
        other = open_copy_target(destination)
        try:
            copied = copy_rows(one, other, _Progress().tell, keep_unfinished=first_pass)
        finally:
            other.close()
    finally:
        one.close()
    problems = _problems(copied)
    if as_json:
        print_json(_as_json(copied, problems, finished=not first_pass))
    else:
        _print(copied, settings, str(destination), problems, first_pass=first_pass)
    return 1 if problems else 0


@database.command("distribute")
@click.option("--in", "place", metavar="URL", help="The database; default: AEGIS_DATABASE_URL.")
@YES
@JSON
@CONFIG
@click.pass_context
def distribute(
    context: click.Context, place: str | None, yes: bool, as_json: bool, config: Path | None
) -> int:
    """Shard the tables by organization, on a PostgreSQL with the extension Citus.

    Stop the service first. It prints what it will do, and asks. Steps that are done already are left out, so run it again after an
    interruption, and after an upgrade that adds a table.
    """
    from aegis_stream.store.opening import open_distribution  # noqa: PLC0415

    settings, _ = read_settings(context, config)
    url = _chosen("in", place, None) or settings.store.database_url
    if url is None:
        raise click.UsageError("name the database: --in or AEGIS_DATABASE_URL")
    distribution = open_distribution(url)
    try:
        steps = distribution.plan()
        for text, why in steps:
            click.echo(f"{text};  -- {why}", err=as_json)
        if steps:
            confirm(f"Run these {len(steps)} statements in {url}?", yes=yes)
        for text, _ in steps:
            distribution.run(text)
    finally:
        distribution.close()
    if as_json:
        print_json({"statements": [text for text, _ in steps]})
    else:
        click.echo(
            "every table is distributed: start the service" if steps else "every table is distributed already"
        )
    return 0


def _chosen(option: str, text: str | None, variable: str | None) -> "DatabaseUrl | None":
    """Return the URL that an option gives, or its variable; None without. Raises: UsageError; it repeats no part of the URL."""
    from aegis_stream.settings import DatabaseUrl  # noqa: PLC0415

    if text is not None and variable is not None:
        raise click.UsageError(f"give --{option} or --{option}-env, not both")
    name = f"--{option}"
    if variable is not None:
        name, text = variable, os.environ.get(variable)
        if not text:
            raise click.UsageError(
                f"the variable {variable} is not set: --{option}-env must name one that has a URL"
            )
    if text is None:
        return None
    try:
        return DatabaseUrl.parse(text)
    except ValueError as error:
        raise click.UsageError(f"{name} is not the URL of a database: it must {error}") from error


def _file_of(settings: "Settings") -> "DatabaseUrl":
    from aegis_stream.settings import DatabaseUrl  # noqa: PLC0415

    return DatabaseUrl(path=settings.store.data_dir / "aegis.db")


class _Progress:
    """Tells on standard error how far a copy is: on a terminal in one line, elsewhere now and then."""

    def __init__(self) -> None:
        self._shown = ("", -1)

    def tell(self, what: str, done: int, total: int) -> None:
        """Show how many rows of a table are copied."""
        tenth = done * 10 // total if total else -1
        if (what, tenth) == self._shown and not sys.stderr.isatty():
            return
        shown = f"{what}: {done:,}" + (f" of {total:,}" if total else "")
        if sys.stderr.isatty():
            click.echo(
                f"{'' if what == self._shown[0] or not self._shown[0] else chr(10)}\r{shown}",
                err=True,
                nl=False,
            )
        elif total or what != self._shown[0]:
            click.echo(shown, err=True)
        self._shown = (what, tenth)


def _problems(copied: "Copied") -> list[str]:
    """Return what keeps the copy from being used as it is, and what to do."""
    found = []
    if not copied.is_equal:
        found.append(
            "the copy differs from the source: run this again; if it still differs, copy to another database"
        )
    if copied.used_meanwhile:
        found.append("the source was used while it was copied: stop the service, and run this again")
    if copied.damaged:
        shown = ", ".join(f"{org_id} {sequence}" for org_id, sequence in copied.damaged_shown)
        found.append(
            f"events of the source that are damaged, and are not in the copy: {copied.damaged} ({shown}); "
            "see `aegis doctor` on the source; everything else is usable"
        )
    return found


def _print(
    copied: "Copied", settings: "Settings", target: str, problems: list[str], *, first_pass: bool
) -> None:
    if sys.stderr.isatty():
        click.echo(err=True)
    print_table(
        ("table", "organizations", "source rows", "copied rows", "checksums"),
        [
            (one.table, one.organizations or "", one.source_rows, one.target_rows, _verdict(one))
            for one in copied.tables
        ],
    )
    for problem in problems:
        click.echo(problem, err=True)
    if first_pass:
        click.echo(f"first pass to {target} done: stop the service, and run this again without --first-pass")
    elif copied.is_equal and not copied.used_meanwhile:
        click.echo(f"copied to {target}: all rows are equal")
        click.echo(
            f"take along the master key ({settings.store.data_dir / 'master.key'}, or what AEGIS_MASTER_KEY has) and the "
            "operator's key; then start the service with AEGIS_DATABASE_URL"
        )


def _verdict(one: "Compared") -> str:
    if not one.differing:
        return "equal"
    more = len(one.differing) - _SHOWN_MAX
    shown = ", ".join(name or "rows of no organization" for name in one.differing[:_SHOWN_MAX])
    return f"differ: {shown}" + (f" and {more} more" if more > 0 else "")


def _as_json(copied: "Copied", problems: list[str], *, finished: bool) -> dict[str, object]:
    return {
        "tables": [one._asdict() for one in copied.tables],
        "equal": copied.is_equal,
        "finished": finished and copied.is_equal and not copied.used_meanwhile,
        "damaged_events": copied.damaged,
        "problems": problems,
    }
