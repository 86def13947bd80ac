"""The pages about formats cannot drift: every format has one, and says there what it sends."""

import json
import re
from pathlib import Path

import pytest

from aegis_stream.formats import REGISTRY
from aegis_stream.formats.elastic_template import index_template

PAGES = Path(__file__).parents[2] / "docs" / "reference" / "formats"


def read(name):
    """Return the text of a page."""
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_format_has_its_page(name):
    """A format's page names it, its content type, its parameters and the compressions it may have."""
    page, format_ = read(name), REGISTRY[name]

    assert page.startswith(f"# Format {name}\n")
    head = (PAGES.parents[2] / "tests" / "golden" / name / "request.http").read_bytes().partition(b"\n\n")[0]
    assert f"`{head.decode().rpartition('Content-Type: ')[2]}`" in page
    assert all(f"{parameter}={value}" in page for parameter, value in format_.query)
    (row,) = re.findall(r"^\| compression \| (.+) \|$", page, re.MULTILINE)
    assert set(re.findall(r"`(gzip|zstd)`(?!, which)", row)) == format_.compressions


def test_no_page_is_left_over():
    """There is a page for every format, and no other."""
    assert {one.stem for one in PAGES.glob("*.md")} == set(REGISTRY)


def test_every_hidden_loss_is_accounted_for():
    """Each of the 25 known losses is impossible, detected, or named as a limit, with the reason."""
    rows = re.findall(
        r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \| (.+) \|$",
        (PAGES.parent / "hidden-losses.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )

    assert [int(number) for number, *_ in rows] == list(range(1, 26))
    assert {here for _, _, _, here, _ in rows} == {"impossible", "detected", "limit"}


def test_the_page_shows_the_index_template():
    """What the page tells to put is what the function returns."""
    (shown,) = re.findall(r"```json\n(.+?)\n```", read("elastic_bulk"), re.DOTALL)

    assert json.loads(shown) == index_template()
