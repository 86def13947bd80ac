"""What some failed attempts were answered: kept by settlements, shown with attempts. Functions of a unit of work."""

from collections.abc import Sequence as Seq

from aegis_stream.domain.delivery import DestinationKey, KeptAnswer
from aegis_stream.domain.destination import Destination

from .attempts import AttemptRow
from .database import Call, Unit
from .dead_letter_rows import short
from .records import key_of

ANSWERS_MAX = 200
"""Most answers that are kept of one destination."""


def writes(key: DestinationKey, answers: Seq[KeptAnswer]) -> list[Call]:
    """Return the statements that keep answers, and remove the oldest beyond ANSWERS_MAX; none for no answers."""
    if not answers:
        return []
    calls: list[Call] = [
        ("insert_answer", (*key, *one._replace(message=short(one.message) or ""))) for one in answers
    ]
    return [*calls, ("prune_answers", (*key, ANSWERS_MAX))]


def find(unit: Unit, destination: Destination, row: AttemptRow, sequence: int) -> KeptAnswer | None:
    """Return the answer to an attempt that failed; else that of the newest one before it that failed alike; else None."""
    key = key_of(destination)
    found = unit.row("answer_at", (*key, row.at, sequence, sequence))
    if found is None and row.state == "failed":
        found = unit.row("answer_like", (*key, row.at, row.status_code or 0, row.message or ""))
    return KeptAnswer(*found) if found is not None else None
