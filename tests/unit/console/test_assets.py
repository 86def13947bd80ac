"""Promises of what a browser loads beside a page."""

import gzip
import re

import pytest

from aegis_stream.console.assets import FOLDER, assets

CHECKER = "proof.js"
LINES_MAX = 300
TEMPLATES = FOLDER.with_name("templates")
KILOBYTES_MAX = 12
"""Most of all scripts, and of the style, compressed."""


@pytest.mark.parametrize("kind", ["js", "css"])
def test_scripts_and_style_stay_small(kind):
    """All scripts together, and the style, are at most 12 kB each when they are compressed one by one."""
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in FOLDER.glob(f"*.{kind}")}

    assert sizes
    assert sum(sizes.values()) <= KILOBYTES_MAX * 1000, sizes


def test_scripts_are_few_lines():
    """All scripts together have at most 300 lines of code."""
    lines = [line.strip() for path in FOLDER.glob("*.js") for line in path.read_text().splitlines()]

    assert len([line for line in lines if line and not line.startswith("//")]) <= LINES_MAX


def test_the_check_of_a_proof_stands_alone():
    """The script that checks a proof, which people read before they trust it, imports nothing, and only the page of an event loads it."""
    text = (FOLDER / CHECKER).read_text()
    loading = [path.name for path in TEMPLATES.glob("*.html") if CHECKER in path.read_text()]

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
