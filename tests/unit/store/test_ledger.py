"""How the ledger reads from a database; what it stores is tested in tests/conformance."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aegis_stream.store.database import Unit
from aegis_stream.store.ledger import StoredLedger
from support.stores import ALICE, BOB


class Workers:
    """A unit of work that knows two statements' answers: the registered workers, and which of them leave."""

    def rows(self, name: str, values: Any = ()) -> list[tuple[Any, ...]]:
        return {"workers": [(ALICE,)], "crew": [(ALICE, 0), (BOB, 1)]}[name]


@dataclass
class Readers:
    """A database that notes how it is read; peek finds nothing where it would wait."""

    would_wait: bool
    used: list[str] = field(default_factory=list)

    def peek(self, work: Callable[[Unit], Any]) -> Any:
        self.used.append("peek")
        return None if self.would_wait else work(Workers())

    async def read(self, work: Callable[[Unit], Any]) -> Any:
        self.used.append("read")
        return work(Workers())


async def test_workers_are_listed_without_a_reader():
    """Each worker asks for the others every few milliseconds, so the answer comes at once where the database has it."""
    db = Readers(would_wait=False)

    assert await StoredLedger(db).workers() == [ALICE]
    assert await StoredLedger(db).crew() == [(ALICE, False), (BOB, True)]
    assert db.used == ["peek", "peek"]


async def test_workers_are_read_where_a_look_would_wait():
    """Where the database cannot answer at once, the workers are read like everything else."""
    db = Readers(would_wait=True)

    assert await StoredLedger(db).workers() == [ALICE]
    assert await StoredLedger(db).crew() == [(ALICE, False), (BOB, True)]
    assert db.used == ["peek", "read", "peek", "read"]
