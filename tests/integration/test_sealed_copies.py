"""A sealed log that moves to another database, whose master key changes, or whose old copy is started again."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aegis_stream.control.sealing import seal
from aegis_stream.control.sealing_guard import Refused
from aegis_stream.domain.ids import OrganizationId
from aegis_stream.domain.note import Kind, VerifierKey
from aegis_stream.domain.organization import ProofMode
from aegis_stream.settings import Settings
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store import organizations, proof_keys, tree
from aegis_stream.wiring.administration import make_rotation
from aegis_stream.wiring.process import SystemClock
from aegis_stream.wiring.sealer import make_sealer
from aegis_stream.wiring.stores import Stores, open_stores
from support.api import FakeLog
from support.postgres import shared_server
from support.sealing import bodies_of
from support.service import OPERATOR_KEY, service_environment
from support.settings import make_settings
from support.stores import append_to, event

pytestmark = pytest.mark.timeout(180)
NO = 1


def settings_of(folder: Path, url: str = "") -> Settings:
    """Return the settings of a data directory, and of a database elsewhere."""
    database = DatabaseUrl.parse(url) if url else None
    return make_settings(data_dir=folder, operator_key=OPERATOR_KEY, database_url=database, proof_events=100)


@contextmanager
def opened(settings: Settings) -> Iterator[Stores]:
    """Open stores until the end of the block."""
    stores = open_stores(settings, FakeLog())
    try:
        yield stores
    finally:
        stores.close()


async def begin(stores: Stores) -> None:
    """Make an organization whose checkpoint events travel."""
    org_id = OrganizationId("org_a")
    await stores.db.write(lambda unit: organizations.add(unit, org_id, "A", SystemClock().now()))
    await stores.db.write(lambda unit: tree.set_mode(unit, NO, ProofMode.STREAM))


async def go_on(stores: Stores, settings: Settings, name: str, count: int = 300) -> tree.SealedTree:
    """Record events, and seal them as a sealer of this data directory does."""
    batch = [
        event(f"{name}{number}", f'{{"event":{{"id":"{name}{number}"}},"organization":{{"id":"org_a"}}}}')
        for number in range(count)
    ]
    await append_to(stores.log, NO, batch, SystemClock().now())
    deps = make_sealer(settings, stores, FakeLog()).deps
    while (state := stores.db.read_now(lambda unit: tree.seal_state(unit, NO))).unsealed > (state.own or 0):
        await seal(deps, state)
    return stores.db.read_now(lambda unit: tree.newest_tree(unit, NO))


async def export(stores: Stores, folder: Path) -> int:
    """Let `aegis verify` judge the whole log by its first key; return its exit status."""
    [key] = stores.db.read_now(lambda unit: proof_keys.keys_of(unit, NO))
    last = stores.db.read_now(lambda unit: tree.newest_tree(unit, NO))
    path = folder / "export.ndjson"
    path.write_bytes(b"\n".join(await bodies_of(stores, NO)))
    pinned = VerifierKey(last.origin, Kind.PLAIN, key.public).text
    command = [sys.executable, "-m", "aegis_stream.verify", "--key", pinned, str(path)]
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode


def copy_database(folder: Path, source: str, target: str) -> None:
    """Run `aegis database copy`."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "aegis_stream",
            "database",
            "copy",
            "--from-env",
            "SOURCE",
            "--to-env",
            "TARGET",
        ],
        env=service_environment(folder, SOURCE=source, TARGET=target),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_log_moves_to_another_database_and_on(tmp_path):
    """SQLite, PostgreSQL, SQLite: name, key and tree stay, every export verifies, and the database left behind is not sealed again."""
    first, last = tmp_path / "data", tmp_path / "moved" / "data"
    last.mkdir(mode=0o700, parents=True)
    with opened(settings_of(first)) as stores:
        await begin(stores)
        begun = await go_on(stores, settings_of(first), "a")
        number = stores.db.read_now(tree.instance)

    with shared_server().database() as url:
        copy_database(tmp_path, f"sqlite:///{first}/aegis.db", url)
        on_server = settings_of(first, url)
        with opened(on_server) as stores:
            copied = stores.db.read_now(lambda unit: tree.newest_tree(unit, NO))
            assert copied == begun
            assert stores.db.read_now(tree.instance) == number
            moved = await go_on(stores, on_server, "b")
            assert await export(stores, tmp_path) == 0
        copy_database(tmp_path, url, f"sqlite:///{last}/aegis.db")

    shutil.copy(first / "master.key", last / "master.key")
    with opened(settings_of(last)) as stores:
        assert stores.db.read_now(lambda unit: tree.newest_tree(unit, NO)) == moved
        end = await go_on(stores, settings_of(last), "c")
        assert await export(stores, tmp_path) == 0
    assert (begun.origin, moved.base) == (end.origin, end.base)
    assert begun.tree.size < moved.tree.size < end.tree.size
    with opened(settings_of(first)) as stores:
        with pytest.raises(Refused, match="an older copy was put in place"):
            await go_on(stores, settings_of(first), "left", 1)
        with pytest.raises(Refused, match="with another root"):
            await go_on(stores, settings_of(first), "behind", 1000)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_a_rotation_of_the_master_key_keeps_the_key_of_a_log(tmp_path, database):
    """Seals go on with the same key after the old master key is gone, and after a restart."""
    with shared_server().database() if database == "postgres" else nothing() as url:
        settings = settings_of(tmp_path / "data", url)
        with opened(settings) as stores:
            await begin(stores)
            await go_on(stores, settings, "a")
            [before] = stores.db.read_now(lambda unit: proof_keys.keys_of(unit, NO))
            if url:  # on a database that machines share, the operator gives each of them the new key
                path = settings.store.data_dir / "master.key"
                path.write_text(f"{base64.b64encode(bytes(range(32))).decode()}\n{path.read_text()}")
            rotation = make_rotation(settings, stores)
            await rotation.rotate(lambda *_: None)
            await rotation.drop_old()
            await go_on(stores, settings, "b")
        with opened(settings) as stores:
            await go_on(stores, settings, "c")
            [after] = stores.db.read_now(lambda unit: proof_keys.keys_of(unit, NO))
            assert after.public == before.public
            assert after.sealed_seed != before.sealed_seed
            assert await export(stores, tmp_path) == 0


@contextmanager
def nothing() -> Iterator[str]:
    """Name no database."""
    yield ""
