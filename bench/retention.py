"""What retention costs: `python -m bench.retention --events 200000`. CPU in microseconds for an event that is removed, on each store.

It records events of 580 bytes and removes all of them, in steps of 1,000 as a worker does, without its pauses. On PostgreSQL it
vacuums the log afterwards, which autovacuum does in parts, and tells what was written ahead.
"""

import argparse
import asyncio
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from aegis_stream.domain.ids import SECOND, Micros, OrganizationId
from aegis_stream.settings import build
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store import organizations
from aegis_stream.telemetry import Log
from aegis_stream.wiring.process import SystemClock
from aegis_stream.wiring.stores import Stores, open_stores

from .postgres import Database, find_binaries, postgres
from .processes import Cpu, Pids, scratch
from .seal import record


@dataclass(slots=True)
class Costs:
    """Processes whose CPU is counted, and what a part of the run took of each.

    Args:
        pids: this process, and the database's where it has its own.
    """

    pids: Mapping[str, Pids]
    before: Cpu
    began_s: float

    @classmethod
    def begin(cls, pids: Mapping[str, Pids]) -> "Costs":
        """Begin to count."""
        return cls(pids, Cpu.of(pids), time.monotonic())

    def tell(self, what: str, events: int) -> None:
        """Print what it took since the beginning, for one event."""
        used = Cpu.of(self.pids).since(self.before)
        each = "  ".join(f"{name} {1e6 * seconds / events:6.2f} us" for name, seconds in used.items())
        rate = events / (time.monotonic() - self.began_s)
        print(f"  {what:<10}{each}  {rate:>10,.0f} events/s")


async def measure(stores: Stores, pids: Mapping[str, Pids], count: int) -> None:
    """Record events, and remove all of them. Raises: RuntimeError when some are left."""
    no = await stores.db.write(
        lambda unit: organizations.add(unit, OrganizationId("org_abc"), "", SystemClock().now())
    )
    await record(stores, no, count)
    horizon = Micros(SystemClock().now() + SECOND)
    costs, times_s, removed = Costs.begin(pids), [], 1
    while removed:
        began_s = time.monotonic()
        removed = await stores.retention.step(horizon)
        times_s.append(time.monotonic() - began_s)
    costs.tell("removed", count)
    if left := (await stores.log.page(no, 1, count, bytes_max=1 << 20, labels=False)).bodies[0]:
        raise RuntimeError(f"retention left {left[:100]!r}")
    print(f"  {len(times_s) - 1} steps, the longest {1e3 * max(times_s):.1f} ms")


def on(folder: Path, count: int, database: Database | None = None) -> None:
    """Measure on a store of its own: a database of PostgreSQL, or a file of SQLite in the folder."""
    key = f"aegis_op_{secrets.token_urlsafe(24)}"
    # Events that wait for their seal are not removed.
    values: dict[str, Any] = {"data_dir": folder, "operator_key": key, "proof": False}
    pids: dict[str, Pids] = {"this process": os.getpid()}
    if database is not None:
        values["database_url"] = DatabaseUrl.parse(database.url)
        pids |= database.processes
    stores = open_stores(build(values), Log("json", "error"))
    try:
        asyncio.run(measure(stores, pids, count))
    finally:
        stores.close()
    if database is not None:
        vacuum(database, pids, count)


def vacuum(database: Database, pids: Mapping[str, Pids], count: int) -> None:
    """Free what the removed events took."""
    costs, written = Costs.begin(pids), database.server.wal_bytes()
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("VACUUM events")
    costs.tell("vacuumed", count)
    print(f"  {(database.server.wal_bytes() - written) / count:.0f} bytes of write-ahead log for each")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="events of the log")
    count = parser.parse_args().events
    with scratch("retention") as folder:
        print("SQLite")
        on(folder / "sqlite", count)
        if find_binaries() is None:
            print("PostgreSQL is not installed: run `sh tests/real/setup.sh postgres`")
            return
        with postgres(folder / "server") as server:
            print("PostgreSQL")
            server.sql("ALTER SYSTEM SET autovacuum = off")
            server.sql("SELECT pg_reload_conf()")
            on(folder / "node", count, server.new_database())


if __name__ == "__main__":
    main()
