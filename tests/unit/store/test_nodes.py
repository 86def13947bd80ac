"""A worker's id names its node."""

import shutil

from aegis_stream.domain.ids import Micros
from aegis_stream.store.nodes import is_of_node, new_worker_id, own_node
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
