"""Disks, clocks and copies that are wrong, in every store: seals wait or go on, and one history is signed."""

import contextlib
import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aegis_stream.control.caller import COMMAND_LINE
from aegis_stream.control.proof import restart
from aegis_stream.control.sealing import SealingDeps, seal
from aegis_stream.control.sealing_guard import Refused
from aegis_stream.domain.ids import Micros, OrganizationNo
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import Unavailable
from aegis_stream.pipeline.seal import Pace, SealProgress, is_due
from aegis_stream.store import checkpoint_log
from aegis_stream.store.checkpoint_log import NAME, CheckpointLog
from aegis_stream.verify.demands import Demands
from aegis_stream.verify.findings import Findings
from aegis_stream.verify.judge import judge
from aegis_stream.verify.note import key_of
from aegis_stream.verify.read import Export
from support.clock import T0
from support.sealed_logs import assert_whole, deps_on, put_back, seal_all, sealed, state_of
from support.sealing import ORIGIN, bodies_of, keys_of, set_mode, store_deps, verified
from support.stores import Store, append_to, event

SECOND, DAY, YEAR = 1_000_000, 86_400_000_000, 365 * 86_400_000_000


@pytest.fixture
def deps(store, tmp_path) -> SealingDeps:
    """Return what sealing needs."""
    return deps_on(store, tmp_path)


@pytest.fixture
def deps_of_org(store, org, deps, tmp_path) -> tuple[Store, OrganizationNo, SealingDeps, Path]:
    """Return a store, an organization, what sealing needs, and its folder."""
    return store, org, deps, tmp_path


def ordinary(first: int, count: int) -> list:
    """Build events as senders make them."""
    bodies = [
        {"event": {"id": f"e{number}", "dataset": "app"}, "organization": {"id": "org_a"}}
        for number in range(first, first + count)
    ]
    return [event(body["event"]["id"], json.dumps(body)) for body in bodies]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "half a write", "fsync", "open"])
@pytest.mark.parametrize("sealed_before", [0, 5])
async def test_a_disk_that_fails_while_a_checkpoint_is_noted(
    deps_of_org, monkeypatch, error, call, sealed_before
):
    """Nothing is stored that is not noted, the refusal names the file and the reason, and the seal is made when the disk is well."""
    store, org, deps, tmp_path = deps_of_org
    if sealed_before:
        await append_to(store.log, org, ordinary(1, sealed_before), T0)
        await seal_all(deps, store, org)
    before = await sealed(store, org)
    await append_to(store.log, org, ordinary(6, 5), T0)

    with monkeypatch.context() as disk:
        _break(disk, call, error)
        for _ in range(3):
            with pytest.raises(
                Unavailable, match=rf"checkpoints\.log cannot be written: {os.strerror(error)}"
            ):
                await seal(deps, await state_of(store, org))
    assert await sealed(store, org) == before
    await append_to(store.log, org, ordinary(20, 3), T0)

    await seal_all(deps, store, org)

    last = await assert_whole(store, org)
    assert CheckpointLog(tmp_path).last(last.origin) == (last.tree.size, last.tree.root())
    assert sorted(path.name for path in tmp_path.glob("*checkpoints*")) == [NAME]


