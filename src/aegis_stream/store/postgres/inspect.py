"""A PostgreSQL database, opened for reading alone (protocol ReadOnlyDatabase), and the check before each start."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg

from aegis_stream.domain.ids import Micros
from aegis_stream.settings import DatabaseUrl
from aegis_stream.store.database import Unit
from aegis_stream.store.suitability import Demands, Finding

from . import durability, schema
from .connect import Session, unavailable
from .facts import read_facts
from .readers import SNAPSHOT
from .unit import PostgresUnit

T = TypeVar("T")


def refuse_unsuitable(url: DatabaseUrl, demands: Demands) -> tuple[Finding, ...]:
    """Refuse a server that loses what it acknowledges: see durability.refuse_unsuitable. Raises: Unavailable as well."""
    with _readable(), Session(url) as session:
        return durability.refuse_unsuitable(session.raw, demands)


class ReadOnlyPostgres:
    """A database of which nothing is changed.

    Raises: Unavailable when it cannot be reached.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        with _readable():
            self._session = Session(url)
        try:
            with _readable():
                self.schema = schema.schema(self._session)
        except BaseException:
            self._session.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def read_now(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot. Raises: Unavailable when it cannot be read."""
        with _readable():
            try:
                return work(PostgresUnit(self._session, SNAPSHOT))
            finally:
                if not self._session.raw.closed:
                    self._session.rollback()

    def suitability(self, demands: Demands, clock: Callable[[], Micros]) -> tuple[Finding, ...]:
        """Judge the server by what it says of itself: see the protocol."""
        with _readable():
            return durability.judge(read_facts(self._session.raw, clock), demands)

    def quick_check(self, _seconds_max: float) -> list[str] | None:
        """Return nothing: the server verifies its pages itself, where it has checksums."""
        return []


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Turn what the driver says of a database that it cannot read into our error. Raises: Unavailable."""
    try:
        yield
    except psycopg.Error as error:
        raise unavailable(error, "read") from error
