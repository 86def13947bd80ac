"""ARCHITECTURE.md and the package guides describe the source as it is: the map is the tree, the layers are the contract."""

import ast
import re

import pytest

from support.docs import SOURCE, read

PACKAGES = sorted(one for one in SOURCE.rglob("__init__.py") if one.parent != SOURCE)


def test_the_map_is_the_tree():
    """ARCHITECTURE.md has a line for every file of the source, and none for a file that is not there."""
    part = read("ARCHITECTURE.md").partition("## The map")[2]
    mapped = set(re.findall(r"^(\S+\.(?:py|sql)) {2,}", part, re.MULTILINE))
    there = {one.relative_to(SOURCE).as_posix() for one in SOURCE.rglob("*") if one.suffix in (".py", ".sql")}

    assert mapped == there


def test_the_layers_are_the_contract():
    """The layers of ARCHITECTURE.md are those of .importlinter, in their order."""
    contract = read(".importlinter").partition("layers =\n")[2].partition("\n\n")[0]
    layers = re.findall(
        r"^\| \d+ \| (.+) \|$", read("ARCHITECTURE.md").partition("## A delivery")[0], re.MULTILINE
    )
    steps = [one for one in layers if one.startswith("`")]

    assert [re.findall(r"\w+", one) for one in steps] == [
        re.findall(r"\w+", line) for line in contract.splitlines()
    ]


def guide_of(package):
    """Return the names in the first column of a package's docstring; empty if the docstring lists no modules."""
    text = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
    columns = re.findall(r"^ *(\w[\w./]*(?:, \w[\w./]*)*) {2,}\S", text, re.MULTILINE)
    return [name.rstrip("/").removesuffix(".py") for column in columns for name in column.split(", ")]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda one: one.parent.name)
def test_a_package_guide_is_its_folder(package):
    """If a package's docstring lists modules, it names each module of the folder, and none that is not there."""
    folder, guide = package.parent, guide_of(package)
    text = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
    there = {one.stem for one in folder.glob("*.py")} - {"__init__", "__main__"}
    there |= {one.name for one in folder.iterdir() if (one / "__init__.py").exists()}

    assert [
        name for name in guide if not any((folder / f"{name}{end}").exists() for end in ("", ".py"))
    ] == []
    assert guide == [] or there - set(re.findall(r"\w+", text)) == set()


def test_the_guide_of_the_store_is_read():
    """The test above reads guides: that of the store names its modules."""
    assert {"log", "ledger", "database"} <= set(guide_of(SOURCE / "store" / "__init__.py"))
