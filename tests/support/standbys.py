"""A PostgreSQL primary with standbys, for tests of failover: replicated, promoted, re-pointed and rewound.

    with running_cluster(standbys=2) as cluster:
        url = cluster.url(database, target_session_attrs="read-write")
        cluster.primary.kill()
        cluster.fail_over()
        cluster.rejoin(old_primary)

A commit is answered when one standby has it on its disk (`ANY 1` of all others), also after a failover.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from support.postgres import (
    SUPERUSER,
    PostgresServer,
    SqlError,
    discard,
    give_away,
    new_server,
    required_binaries,
    url_of,
)
from support.real import end_of
from support.service import wait_until

PROMOTION_S = 30.0
STREAMING_S = 30.0


class Cluster:
    """Servers of which one is the primary and the others follow it."""

    def __init__(self, servers: list[PostgresServer]) -> None:
        self.servers = servers
        self.primary = servers[0]
        self.lost: list[PostgresServer] = []

    @property
    def standbys(self) -> list[PostgresServer]:
        """The running servers that are neither the primary nor one that was, and has not come back as a standby."""
        return [
            server
            for server in self.servers
            if server is not self.primary and server not in self.lost and server.is_running
        ]

    def url(self, database: str, **options: str) -> str:
        """Return a URL with all of the servers' addresses."""
        return url_of(self.servers, database, **options)

    def require_quorum(self) -> None:
        """Let every commit wait for the disk of one other server, on whichever of them is the primary."""
        names = ", ".join(f'"{server.name}"' for server in self.servers)
        for server in self.servers:
            server.configure(synchronous_standby_names=f"ANY 1 ({names})")
        asking = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
        wait_until(lambda: self.primary.sql(asking) == [(str(len(self.standbys)),)], seconds=STREAMING_S)

    def fail_over(self) -> PostgresServer:
        """Promote the standby that has received most; let the other ones follow it. Returns the new primary.

        It takes writes when this returns, and acknowledges them as soon as a standby follows it.
        """
        standbys = self.standbys
        for (
            standby
        ) in standbys:  # a paused primary, or one that is only cut off, must not send more once it is chosen
            standby.configure(primary_conninfo="")
        wait_until(lambda: not any(map(receives, standbys)), seconds=STREAMING_S)
        heir = max(standbys, key=received)
        promote(heir)
        self.lost.append(self.primary)
        self.primary = heir
        for standby in self.standbys:
            follow(standby, heir)
        return heir

    def rejoin(self, server: PostgresServer) -> None:
        """Make a standby again of a server that was the primary: what it alone has is undone."""
        rewind(server, self.primary)
        self.lost.remove(server)
        self.wait_for_standbys()

    def wait_for_standbys(self) -> None:
        """Return when every running standby streams from the primary; the logs of those that do not are in the error."""
        wanted = {standby.name for standby in self.standbys}
        deadline_s = time.monotonic() + STREAMING_S
        while missing := wanted - streaming(self.primary):
            if time.monotonic() > deadline_s:
                logs = [one for one in self.servers if one.name in missing or one is self.primary]
                ends = "\n".join(f"log of {one.name}: {end_of(one.log)}" for one in logs)
                raise AssertionError(f"{missing} do not follow {self.primary.name}\n{ends}")
            time.sleep(0.05)  # between two looks, not instead of one


@contextmanager
def running_cluster(standbys: int = 2, *, quorum: bool = True) -> Iterator[Cluster]:
    """Run a primary `a` with standbys `b`, `c` …; `quorum=False` lets commits wait for none of them."""
    primary = new_server("a", required_binaries("pg_basebackup", "pg_rewind"))
    cluster = Cluster([primary])
    try:
        primary.make_cluster()
        for name in "bcdefgh"[:standbys]:
            cluster.servers.append(standby_of(primary, name))
        cluster.wait_for_standbys()
        if quorum:
            cluster.require_quorum()
        yield cluster
    finally:
        for server in cluster.servers:
            discard(server)


def standby_of(primary: PostgresServer, name: str) -> PostgresServer:
    """Copy a running server, and start the copy as its standby."""
    standby = new_server(name, primary.binaries, primary.password)
    arguments = ["--checkpoint=fast", "--wal-method=stream", "--no-sync", "--no-password"]
    address = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", SUPERUSER]
    standby.run("pg_basebackup", "-D", standby.data, *address, *arguments)
    follow(standby, primary)
    standby.start()
    return standby


def follow(server: PostgresServer, primary: PostgresServer) -> None:
    """Make a server the standby of another; one that is no standby yet must not run."""
    signal_file = server.data / "standby.signal"
    signal_file.touch()
    give_away(signal_file)
    server.configure(primary_conninfo=_connection(primary))


def promote(standby: PostgresServer) -> None:
    """Make a standby a primary; returns when it takes writes."""
    assert standby.sql(f"SELECT pg_promote(true, {PROMOTION_S:.0f})") == [("t",)], "not promoted in time"


def rewind(server: PostgresServer, primary: PostgresServer) -> None:
    """Make a former primary, killed or stopped, a standby of its successor, and start it."""
    server.stop()
    primary.sql(
        "CHECKPOINT"
    )  # pg_rewind reads the new timeline from the control file, which a promotion writes later
    server.run(
        "pg_rewind",
        "--target-pgdata",
        server.data,
        "--source-server",
        f"{_connection(primary)} dbname=postgres",
    )
    follow(server, primary)
    server.start()


def received(standby: PostgresServer) -> int:
    """Return up to which byte of the log a standby has it: received since its last start, or read from its own disk after it."""
    rows = standby.sql("""
        SELECT pg_wal_lsn_diff(
            greatest(coalesce(pg_last_wal_receive_lsn(), '0/0'), coalesce(pg_last_wal_replay_lsn(), '0/0')), '0/0')""")
    return int(rows[0][0])


def receives(standby: PostgresServer) -> bool:
    """Tell whether a standby is connected to a primary, or tries to be."""
    return bool(standby.sql("SELECT 1 FROM pg_stat_wal_receiver"))


def restart_standby(standby: PostgresServer) -> None:
    """Start a standby whose primary may be gone; returns when it has read what it has of the log."""
    standby.start()
    before = -1
    while before != (before := received(standby)):
        time.sleep(0.3)  # between two looks: it reads faster than that, or has come to the end


def streaming(primary: PostgresServer) -> set[str]:
    """Return the names of the standbys that stream from a server; none while it cannot be asked."""
    with suppress(SqlError):
        rows = primary.sql("SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'")
        return {name for (name,) in rows}
    return set()


def _connection(primary: PostgresServer) -> str:
    return f"host=127.0.0.1 port={primary.port} user={SUPERUSER} password={primary.password}"
