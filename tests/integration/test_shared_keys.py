"""Keys of several nodes on one PostgreSQL database: one operator key and one master key, whoever starts first."""

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aegis_stream.domain.organization import OPERATOR_KEY_PREFIX
from aegis_stream.errors import Misconfigured
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.vault import MasterKey
from aegis_stream.vault.ring import KeyFile
from aegis_stream.wiring.administration import make_rotation
from aegis_stream.wiring.stores import open_stores
from support.api import FakeLog
from support.postgres import shared_server
from support.settings import make_settings

GIVEN = OPERATOR_KEY_PREFIX + "_given-to-some-of-the-nodes"
MASTER = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
NODES = 4
START = """
import json, os, sys
from pathlib import Path
from aegis_stream.errors import Misconfigured
from aegis_stream.settings import load_settings
from aegis_stream.wiring.process import make_log
from aegis_stream.wiring.stores import open_stores
sys.stdin.readline()
settings = load_settings(os.environ, None)
try:
    stores = open_stores(settings, make_log(settings.telemetry))
except Misconfigured as error:
    print(json.dumps({"refused": error.code, "text": error.message}))
else:
    print(json.dumps({"operator": stores.operator_digest.hex(), "node": stores.node, "notes": stores.notes}))
    stores.close()
"""


@pytest.fixture
def url():
    """Make an empty database."""
    with shared_server().database() as made:
        yield made


def start(folder: Path, url: str, **changes):
    """Start a node; return what it knows."""
    settings = make_settings(data_dir=folder, database_url=DatabaseUrl.parse(url), **changes)
    stores = open_stores(settings, FakeLog())
    stores.close()
    return stores


def digest_of(key: str) -> bytes:
    """Return what is recorded of a key."""
    return hashlib.sha256(key.encode()).digest()


def start_all(tmp_path, url, **variables):
    """Start several nodes at the same moment, each in a process of its own; return what each of them says."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                "PATH": "/usr/bin:/bin",
                "AEGIS_DATA_DIR": str(tmp_path / str(number)),
                "AEGIS_DATABASE_URL": url,
                **variables,
            },
        )
        for number in range(NODES)
    ]
    with ThreadPoolExecutor(NODES) as threads:
        texts = list(threads.map(lambda one: one.communicate("go\n", timeout=60)[0], processes))
    return [json.loads(text) for text in texts]


def test_nodes_that_start_at_once_agree_on_the_operator_key(tmp_path, url):
    """Exactly one of them generates it and has it in a file; all accept it, and each is a node of its own."""
    said = start_all(tmp_path, url, AEGIS_MASTER_KEY=MASTER)

    shown = list(tmp_path.glob("*/operator.key"))
    assert len(shown) == 1
    assert {one["operator"] for one in said} == {digest_of(shown[0].read_text().strip()).hex()}
    assert len({one["node"] for one in said}) == NODES
    assert sum(any("shown only in" in note for note in one["notes"]) for one in said) == 1
    assert list(tmp_path.glob("*/operator.sha256")) == []


def test_nodes_that_start_at_once_make_one_master_key(tmp_path, url):
    """One makes the key; the others make none, refuse to start, and say to give them the same one."""
    said = start_all(tmp_path, url)

    refused = [one for one in said if "refused" in one]
    assert len(refused) == NODES - 1
    assert {one["refused"] for one in refused} == {"wrong-master-key"}
    assert all("AEGIS_MASTER_KEY" in one["text"] and "\n" not in one["text"] for one in refused)
    assert len(list(tmp_path.glob("*/master.key"))) == 1


def test_a_node_with_a_copy_of_the_key_starts(tmp_path, url):
    """A node that was refused starts once it has the key of the first one, in its own file or by the setting."""
    start(tmp_path / "one", url)
    with pytest.raises(Misconfigured, match="master\\.key is missing"):
        start(tmp_path / "two", url)
    key = (tmp_path / "one" / "master.key").read_text()
    (tmp_path / "two" / "master.key").write_text(key)
    (tmp_path / "two" / "master.key").chmod(0o600)

    copied = start(tmp_path / "two", url)
    given = start(tmp_path / "three", url, master_key=key.strip())

    assert copied.operator_digest == given.operator_digest == start(tmp_path / "one", url).operator_digest


def test_a_node_with_another_master_key_is_refused(tmp_path, url):
    """A key that is not the database's own stops the start; the database keeps its own."""
    start(tmp_path / "one", url)
    other = tmp_path / "two" / "master.key"
    other.parent.mkdir()
    KeyFile(other).write((MasterKey(b"o" * 32),))

    with pytest.raises(Misconfigured, match="are sealed with master key"):
        start(tmp_path / "two", url)

    start(tmp_path / "one", url)


def test_a_given_operator_key_is_accepted_by_nodes_that_were_given_none(tmp_path, url):
    """It is recorded, in place of one that was generated or given before; nothing is generated beside it."""
    generated = start(tmp_path / "one", url, master_key=MASTER)
    given = start(tmp_path / "two", url, master_key=MASTER, operator_key=GIVEN)
    again = start(tmp_path / "one", url, master_key=MASTER)
    other = start(tmp_path / "three", url, master_key=MASTER, operator_key=GIVEN + "-newer")

    assert generated.operator_digest != given.operator_digest == again.operator_digest == digest_of(GIVEN)
    assert other.operator_digest == digest_of(GIVEN + "-newer")
    assert start(tmp_path / "one", url, master_key=MASTER).operator_digest == other.operator_digest
    assert not (tmp_path / "two" / "operator.key").exists()


def test_the_operator_key_of_a_moved_installation_goes_on(tmp_path, url):
    """A data directory whose SQLite database was copied into this one brings its operator key along."""
    folder = tmp_path / "one"
    settings = make_settings(data_dir=folder)
    before = open_stores(settings, FakeLog())
    before.close()

    moved = start(folder, url)
    other = start(tmp_path / "two", url, master_key=(folder / "master.key").read_text().strip())

    assert moved.operator_digest == other.operator_digest == before.operator_digest


async def test_a_rotation_makes_no_key_that_only_one_machine_has(tmp_path, url):
    """On a shared database the person puts the new key on every machine first; then the rotation seals with it."""
    settings = make_settings(data_dir=tmp_path / "one", database_url=DatabaseUrl.parse(url))
    stores = open_stores(settings, FakeLog())
    file = KeyFile(tmp_path / "one" / "master.key")
    old = file.read()

    with pytest.raises(Misconfigured, match="on every machine"):
        await make_rotation(settings, stores).rotate(lambda *_: None)
    unchanged = file.read()
    file.write((MasterKey(b"n" * 32), *old))
    rotated = await make_rotation(settings, stores).rotate(lambda *_: None)
    stores.close()

    assert unchanged == old
    assert (rotated.made, rotated.key_id) == (False, MasterKey(b"n" * 32).key_id.hex())
