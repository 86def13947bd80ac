"""Promises of what a browser loads beside a page."""

import gzip
import re

import pytest

from aegis_stream.console.assets import FOLDER, assets

CHECKER = "proof.js"
"""Has a limit of its own: it is not part of how pages behave, but a verifier in small, and no other page carries it."""
TEMPLATES = FOLDER.with_name("templates")
KILOBYTES_MAX = 12
"""Most of all scripts, and of the style, compressed."""


@pytest.mark.parametrize("kind", ["js", "css"])
def test_scripts_and_style_stay_small(kind):
    """All scripts together, and the style, are at most 12 kB each when they are compressed one by one."""
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in FOLDER.glob(f"*.{kind}")}

    assert sizes
    assert sum(sizes.values()) <= KILOBYTES_MAX * 1000, sizes


def lines_of(*names: str) -> int:
    """Return how many lines of code scripts have."""
    lines = [line.strip() for name in names for line in (FOLDER / name).read_text().splitlines()]
    return len([line for line in lines if line and not line.startswith("//")])


def test_scripts_are_few_lines():
    """All scripts of pages together have at most 300 lines of code."""
    assert lines_of(*(path.name for path in FOLDER.glob("*.js") if path.name != CHECKER)) <= 300


def test_the_check_of_a_proof_is_few_lines():
    """The script that checks a proof, which people read before they trust it, has at most 80; it imports nothing, and only the page of an event loads it."""
    text = (FOLDER / CHECKER).read_text()
    loading = [path.name for path in TEMPLATES.glob("*.html") if CHECKER in path.read_text()]

    assert lines_of(CHECKER) <= 80
    assert not re.search(r"\bimport\b", text.replace("importKey", ""))
    assert loading == ["event.html"]


def test_scripts_import_what_there_is():
    """Every module that a script names is one of the files, and no script comes from elsewhere."""
    named = {
        name
        for file, one in assets().items()
        if file.endswith(".js")
        for name in re.findall(rb'(?:import|from) "([^"]+)"', one.body)
    }

    assert named
    assert {name.decode().removeprefix("./") for name in named} <= assets().keys()
