"""A worker's id names its node."""

import threading

import pytest

from aegis_stream.domain.ids import Micros
from aegis_stream.errors import Misconfigured
from aegis_stream.store.nodes import is_of_node, new_worker_id, own_node
from support.simulation import SeededRandom


def test_a_data_directory_keeps_its_node(tmp_path):
    """The id made at the first start is found at every later one, in a file that only its owner may read."""
    first = own_node(tmp_path, SeededRandom(1))

    assert own_node(tmp_path, SeededRandom(2)) == first
    assert [one.name for one in tmp_path.iterdir()] == ["node.id"]
    assert (tmp_path / "node.id").stat().st_mode & 0o777 == 0o600


def test_two_directories_are_two_nodes(tmp_path):
    """Each data directory gets an id of its own."""
    nodes = set()
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        nodes.add(own_node(tmp_path / str(number), SeededRandom(number)))

    assert len(nodes) == 5


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"NODE", b"abc"])
def test_a_damaged_file_is_replaced(tmp_path, content):
    """A file that holds no id, as a power cut may leave it, is made anew."""
    (tmp_path / "node.id").write_bytes(content)

    node = own_node(tmp_path, SeededRandom(1))

    assert own_node(tmp_path, SeededRandom(2)) == node


def test_processes_that_start_at_once_agree(tmp_path):
    """Whoever comes second takes the id of the first."""
    found: list[str] = []
    start = threading.Barrier(8)

    def ask(seed: int) -> None:
        start.wait(10)
        found.append(own_node(tmp_path, SeededRandom(seed)))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(10)

    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_directory_that_is_missing_is_named(tmp_path):
    """An id that cannot be kept stops the start, with the file's name."""
    with pytest.raises(Misconfigured, match=r"cannot write .*node\.id"):
        own_node(tmp_path / "missing", SeededRandom(1))


def test_a_worker_belongs_to_its_node_alone(tmp_path):
    """Only a worker's own node, or, of an id of version 0.1, any node, takes it for one of its own."""
    here, there = own_node(tmp_path, SeededRandom(1)), "0123456789"
    worker_id = new_worker_id(here, Micros(1), SeededRandom(1))

    assert is_of_node(worker_id, here)
    assert not is_of_node(worker_id, there)
    assert is_of_node("wrk_01hzzzzzzzzzzzzzzzzzzzzzzz", there)
