"""Brings the schema of a database file up to date."""

from importlib import resources
from pathlib import Path

import apsw

from aegis_stream.errors import Misconfigured


def migrations() -> list[tuple[int, str]]:
    """Return the steps of the schema, (version, SQL), in order."""
    folder = resources.files(__package__).joinpath("migrations")
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name[:4]), folder.joinpath(name).read_text(encoding="utf-8")) for name in files]


def migrate(connection: apsw.Connection, path: Path) -> tuple[int, int]:
    """Make the steps that are missing, each in one transaction; a kill in the middle repeats only that step.

    Returns: schema version before and after.
    Raises: Misconfigured when the database is newer than this program, or is not of the version that it says.
    """
    steps = migrations()
    before = int(connection.pragma("user_version") or 0)
    newest = steps[-1][0]
    if before > newest:
        raise Misconfigured(
            f"the database {path.name} has schema version {before}, this program knows {newest}: "
            "it was written by a newer version; install that version, or restore the backup made before the upgrade",
            code="schema-too-new",
        )
    for version, text in steps:
        if version > before:
            try:
                with connection:
                    connection.execute(text)
                    connection.execute(f"PRAGMA user_version = {version:d}")
            except apsw.SQLError as error:
                raise Misconfigured(
                    f"the database {path.name} says schema version {before}, but its tables are of another one ({error}): "
                    "its user_version was changed by hand; set it back, or restore a backup",
                    code="schema-mismatch",
                ) from error
    return before, newest
