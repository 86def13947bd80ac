"""Several processes at one log."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

from aegis_stream.ports import Appended
from support.clock import T0
from support.stores import append_to, events, stored


async def test_a_stalled_appender_leaves_no_gap_and_is_not_overtaken(backend, store, org):
    """While one appender stalls before its commit, no reader sees events, no other appender gets past, and no gap is left."""
    other, reader = backend.open(), backend.open()

    with backend.stall_before_commit(store) as stall:
        stalled = asyncio.ensure_future(append_to(store.log, org, events(1, 3), T0))
        assert await asyncio.to_thread(stall.reached.wait, 60)
        overtaking = asyncio.ensure_future(append_to(other.log, org, events(4, 3), T0))
        seen = [(await reader.log.heads(), await stored(reader, org)) for _ in range(20)]
        done_early = overtaking.done() or stalled.done()
    results = await asyncio.gather(stalled, overtaking)

    assert seen == [({}, {})] * 20
    assert not done_early
    assert results == [Appended(1, 3, 3), Appended(4, 3, 6)]
    assert await stored(reader, org) == {number: f"e{number}" for number in range(1, 7)}


APPENDER = """
import asyncio, json, sys
from pathlib import Path
from aegis_stream.domain.event import NewEvent, checksum
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store.log import StoredLog
from aegis_stream.store.opening import Location, open_database
from aegis_stream.wiring.process import SystemClock
from support.stores import append_to

async def main(url, org, name, rounds):
    db = open_database(Location(DatabaseUrl.parse(url), Path()), SystemClock())
    log = StoredLog(db)
    async def one(number):
        batch = [NewEvent(f"{name}-{number}-{k}", "app", None, "{}", checksum(b"{}"), None, 2) for k in range(1 + number % 4)]
        batch.append(NewEvent(f"shared-{number}", "app", None, "{}", checksum(b"{}"), None, 2))
        done = await append_to(log, org, batch, 1)
        fresh = [event.event_id for index, event in enumerate(batch) if index not in done.duplicates]
        return [[done.first + offset, event_id] for offset, event_id in enumerate(fresh)]
    sys.stdin.readline()
    acked = []
    for start in range(0, rounds, 5):
        for some in await asyncio.gather(*[one(number) for number in range(start, start + 5)]):
            acked += some
    db.close()
    print(json.dumps(acked))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
"""


@pytest.mark.slow
async def test_four_processes_that_append_at_once_leave_no_holes(backend, store, org):
    """Whoever appends at the same time, sequences are 1 … n, each acknowledged event has the one it was told, once."""
    location = backend.location
    url = location.url.conninfo() if location.shared else location.url.safe()
    command = [sys.executable, "-c", APPENDER, url, str(org)]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [*command, name, "100"], env=found, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "abcd"
    ]
    try:
        for one in processes:
            one.stdin.write("go\n")
            one.stdin.flush()
        ends = asyncio.gather(*[asyncio.to_thread(one.communicate, None, 60) for one in processes])
        seen: dict[int, str] = {}
        while not ends.done():  # a reader that follows the head meanwhile
            head = (await store.log.heads()).get(org, 0)
            seen |= await store.log.event_ids(org, len(seen) + 1, head)
            assert list(seen) == list(range(1, head + 1)), "a reader met a gap, or overtook a commit"
        outputs = [json.loads(out) for out, _ in await ends]
    finally:
        for one in processes:
            one.kill()
            one.wait()

    final = await stored(store, org)
    acknowledged = {sequence: event_id for output in outputs for sequence, event_id in output}
    assert list(final) == list(range(1, len(final) + 1))
    assert final == acknowledged
    assert len(set(final.values())) == len(final) == 4 * 250 + 100
    assert seen.items() <= final.items()
