"""The sealer as a process that is killed: whatever happens, one history is signed, and the verifier finds everything."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import apsw
import httpx
import pytest

from aegis_stream.domain.checkpoint import CHECKPOINT_DATASET
from aegis_stream.domain.ids import OrganizationId
from aegis_stream.domain.merkle import EMPTY, grow, leaf_hashes
from aegis_stream.domain.note import Kind, VerifierKey, parse_checkpoint, parse_note
from aegis_stream.domain.organization import ProofMode
from aegis_stream.store import organizations, proof_keys, tree
from aegis_stream.store.checkpoint_log import CheckpointLog
from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.clock import T0
from support.log import entries
from support.service import (
    OPERATOR_KEY,
    RunningService,
    children,
    running_service,
    service_environment,
    wait_until,
)
from support.settings import make_settings
from support.stores import append_to, event

KILLS = 20
pytestmark = pytest.mark.timeout(300)


class SealerProcess:
    """`aegis sealer` on a data directory."""

    def __init__(self, tmp_path) -> None:
        environment = service_environment(
            tmp_path, AEGIS_PROOF="true", AEGIS_PROOF_SECONDS="1", AEGIS_PROOF_EVENTS="20"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aegis_stream", "sealer"], env=environment, stderr=subprocess.PIPE
        )

    def end(self, number: int) -> bytes:
        """End it by a signal; return what it has logged."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.communicate(timeout=30)[1]


@pytest.fixture
def stores(tmp_path):
    """Open the store that the sealer uses, as the API does."""
    opened = open_stores(make_settings(data_dir=tmp_path / "data", operator_key=OPERATOR_KEY), FakeLog())
    yield opened
    opened.close()


async def test_a_sealer_killed_at_any_time_signs_one_history(tmp_path, stores):
    """Killed again and again while events arrive: every root that was noted is that of the events, and the export is complete."""
    chance = random.Random(7)
    no = stores.db.write_now(lambda unit: organizations.add(unit, OrganizationId("org_a"), "a", T0))
    stores.db.write_now(lambda unit: tree.set_mode(unit, no, ProofMode.STREAM))
    count, noted = 0, {}

    for _ in range(KILLS):
        sealer = SealerProcess(tmp_path)
        deadline = time.monotonic() + 0.6 + 1.5 * chance.random()
        while time.monotonic() < deadline:
            batch = [event(f"e{count + number}") for number in range(chance.randrange(1, 20))]
            count += len(batch)
            await append_to(stores.log, no, batch, T0)
            time.sleep(0.05)
        told = sealer.end(signal.SIGKILL)
        assert b"refused" not in told, told
        for origin, one in CheckpointLog(tmp_path / "data")._last.items():
            assert noted.setdefault((origin, one.size), one.root) == one.root

    sealer = SealerProcess(tmp_path)
    try:
        wait_until(lambda: rest(stores, no), seconds=120)
    finally:
        told = sealer.end(signal.SIGTERM)
    assert b"refused" not in told, told

    whole = await entries(stores.log, no, 0, 10**6, 10**6)
    bodies = [one.body.encode() for one in whole]
    last = stores.db.read_now(lambda unit: tree.newest_tree(unit, no))
    for (_, size), root in noted.items():
        assert grow(EMPTY, {}, leaf_hashes(bodies[:size])).tree.root() == root, size
    assert grow(EMPTY, {}, leaf_hashes(bodies[: last.tree.size])).tree == last.tree
    proofs = [json.loads(one.body)["aegis"]["proof"] for one in whole if one.dataset == CHECKPOINT_DATASET]
    assert [one["first"] for one in proofs] == [1, *(before["last"] + 1 for before in proofs[:-1])]
    (key,) = stores.db.read_now(lambda unit: proof_keys.keys_of(unit, no))
    verifier_key = VerifierKey(last.origin, Kind.PLAIN, key.public)
    assert parse_checkpoint(parse_note(proofs[-1]["checkpoint"]).text).size == last.tree.size
    verify(tmp_path, bodies, verifier_key.text)


def rest(stores, no: int) -> bool:
    """Tell whether only the checkpoint events of the last seal are unsealed."""
    state = next(
        one for one in stores.db.read_now(lambda unit: tree.seal_states(unit, 0)) if one.organization_no == no
    )
    return state.size is not None and state.unsealed <= (state.own or 0)


def verify(tmp_path, bodies: list[bytes], key: str) -> None:
    """Let the verifier check an export of everything, and one that lacks an event."""
    complete, lacking = tmp_path / "all.ndjson", tmp_path / "lacking.ndjson"
    complete.write_bytes(b"\n".join(bodies) + b"\n")
    lacking.write_bytes(b"\n".join(bodies[:10] + bodies[11:]) + b"\n")
    command = [sys.executable, "-m", "aegis_stream.verify", "--key", key]

    found = subprocess.run(
        [*command, str(complete)], capture_output=True, text=True, check=False, timeout=120
    )
    missed = subprocess.run(
        [*command, str(lacking)], capture_output=True, text=True, check=False, timeout=120
    )

    assert found.returncode == 0, found.stdout + found.stderr
    assert missed.returncode == 1, missed.stdout + missed.stderr
    assert "MISSING" in missed.stdout


def test_a_service_runs_a_sealer_and_ends_it(tmp_path):
    """`aegis serve` runs a sealer once there is something to seal, starts one again that was killed, and leaves none behind."""
    with running_service(tmp_path, AEGIS_PROOF="true", AEGIS_PROOF_SECONDS="1") as service:
        made = service.make_organization("org_a")
        idle = sealers(service.process.pid)
        submit(service, made.key, "one")
        wait_until(lambda: sealed_size(tmp_path) == 1)
        (first,) = sealers(service.process.pid)
        os.kill(first, signal.SIGKILL)
        submit(service, made.key, "two")
        wait_until(lambda: sealed_size(tmp_path) == 2)
        (second,) = sealers(service.process.pid)
        niceness = os.getpriority(os.PRIO_PROCESS, second)

    assert idle == []
    assert first != second
    assert niceness == 10
    wait_until(lambda: not Path(f"/proc/{second}").exists())


def submit(service: RunningService, key: str, event_id: str) -> None:
    """Record one event."""
    answer = httpx.post(
        f"{service.url}/api/orgs/org_a/events",
        json={"event": {"id": event_id}},
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 202, answer.text


def sealed_size(tmp_path) -> int:
    """Return how many events of the one organization are sealed."""
    with contextlib.closing(
        apsw.Connection(str(tmp_path / "data" / "aegis.db"), apsw.SQLITE_OPEN_READONLY)
    ) as raw:
        row = raw.execute("SELECT max(size) FROM trees").fetchone()
    return row[0] or 0


def sealers(pid: int) -> list[int]:
    """Return the sealers under a service."""
    return [
        one for one in children(pid) if b"sealer" in Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
    ]
