"""Small changes of SQL: a comparison, a bound, an order, a condition that is always true. mutmut changes Python only."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from aegis_stream.store.statements import parse

CHANGES = [
    (r"(?<![<>=])<(?![<>=])", "<="),
    (r"<=", "<"),
    (r"(?<![<>=-])>(?![>=])", ">="),
    (r">=", ">"),
    (r"\bBETWEEN (.+?) AND", r"BETWEEN \1 + 1 AND"),
    (r"\b(BETWEEN .+? AND (?:\?\d \* \d+ \+ )?[\w.?]+)", r"\1 - 1"),
    (r"\bAND\b", "OR"),
    (r"(?<!INSERT )\bOR\b", "AND"),
    (r"\bmax\(", "min("),
    (r"\bmin\(", "max("),
    (r"\+ 1\b", "+ 2"),
    (r"(?<!\d )\+ (\?\d*)", r"- \1"),
    (r"\bIS NULL", "IS NOT NULL"),
    (r"\bIS NOT NULL", "IS NULL"),
    (r"\bNOT (IN|EXISTS)\b", r"\1"),
    (r"(?<!NOT )\bEXISTS\b", "NOT EXISTS"),
    (r"(ORDER BY [\w.]+)(?! DESC|[\w.])", r"\1 DESC"),
    (r"(ORDER BY [\w.]+) DESC", r"\1"),
    (r"\bLIMIT (\?\d*)", r"LIMIT \1 + 1"),
    # True whatever the value is: rows of other organizations, destinations, events.
    (r"\b(WHERE|AND|OR) ([\w.]+) = (\?\d?|[a-z]+\.\w+)(?![\w]| [*+])", r"\1 \2 IN (\2, \3)"),
]
"""Patterns, and what each place is changed to."""
CONTEXT = 30
"""Characters shown on either side of a change."""
_BETWEEN = re.compile(r"\bBETWEEN .+? AND")


class SqlMutant(NamedTuple):
    """One change of one statement: its text with the change, and the changed place before and after, with what is around it."""

    key: str
    statement: str
    text: str
    before: str
    after: str


def mutants_of(file: Path, overlay: Path) -> Iterator[SqlMutant]:
    """Return the changes of the statements of a file, as the database words them."""
    replaced = {name: text for name, _, text in parse(overlay.read_text(encoding="utf-8"))}
    for name, _, shared in parse(file.read_text(encoding="utf-8")):
        text = replaced.get(name, shared)
        # "BETWEEN … AND" is one operator: its AND is none that could be an OR.
        joined = [found.span() for found in _BETWEEN.finditer(text)]
        number = 0
        for pattern, new in CHANGES:
            for found in re.finditer(pattern, text):
                if new == "OR" and any(start < found.start() < end for start, end in joined):
                    continue
                start, end, changed = found.start(), found.end(), found.expand(new)
                number += 1
                left, right = text[:start], text[end:]
                around = f"{left[-CONTEXT:]}{{}}{right[:CONTEXT]}".replace("\n", " ")
                yield SqlMutant(
                    f"{file.name}:{name}__{number}",
                    name,
                    f"{left}{changed}{right}",
                    around.format(found[0]),
                    around.format(changed),
                )
