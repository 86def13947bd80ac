"""The PgBouncer of the tests: it pools transactions, as those that test the product behind it believe."""

import subprocess

import pytest

from support.pgbouncer import running_pgbouncer, version
from support.postgres import PostgresServer, shared_server

pytestmark = pytest.mark.slow


class Client:
    """A psql that stays connected."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        command = [server.psql, "-XAtq", "-f", "-", url]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, text: str) -> str:
        """Execute statements that return one line in all."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(text, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()


def test_transactions_of_one_client_have_different_server_connections(postgres_url: str):
    """A client that comes back after its transaction may get another connection of the server."""
    server = shared_server()
    with running_pgbouncer(server, pool_size=2) as pooler:
        url = pooler.url(postgres_url.rpartition("/")[2])
        client, other = Client(server, url), Client(server, url)
        with client.process, other.process:
            first = client.ask("SELECT pg_backend_pid();")
            assert other.ask("BEGIN; SELECT pg_backend_pid();") == first, (
                "it took the connection that was free"
            )

            assert client.ask("SELECT pg_backend_pid();") != first
            # Other tests have databases of their own on this server, and their connections may still be there.
            database = postgres_url.rpartition("/")[2]
            used = f"SELECT 1 FROM pg_stat_activity WHERE usename = 'aegis' AND datname = '{database}'"
            assert len(server.sql(used)) == 2


def test_more_clients_than_server_connections_are_served(postgres_url: str):
    """Clients beyond the size of the pool wait for a connection instead of being refused."""
    server = shared_server()
    with running_pgbouncer(server, pool_size=1) as pooler:
        url = pooler.url(postgres_url.rpartition("/")[2], connect_timeout="20")
        command = [server.psql, "-XAtq", "-c", "SELECT pg_sleep(0.05), 1", url]
        clients = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
        assert [client.communicate(timeout=60)[0] for client in clients] == ["|1\n"] * 8


def test_the_version_is_known():
    """Tests can ask what this PgBouncer can do."""
    assert version() >= (1, 12)
