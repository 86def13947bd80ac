"""The PostgreSQL standbys of the tests: a commit is on two disks, and a failover loses none."""

import subprocess

import pytest

from support.postgres import SqlError
from support.standbys import received, running_cluster, streaming

pytestmark = pytest.mark.slow


def test_nothing_committed_is_lost_by_a_failover_and_the_old_primary_comes_back():
    """After kill -9 of the primary, its successor has every commit, and commits wait for a standby again; so does the next."""
    with running_cluster(standbys=2) as cluster:
        cluster.primary.sql("CREATE TABLE t (a int)")
        for generation in range(2):
            old = cluster.primary
            old.sql(f"INSERT INTO t VALUES ({generation})")
            old.kill()

            new = cluster.fail_over()
            new.sql(f"INSERT INTO t VALUES ({10 + generation})")
            cluster.rejoin(old)

            assert streaming(new) == {"a", "b", "c"} - {new.name}
            assert old.sql("SELECT pg_is_in_recovery()") == [("t",)]
        assert new.sql("SELECT a FROM t ORDER BY a") == [("0",), ("1",), ("10",), ("11",)]
        assert new.sql("SHOW synchronous_standby_names") == [('ANY 1 ("a", "b", "c")',)]


def test_a_commit_waits_for_a_standby():
    """While both standbys are paused, a commit gets no answer; it gets one when one of them goes on."""
    with running_cluster(standbys=2) as cluster:
        cluster.primary.sql("CREATE TABLE t (a int)")
        for standby in cluster.standbys:
            standby.pause()
        with pytest.raises(subprocess.TimeoutExpired):
            cluster.primary.sql("INSERT INTO t VALUES (1)", timeout_s=1)

        cluster.servers[2].resume()
        cluster.primary.sql("INSERT INTO t VALUES (2)")
        assert received(cluster.servers[2]) > 0


def test_a_url_of_all_servers_leads_to_the_one_that_takes_writes():
    """The URL names every server, and libpq finds the primary among them, whichever it is."""
    with running_cluster(standbys=1) as cluster:
        name = cluster.primary.create_database()
        url = cluster.url(name, target_session_attrs="read-write", connect_timeout="5")
        client = [cluster.primary.psql, "-XAtq", "-c", "SHOW cluster_name", url]
        assert subprocess.check_output(client, text=True) == "a\n"

        cluster.primary.kill()
        cluster.fail_over()

        cluster.primary.configure(synchronous_standby_names="")
        assert subprocess.check_output(client, text=True) == "b\n"
        with pytest.raises(SqlError):
            cluster.servers[0].sql("SELECT 1")
