"""docs/explanation/faults.md has a row for every fault that is injected, and none for one that is not."""

from faults.table import FAULTS
from support.docs import read, rows


def test_every_fault_has_its_row():
    """The table of faults on the page is the table of the suite."""
    section = read("docs/explanation/faults.md").partition("## The faults\n")[2].partition("\n## ")[0]
    named = {name for name in rows("docs/explanation/faults.md") if f"| `{name}` |" in section}

    assert named == {one.name for one in FAULTS}
