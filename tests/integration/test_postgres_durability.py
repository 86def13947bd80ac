"""Promises of a start on real PostgreSQL servers: one that would lose events is refused, whatever makes it so."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from aegis_stream.domain.ids import Micros
from aegis_stream.errors import Misconfigured
from aegis_stream.receiver.tls import ensure_certificate
from aegis_stream.settings import DatabaseUrl
from aegis_stream.store.postgres.connect import Session
from aegis_stream.store.postgres.durability import judge, refuse_unsuitable
from aegis_stream.store.postgres.facts import Facts, read_facts
from aegis_stream.store.suitability import Demands
from aegis_stream.wiring.process import SystemClock
from support.pgbouncer import running_pgbouncer
from support.postgres import ROLE, PostgresServer, give_away, running_server
from support.standbys import running_cluster

HOUR_US = 3_600_000_000


@contextmanager
def session(url: str) -> Iterator[psycopg.Connection]:
    """Open a session that is set up as the service's are."""
    with psycopg.connect(DatabaseUrl.parse(url).conninfo(), autocommit=True) as connection:
        connection.execute("SET synchronous_commit = on")
        connection.execute("SET jit = off")
        yield connection


def facts_of(url: str) -> Facts:
    """Return what a server says of itself."""
    with session(url) as connection:
        return read_facts(connection, SystemClock().now)


def refusal(url: str, demands: Demands | None = None) -> str:
    """Return the line with which a server is refused."""
    with session(url) as connection, pytest.raises(Misconfigured) as caught:
        refuse_unsuitable(connection, demands or Demands())
    assert caught.value.code == "database-unsuitable"
    assert "\n" not in caught.value.message
    return caught.value.message


def states(facts: Facts) -> dict[str, str]:
    """Return the rows that are not ok."""
    return {one.row: one.state for one in judge(facts) if one.state != "ok"}


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """Yield a server that a test may configure."""
    with running_server() as server:
        yield server


def test_a_sound_server_is_accepted(postgres_url):
    """An ordinary role of a server with default settings sees everything that is judged, and nothing is refused."""
    facts = facts_of(postgres_url)

    assert states(facts) == {}
    assert facts.version >= 140_000
    assert (facts.encoding, facts.in_recovery, facts.superuser, facts.pooled) == ("UTF8", False, False, False)
    assert (facts.managed, facts.standbys, facts.encrypted, facts.remote) == ("", (), False, False)
    assert facts.settings.keys() >= {
        "fsync",
        "full_page_writes",
        "synchronous_commit",
        "data_checksums",
        "jit",
    }
    assert facts.connections >= 1
    with session(postgres_url) as connection:
        assert refuse_unsuitable(connection) == ()


def test_a_transaction_is_not_left_open(postgres_url):
    """Asking leaves the session idle, also one that begins transactions by itself and makes other kinds of rows."""
    with psycopg.connect(
        postgres_url, row_factory=psycopg.rows.dict_row, cursor_factory=psycopg.RawCursor
    ) as connection:
        refuse_unsuitable(connection)

        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@pytest.mark.parametrize(
    "setting, words", [("fsync", "set fsync = on"), ("full_page_writes", "set full_page_writes = on")]
)
def test_a_server_that_does_not_sync_is_refused(own, setting, words):
    """A server with fsync or full_page_writes off is refused with what to set, and accepted when it is set and reloaded."""
    with own.database() as url:
        own.configure(**{setting: "off"})
        own.restart()
        assert words in refusal(url)

        own.configure(**{setting: "on"})
        own.restart()
        assert states(facts_of(url)) == {}


def test_torn_pages_may_be_vouched_for(own):
    """With AEGIS_ATOMIC_PAGES a server without full_page_writes is accepted, and that is told."""
    own.configure(full_page_writes="off")
    own.restart()

    with own.database() as url, session(url) as connection:
        found = refuse_unsuitable(connection, Demands(atomic_pages=True))

    assert [(one.row, one.state) for one in found] == [("full_page_writes", "info")]


@pytest.mark.parametrize("value", ["off", "local", "remote_write"])
def test_the_default_of_the_database_loses_against_our_sessions(postgres_url, value):
    """A database whose sessions have a weaker synchronous_commit is accepted: our sessions set it to on, and read it back."""
    with session(postgres_url) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = {value}")

    facts = facts_of(postgres_url)

    assert (facts.settings["synchronous_commit"], facts.defaults["synchronous_commit"]) == ("on", value)
    assert states(facts) == {}


def test_the_defaults_of_role_and_server_lose_against_our_sessions(own):
    """So is a role or a server with a weaker one."""
    own.configure(synchronous_commit="off")
    with own.database() as url:
        own.restart()
        server = facts_of(url)
        own.sql(f"ALTER ROLE {ROLE} SET synchronous_commit = local")
        role = facts_of(url)

    assert (server.defaults["synchronous_commit"], states(server)) == ("off", {})
    assert (role.defaults["synchronous_commit"], states(role)) == ("local", {})


def test_a_session_that_was_not_set_up_is_refused(own):
    """A setting that did not arrive, because something in between dropped it, is found by reading it back."""
    own.sql(f"ALTER ROLE {ROLE} SET synchronous_commit = off")

    with (
        own.database() as url,
        psycopg.connect(url) as connection,
        pytest.raises(Misconfigured, match="ALTER ROLE"),
    ):
        refuse_unsuitable(connection)


