"""ARCHITECTURE.md describes the source as it is: its map is the tree, its layers are the contract."""

import re

from support.docs import SOURCE, read


def test_the_map_is_the_tree():
    """ARCHITECTURE.md has a line for every file of the source, and none for a file that is not there."""
    part = read("ARCHITECTURE.md").partition("## The map")[2]
    mapped = set(re.findall(r"^(\S+\.(?:py|sql)) {2,}", part, re.MULTILINE))
    there = {one.relative_to(SOURCE).as_posix() for one in SOURCE.rglob("*") if one.suffix in (".py", ".sql")}

    assert mapped == there


def test_the_floors_are_the_contract():
    """The layers of ARCHITECTURE.md are those of .importlinter, in their order."""
    contract = read(".importlinter").partition("layers =\n")[2].partition("\n\n")[0]
    floors = re.findall(
        r"^\| \d+ \| (.+) \|$", read("ARCHITECTURE.md").partition("## A delivery")[0], re.MULTILINE
    )
    steps = [one for one in floors if one.startswith("`")]

    assert [re.findall(r"\w+", one) for one in steps] == [
        re.findall(r"\w+", line) for line in contract.splitlines()
    ]
