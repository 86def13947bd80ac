"""Shards the tables by organization, on a PostgreSQL with the extension Citus.

Every table of the hot path is keyed by organization first. Rows of an organization are on one server then, and so is every append
and every settlement of one destination. The other tables are small: every server has all of them.
"""

from collections.abc import Iterator
from typing import NamedTuple, Self

import psycopg

from aegis_stream.errors import Conflict, Misconfigured
from aegis_stream.settings.database_url import DatabaseUrl

from . import schema
from .connect import Session, unavailable
from .copying import named, users_of

KEY = "org_no"
SHARDED_TABLES = (
    "organizations",
    "events",
    "clock_steps",
    "cursors",
    "attempts",
    "answers",
    "rollups",
    "retries",
    "dead_letters",
    "dead_letter_groups",
    "dead_letter_jobs",
    "replays",
    "trees",
    "tree_tiles",
    "proof_keys",
    "seal_requests",
    "seal_refusals",
)
"""Tables with an organization in their key. The first one says where the rows of the others are."""
EVERYWHERE = (
    "meta",
    "api_keys",
    "key_uses",
    "console_links",
    "destinations",
    "workers",
    "processes",
    "housekeeping",
    "master_keys",
    "operator_key",
    "sealing",
)
"""Small tables, which every server has: they are joined with the others, or are about all organizations."""
_FOUND = "SELECT logicalrelid::regclass::text FROM pg_dist_partition"
_UNIQUE_ID = "SELECT 1 FROM pg_constraint WHERE conname = 'organizations_org_id_key'"


class Step(NamedTuple):
    """One statement, and what it does."""

    text: str
    why: str


class Distribution:
    """The tables of a database, to be sharded; closed at the end of the block.

    Raises: Misconfigured when the database has no such extension, or another schema. Conflict when a service uses it. Unavailable
        when it cannot be reached.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        try:
            self._session = Session(named(url))
        except psycopg.Error as error:
            raise unavailable(error, "read") from error
        try:
            self._check()
        except psycopg.Error as error:
            self.close()
            raise unavailable(error, "read") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def plan(self) -> list[Step]:
        """Return the steps that are missing; none where all is done. Raises: Unavailable."""
        try:
            found = {name for (name,) in self._session.cursor.execute(_FOUND).fetchall()}
            unique = self._session.cursor.execute(_UNIQUE_ID).fetchone() is not None
        except psycopg.Error as error:
            raise unavailable(error, "read") from error
        return list(_steps(found, unique=unique))

    def run(self, text: str) -> None:
        """Run a statement of the plan. Raises: Unavailable; then nothing of it is done."""
        try:
            self._session.exec(text)
        except psycopg.Error as error:
            raise unavailable(error, "written to") from error

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _check(self) -> None:
        if not self._session.sharded:
            raise Misconfigured(
                f"{self._url} has no extension citus: create it on a PostgreSQL that has it (CREATE EXTENSION citus), and add its servers",
                code="no-citus",
            )
        newest = schema.steps()[-1].version
        if schema.found_schema(self._session)[0] != newest:
            raise Misconfigured(
                f"{self._url} does not have schema version {newest}: start and stop the service of this version on it once",
                code="schema-too-old",
            )
        if reason := users_of(self._session):
            raise Conflict(
                f"a service uses the database ({reason}): stop it on all nodes", code="database-in-use"
            )


def _steps(found: set[str], *, unique: bool) -> Iterator[Step]:
    """Yield the steps that are missing.

    Args:
        found: tables that are sharded, or everywhere, already.
        unique: whether ids of organizations are unique by a constraint.
    """
    if unique:  # creating one looks for its id first, one transaction after the other in the whole database
        yield Step(
            "ALTER TABLE organizations DROP CONSTRAINT organizations_org_id_key; "
            "CREATE INDEX IF NOT EXISTS organizations_by_id ON organizations (org_id); "
            "CREATE OR REPLACE FUNCTION aegis_timeline() RETURNS TEXT LANGUAGE sql STABLE AS $$SELECT text ''$$; "
            "UPDATE workers SET timeline = ''",
            "a constraint of a sharded table must name the organization's number; and each server has a timeline of its own",
        )
    for table in EVERYWHERE:
        if table not in found:
            yield Step(f"SELECT create_reference_table('{table}')", "every server has all of it")
    for table in SHARDED_TABLES:
        if table not in found:
            beside = "" if table == SHARDED_TABLES[0] else f", colocate_with => '{SHARDED_TABLES[0]}'"
            yield Step(
                f"SELECT create_distributed_table('{table}', '{KEY}'{beside})",
                "rows of an organization are on one server",
            )
            yield Step(
                f"SELECT truncate_local_data_after_distributing_table('{table}')",
                "the rows from before are on the servers now",
            )
