"""Reads of one process: each on a snapshot, on a connection of its thread."""

import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

import psycopg

from aegis_stream.store.database import Unit

from .connect import UNPREPARED, Session, unavailable
from .unit import PostgresUnit

T = TypeVar("T")

GONE = (psycopg.OperationalError, psycopg.errors.FeatureNotSupported, *UNPREPARED)
"""After these a new connection is needed: the old one is lost, or has plans from before a change of the schema, or none at all."""
SNAPSHOT = "ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Readers:
    """A connection for every thread that reads.

    Args:
        connect: opens a connection.
    """

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect = connect
        self._local = threading.local()
        self._opened: list[Session] = []

    def read(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on a snapshot; once more where the connection turns out to be gone.

        Raises: what `work` raised; Unavailable.
        """
        try:
            try:
                return self._once(work)
            except GONE:
                return self._once(work)
        except GONE as error:
            raise unavailable(error, "read") from error

    def close(self) -> None:
        """Close all connections; nobody reads any more."""
        for session in self._opened:
            with contextlib.suppress(psycopg.Error):
                session.close()

    def _once(self, work: Callable[[Unit], T]) -> T:
        session = self._session()
        unit = PostgresUnit(session, SNAPSHOT)
        try:
            with session.busy():
                result = work(unit)
        except GONE:
            self._drop(session)
            raise
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                session.rollback()
            raise
        if unit.begun:
            session.commit()
        return result

    def _session(self) -> Session:
        session: Session | None = getattr(self._local, "session", None)
        if session is not None and session.is_stale():
            self._drop(session)
            session = None
        if session is None:
            session = self._local.session = self._connect()
            self._opened.append(session)
        return session

    def _drop(self, session: Session) -> None:
        self._local.session = None
        self._opened.remove(session)
        with contextlib.suppress(psycopg.Error):
            session.close()