def test_a_database_in_another_encoding_is_refused(own):
    """A database that cannot hold every event is refused, with how to make one that can."""
    own.sql(f"CREATE DATABASE latin OWNER {ROLE} ENCODING 'LATIN1' TEMPLATE template0")

    assert "ENCODING 'UTF8'" in refusal(own.url("latin"))


def test_a_role_that_may_not_write_is_refused(own):
    """A role whose transactions are read-only by default is refused."""
    with own.database() as url:
        own.sql(f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")

        assert "default_transaction_read_only" in refusal(url)


def test_a_clock_that_is_wrong_is_warned_of(postgres_url):
    """The server's clock is compared with ours, in both directions."""
    with session(postgres_url) as connection:
        for ahead in (HOUR_US, -HOUR_US, 0):
            facts = read_facts(connection, lambda ahead=ahead: Micros(SystemClock().now() - ahead))

            assert states(facts) == ({"server clock": "warn"} if ahead else {})
            assert abs(facts.clock_ahead_us - ahead) < 60_000_000


def test_a_dead_slot_is_warned_of_until_it_is_limited(own):
    """A slot that nobody reads fills the disk, unless the server limits what it keeps."""
    own.sql("SELECT pg_create_physical_replication_slot('gone', true)")
    with own.database() as url:
        assert states(facts_of(url)) == {"slots": "warn"}

        own.configure(max_slot_wal_keep_size="1GB")
        own.restart()
        assert states(facts_of(url)) == {}


def test_checksums_superuser_and_room_are_told(own):
    """What is worth knowing of a server is told: a superuser, and few connections left."""
    own.configure(max_connections="9", superuser_reserved_connections="3")
    own.restart()

    with own.database() as url:
        facts = facts_of(url)
        assert states(facts) == {"connections": "warn"}
        assert "1 of 6 in use" in next(one.detail for one in judge(facts) if one.row == "connections")
        assert states(facts_of(own.url(url.rpartition("/")[2], role="postgres")))["role"] == "info"


def test_storage_that_replicates_is_recognized(postgres_url):
    """A service whose storage replicates is recognized by its function, and then vouches for what cannot be seen."""
    with session(postgres_url) as connection:
        connection.execute("CREATE FUNCTION aurora_version() RETURNS text LANGUAGE sql AS $$ SELECT '17' $$")

        facts = read_facts(connection)
        rest = refuse_unsuitable(connection, Demands(require_sync=True))

    assert (facts.managed, rest) == ("Amazon Aurora", ())


def test_tls_is_recognized_and_checked(own, tmp_path):
    """An encrypted connection is told from one that is not; a certificate of another authority is refused, without the password."""
    folder = own.folder / "tls"
    certificate = ensure_certificate(folder, dt.datetime.now(dt.UTC))
    other = ensure_certificate(tmp_path / "other", dt.datetime.now(dt.UTC))
    for path in (folder, *folder.iterdir()):
        give_away(path)
    own.configure(ssl="on", ssl_cert_file=str(certificate.chain), ssl_key_file=str(certificate.key))
    own.restart()

    with own.database() as url:
        checked = f"{url}?sslmode=verify-full&sslrootcert="
        assert facts_of(f"{url}?sslmode=disable").encrypted is False
        assert facts_of(f"{checked}{certificate.ca_certificate}").encrypted is True
        for place in (other.ca_certificate, tmp_path / "missing.pem"):
            with pytest.raises(psycopg.Error) as caught:
                Session(DatabaseUrl.parse(f"{checked}{place}"))
            assert own.password not in repr(caught.value) + repr(vars(caught.value))


def test_a_pooler_is_recognized_and_the_default_of_the_role_counts(own):
    """Behind a pooler, also one with a single idle connection, a weaker default of the role is refused until it is changed."""
    with own.database() as url, running_pgbouncer(own, pool_size=1) as pooler:
        pooled = pooler.url(url.rpartition("/")[2])
        assert states(facts_of(pooled)) == {"pooler": "info"}

        own.sql(f"ALTER ROLE {ROLE} SET synchronous_commit = off")
        own.terminate_backends(url.rpartition("/")[2])

        assert "ALTER ROLE" in refusal(pooled)


@pytest.mark.slow
def test_standbys_that_commits_do_not_wait_for_are_warned_of():
    """An asynchronous standby is a warning, or a refusal where AEGIS_REQUIRE_SYNC demands one; a quorum is fine, and named."""
    with running_cluster(standbys=1, quorum=False) as cluster, cluster.primary.database() as url:
        assert states(facts_of(url)) == {"standbys": "warn"}
        assert "AEGIS_REQUIRE_SYNC" in refusal(url, Demands(require_sync=True))

        cluster.require_quorum()
        hidden = facts_of(url)
        assert states(hidden) == {"standbys": "info"}
        assert "pg_monitor" in next(one.remedy for one in judge(hidden) if one.row == "standbys")
        with session(url) as connection:
            refuse_unsuitable(connection, Demands(require_sync=True))

        cluster.primary.sql(f"GRANT pg_monitor TO {ROLE}")
        seen = facts_of(url)
        assert states(seen) == {}
        assert "b (quorum)" in next(one.detail for one in judge(seen) if one.row == "standbys")

        name = url.rpartition("/")[2]
        assert "standby, which cannot be written" in refusal(cluster.standbys[0].url(name))