def _break(disk: pytest.MonkeyPatch, call: str, error: int) -> None:
    """Let a call to the file system fail; of half a write, half of the data is written first."""
    real = os.write

    def fail(*_: object, **__: object) -> int:
        raise OSError(error, os.strerror(error))

    def half(handle: int, data: bytes) -> int:
        if len(data) < 10:
            raise OSError(error, os.strerror(error))
        return real(handle, data[: len(data) // 2])

    name = call.rpartition(" ")[2]
    disk.setattr(checkpoint_log.os, name, half if call.startswith("half") else fail)


@pytest.mark.parametrize("mode", [ProofMode.SEALED, ProofMode.STREAM])
async def test_a_clock_that_goes_back_and_ahead_stops_no_seal(store, org, deps, tmp_path, mode):
    """Whatever the time, new events are due, sealed and verified: hours back, a year ahead, 1970, and right again."""
    await set_mode(store, org, mode)
    times = [
        T0,
        T0 - 3600 * SECOND,
        T0 - 30 * DAY,
        T0 + YEAR,
        T0 + YEAR + 60 * SECOND,
        0,
        60 * SECOND,
        T0 + 60 * SECOND,
    ]
    pace = Pace(events_max=1000, pause_us=10 * SECOND)
    for number, at in enumerate(times):
        await append_to(store.log, org, ordinary(1 + 10 * number, 5), T0)
        state = await state_of(store, org)
        later = at + 11 * SECOND
        progress = SealProgress(state.unsealed, state.own or 0, state.sealed_at, state.beats)
        assert is_due(progress, pace, Micros(later))
        store.clock.at = later
        assert await seal(deps, await state_of(store, org)) >= 5

    last = await assert_whole(store, org)
    assert last.tree.size >= 5 * len(times)
    if mode is ProofMode.STREAM:
        [key] = await keys_of(store, org)
        bodies = await bodies_of(store, org)
        found = verified(tmp_path, bodies, key.public)
        assert found.status == 0, found.logs[0].doubts()
        lost = verified(tmp_path, bodies[:7] + bodies[8:], key.public)
        assert (lost.status, [one[:2] for one in lost.logs[0].missing]) == (1, [(8, 8)])


async def test_two_sealers_with_different_clocks_sign_one_history(store, org, deps, tmp_path):
    """An hour between them, on machines of their own: each goes on from what the other has stored."""
    await set_mode(store, org, ProofMode.STREAM)
    (tmp_path / "other").mkdir()
    sealers = [(deps, T0), (deps_on(store, tmp_path / "other", 2), T0 - 3600 * SECOND)]

    for number in range(8):
        one, at = sealers[number % 2]
        await append_to(store.log, org, ordinary(1 + 10 * number, 5), T0)
        store.clock.at = at + number
        assert await seal(one, await state_of(store, org)) > 0

    await assert_whole(store, org)
    [key] = await keys_of(store, org)
    assert verified(tmp_path, await bodies_of(store, org), key.public).status == 0


@pytest.mark.parametrize("damage", ["older", "missing", "empty", "cut", "last line damaged", "garbage"])
async def test_a_file_of_checkpoints_that_is_behind_is_made_good(store, org, deps, tmp_path, damage):
    """A file that is older than the database, gone or damaged at its end refuses nothing, and is whole after the next seal."""
    await append_to(store.log, org, ordinary(1, 5), T0)
    await seal_all(deps, store, org)
    older = (tmp_path / NAME).read_bytes()
    await append_to(store.log, org, ordinary(6, 5), T0)
    await seal_all(deps, store, org)
    path, newest = tmp_path / NAME, (tmp_path / NAME).read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        changed = bytearray(newest)
        changed[-12] ^= 1
        contents = {"older": older, "empty": b"", "cut": newest[:-30], "last line damaged": bytes(changed)}
        path.write_bytes(contents.get(damage, b"\0\xff \n 1 2 3 4\n" * 50))
    await append_to(store.log, org, ordinary(20, 3), T0)

    await seal_all(deps_on(store, tmp_path, 2), store, org)

    last = await assert_whole(store, org)
    assert last.tree.size == 13
    assert CheckpointLog(tmp_path).last(last.origin) == (13, last.tree.root())


@pytest.mark.parametrize("goes_on", [False, True], ids=["nothing since", "other events since"])
async def test_an_older_copy_is_refused_until_another_log_begins(store, org, deps, tmp_path, goes_on):
    """The receiver, who has both histories, verifies the old log to its end and the new one from there; nothing is signed twice."""
    await set_mode(store, org, ProofMode.STREAM)
    await append_to(store.log, org, ordinary(1, 5), T0)
    await seal_all(deps, store, org)
    before = await sealed(store, org)
    await append_to(store.log, org, ordinary(6, 5), T0)
    await seal_all(deps, store, org)
    received = await bodies_of(store, org)
    await put_back(store, org, before)
    if goes_on:
        await append_to(store.log, org, ordinary(100, 40), T0)
    fresh = deps_on(store, tmp_path, 2)
    for _ in range(2):
        with pytest.raises(Refused, match="aegis proof restart"):
            await seal(fresh, await state_of(store, org))
    assert await sealed(store, org) == before

    signed = CheckpointLog(tmp_path)
    await restart(
        store_deps(replace(fresh, audit_actions=True)),
        COMMAND_LINE,
        "org_a",
        "backup of Monday",
        lambda name: signed.last(name) is not None,
    )
    await append_to(store.log, org, ordinary(200, 5), T0)
    await seal_all(fresh, store, org)

    last = await assert_whole(store, org)
    assert last.origin == f"{ORIGIN}/org_a@{before.end + 1}"
    [key] = await keys_of(store, org)
    now = await bodies_of(store, org)
    again = [body for body in now if body not in received]
    found = verified_by(tmp_path, received + again, [before.origin, last.origin], key.public)
    assert found.status == 0, [one.doubts() for one in found.logs]
    assert [(one.origin, one.end) for one in found.logs] == [(before.origin, 11), (last.origin, last.end)]
    lost = verified_by(tmp_path, received + again[:-3] + again[-2:], [before.origin, last.origin], key.public)
    assert (lost.status, [len(one.missing) for one in lost.logs]) == (1, [0, 1])


def verified_by(folder: Path, bodies: list[bytes], origins: list[str], public: bytes) -> Findings:
    """Judge an export by the key of each of several logs."""
    path = folder / "export.ndjson"
    path.write_bytes(b"\n".join(bodies))
    with contextlib.closing(Export(str(path))) as export:
        return judge([export], Demands(keys=tuple(key_of(one, public) for one in origins), now_s=2**31))


async def test_a_copy_of_everything_that_is_put_back_is_named_by_the_receiver(store, org, deps, tmp_path):
    """With an older checkpoints.log beside an older database nothing on this machine can tell; who kept a checkpoint can."""
    await set_mode(store, org, ProofMode.STREAM)
    await append_to(store.log, org, ordinary(1, 5), T0)
    await seal_all(deps, store, org)
    before = await sealed(store, org)
    shutil.copy(tmp_path / NAME, tmp_path / "kept")
    await append_to(store.log, org, ordinary(6, 5), T0)
    await seal_all(deps, store, org)
    received = await bodies_of(store, org)
    await put_back(store, org, before)
    shutil.copy(tmp_path / "kept", tmp_path / NAME)

    await append_to(store.log, org, ordinary(100, 5), T0)
    await seal_all(deps_on(store, tmp_path, 2), store, org)

    [key] = await keys_of(store, org)
    again = [body for body in await bodies_of(store, org) if body not in received]
    assert verified(tmp_path, received + again, key.public).status == 1
