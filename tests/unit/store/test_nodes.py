"""A worker's id names its node."""

import os
import shutil
from types import SimpleNamespace

from aegis_stream.domain.ids import Micros
from aegis_stream.store.nodes import is_of_node, new_worker_id, node_of_directory, own_node
from aegis_stream.store.sqlite.database import SqliteDatabase
from support.clock import SteadyClock
from support.simulation import SeededRandom


def node_of(path, seed):
    """Open a database and return its node."""
    db = SqliteDatabase(path, SteadyClock())
    db.migrate()
    node = db.write_now(lambda unit: own_node(unit, SeededRandom(seed)))
    db.close()
    return node


def test_a_database_keeps_its_node(tmp_path):
    """The id made at the first start is found at every later one, and in a copy that is restored elsewhere."""
    first = node_of(tmp_path / "aegis.db", 1)
    shutil.copy(tmp_path / "aegis.db", tmp_path / "restored.db")

    assert node_of(tmp_path / "aegis.db", 2) == first
    assert node_of(tmp_path / "restored.db", 3) == first


def test_two_databases_are_two_nodes(tmp_path):
    """Each database gets an id of its own."""
    assert len({node_of(tmp_path / f"{number}.db", number) for number in range(5)}) == 5


def test_a_worker_belongs_to_its_node_alone(tmp_path):
    """Only a worker's own node, or, of an id of version 0.1, any node, takes it for one of its own."""
    here, there = node_of(tmp_path / "aegis.db", 1), "0123456789"
    worker_id = new_worker_id(here, Micros(1), SeededRandom(1))

    assert is_of_node(worker_id, here)
    assert not is_of_node(worker_id, there)
    assert is_of_node("wrk_01hzzzzzzzzzzzzzzzzzzzzzzz", there)


def test_all_processes_on_a_directory_are_one_node(tmp_path):
    """Where several machines share a database, a data directory is a node, also when it is renamed; another one is another node."""
    (tmp_path / "one").mkdir()
    first = node_of_directory(tmp_path / "one", SeededRandom(1))
    again = node_of_directory(tmp_path / "one", SeededRandom(2))
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    (tmp_path / "one").rename(tmp_path / "other")

    assert first == again == node_of_directory(tmp_path / "other", SeededRandom(3))
    assert first != node_of_directory(tmp_path / "copy", SeededRandom(1))
    assert is_of_node(new_worker_id(first, Micros(1), SeededRandom(1)), first)


def test_a_directory_is_another_node_after_the_machine_s_next_start(tmp_path):
    """Workers from before are left to their leases: on another machine with a copy of the disk they may live."""
    nodes = set()
    for start in ("4ed9bb43", "b0c41d6d"):
        (tmp_path / "boot_id").write_text(start)
        nodes.add(node_of_directory(tmp_path, SeededRandom(1), tmp_path / "boot_id"))

    assert len(nodes) == 2


def test_a_copied_machine_is_another_node_once_it_has_a_name_of_its_own(tmp_path, monkeypatch):
    """Two machines made of one image of a running machine differ by their names."""
    nodes = set()
    for name in ("one", "other"):
        monkeypatch.setattr(os, "uname", lambda name=name: SimpleNamespace(nodename=name))
        nodes.add(node_of_directory(tmp_path, SeededRandom(1)))

    assert len(nodes) == 2


def test_without_a_machine_s_start_each_process_is_a_node(tmp_path):
    """Nobody is judged by a socket then."""
    missing = tmp_path / "boot_id"

    assert len({node_of_directory(tmp_path, SeededRandom(seed), missing) for seed in range(3)}) == 3
