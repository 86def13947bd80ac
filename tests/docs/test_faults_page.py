"""What the pages promise has tests: every fault its row, and every promise a test that is there."""

import re

import pytest

from faults.table import FAULTS
from support.docs import ROOT, read

PAGE = "docs/explanation/faults.md"
PROMISES = [
    ("ARCHITECTURE.md", "What always holds"),
    ("SECURITY.md", "What is defended"),
    (PAGE, "What is promised"),
]
NAMES = {one.name for one in FAULTS}


def table_of(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the table in one section of a page, without its head."""
    section = re.search(rf"^## {heading}[^\n]*\n(.*?)(?=^## |\Z)", read(page), re.MULTILINE | re.DOTALL)
    assert section is not None, heading
    lines = [line for line in section[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def is_there(test: str) -> bool:
    """Return whether a file, a folder or a test of a file exists."""
    path, _, function = test.partition("::")
    if not (ROOT / path).exists():
        return False
    return not function or f"def {function}(" in read(path)


def test_every_fault_has_its_row():
    """The table of faults on the page is the table of the suite."""
    assert {row[0].strip("`") for row in table_of(PAGE, "The faults")} == NAMES


@pytest.mark.parametrize(("page", "heading"), PROMISES)
def test_every_promise_names_tests_that_exist(page, heading):
    """Every row of the tables of promises names a test or a fault, and all that it names are there."""
    named = {row[0]: re.findall(r"`([^`]+)`", row[-1]) for row in table_of(page, heading)}

    assert [promise for promise, tests in named.items() if not tests] == []
    missing = [one for tests in named.values() for one in tests if "/" in one and not is_there(one)]
    assert missing == []
    assert {one for tests in named.values() for one in tests if "/" not in one} <= NAMES
