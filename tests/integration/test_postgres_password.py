"""Promises about the password of the database: no error of a connection has it, and none that an open connection shows."""

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from aegis_stream.settings import DatabaseUrl
from aegis_stream.store.postgres.connect import Session
from aegis_stream.store.postgres.database import PostgresDatabase
from support.canaries import canary, leaks
from support.postgres import ROLE, running_server, shared_server


@contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """Answer whoever connects with these bytes, and hang up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            with one:
                one.settimeout(5)
                one.recv(4096)
                one.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def closed_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def here(query: str = "") -> str:
    """Return the address of a server that is there, with a database that is not."""
    return f"127.0.0.1:{shared_server().port}/nothing{query}"


PLACES: dict[str, Callable[[Path], str]] = {
    "wrong password": lambda _: here(),
    "closed port": lambda _: f"127.0.0.1:{closed_port()}/d",
    "no name": lambda _: "nowhere.invalid/d",
    "several, none there": lambda _: f"127.0.0.1:{closed_port()},nowhere.invalid,[::1]:{closed_port()}/d",
    "no socket": lambda folder: f"/d?host={folder}",
    "no TLS there": lambda _: here("?sslmode=require"),
    "no authority": lambda folder: here(f"?sslmode=verify-full&sslrootcert={folder}/missing.pem"),
    "no certificate": lambda folder: here(f"?sslmode=require&sslcert={folder}/missing.pem"),
    "wrong number": lambda _: here("?connect_timeout=soon"),
    "wrong word": lambda _: here("?sslmode=maybe"),
    "no service": lambda _: here("?service=missing"),
    "other authentication": lambda _: here("?require_auth=none"),
}


def everything_of(error: BaseException) -> bytes:
    """Return all texts of an error, of what it came from, and of what a reporter of errors would read of it."""
    shown = [*traceback.format_exception(error)]
    while error is not None:
        shown += [repr(error), str(error), repr(error.args), repr(getattr(error, "__notes__", ""))]
        shown += [repr(value) for value in vars(error).values()]
        error = error.__cause__ or error.__context__
    return "".join(shown).encode()


@pytest.mark.parametrize("what", PLACES)
def test_no_error_of_a_connection_repeats_the_password(tmp_path, what):
    """Whatever keeps a connection from being made, no text of its error has the password."""
    secret = canary()
    url = DatabaseUrl.parse(f"postgresql://aegis:{secret}@{PLACES[what](tmp_path)}")

    with pytest.raises(psycopg.Error) as caught:
        Session(url)

    assert leaks({"password": secret}, [(what, everything_of(caught.value))]) == []


@pytest.mark.parametrize(
    "reply", [b"S", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"E\0\0\0\x0fSFATAL\0M%s\0\0", b""], ids=ascii
)
def test_no_other_server_makes_the_driver_repeat_it(reply):
    """A port on which something else listens gets no password out of the driver's errors."""
    secret = canary()
    with answering(reply) as port:
        url = DatabaseUrl.parse(f"postgresql://aegis:{secret}@127.0.0.1:{port}/d")

        with pytest.raises(psycopg.Error) as caught:
            Session(url)

    assert leaks({"password": secret}, [("error", everything_of(caught.value))]) == []


def test_the_password_may_come_from_a_password_file_of_libpq(postgres_url, tmp_path, monkeypatch):
    """Without a password in the URL, libpq takes it from `?passfile=…` or PGPASSFILE."""
    url = DatabaseUrl.parse(postgres_url)
    path = tmp_path / "pgpass"
    path.write_text(f"*:*:*:*:{url.password}\n")
    path.chmod(0o600)
    bare = postgres_url.replace(f":{url.password}@", "@")

    with Session(DatabaseUrl.parse(f"{bare}?passfile={path}")) as session:
        assert session.raw.info.user == url.user
    monkeypatch.setenv("PGPASSFILE", str(path))
    with Session(DatabaseUrl.parse(bare)) as session:
        assert session.raw.info.user == url.user


def test_a_password_that_is_rotated_needs_no_restart(tmp_path):
    """A database that is open goes on after its password was changed, in the server and in its file, and its connections were cut."""
    path = tmp_path / "password"
    with running_server() as server, server.database() as url:
        bare = url.replace(f":{server.password}@", "@")
        path.write_text(server.password)
        db = PostgresDatabase(DatabaseUrl.parse(bare).with_password_of(path))
        try:
            before = db.migrate()[1]
            server.sql(f"ALTER ROLE {ROLE} PASSWORD 'new/p@ss%word'")
            path.write_text("new/p@ss%word\n")
            server.terminate_backends()

            assert db.write_now(lambda unit: unit.now()) > 0
            assert db.migrate() == (before, before)
        finally:
            db.close()


def test_an_open_connection_shows_no_password(postgres_url):
    """Nor does a connection that was made: its texts name host, user and database."""
    url = DatabaseUrl.parse(postgres_url)

    with Session(url) as session:
        info = session.raw.info
        shown = [repr(session), repr(session.raw), info.dsn, str(info.get_parameters()), repr(vars(session))]
        with pytest.raises(psycopg.Error) as caught:
            session.raw.execute("SELECT wrong")

    places = [("connection", "".join(shown).encode()), ("error", everything_of(caught.value))]
    assert leaks({"password": url.password}, places) == []
