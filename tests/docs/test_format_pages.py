"""The descriptions of formats cannot drift: each says what the format sends, and one table lists them all."""

import json
import re

import pytest

from aegis_stream.formats import REGISTRY
from aegis_stream.formats.elastic_template import index_template
from support.docs import ROOT, read
from support.pages import blocks_of, format_text, formats_described


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_format_is_described(name):
    """A format's section names its content type, its parameters and the compressions it may have."""
    page, format_ = format_text(name), REGISTRY[name]

    head = (ROOT / "tests" / "golden" / name / "request.http").read_bytes().partition(b"\n\n")[0]
    assert f"`{head.decode().rpartition('Content-Type: ')[2]}`" in page
    assert all(f"{parameter}={value}" in page for parameter, value in format_.query)
    (row,) = re.findall(r"^\| compression \| (.+) \|$", page, re.MULTILINE)
    assert set(re.findall(r"`(gzip|zstd)`(?!, which)", row)) == format_.compressions


def test_every_format_is_described_once():
    """There is one section for every format, and none for anything else."""
    assert sorted(formats_described()) == sorted(REGISTRY)


def test_the_table_lists_every_format():
    """The table of formats has a row for each, with its content type, its limits and a link to its section."""
    table = re.findall(
        r"^\| \[`(\w+)`\]\([^)]*#format-(\w+)\) \|.+\| `([^`]+)` \| ([^|]+) \|$",
        read("docs/reference/formats.md"),
        re.MULTILINE,
    )

    event = (ROOT / "tests" / "golden" / "events.txt").read_bytes().splitlines()[0]

    assert [(name, anchor) for name, anchor, *_ in table] == [(name, name) for name in REGISTRY]
    for name, _, content_type, limits in table:
        format_ = REGISTRY[name]
        assert format_.encode([event]).content_type == content_type
        assert (limits == "1") == (not format_.batches)
        assert ("up to 1,000" in limits) == (format_.events_max == 1000)
        for number, unit in re.findall(r"([\d,.]+) (MB|MiB|bytes)", limits):
            size = float(number.replace(",", "")) * {"MB": 1_000_000, "MiB": 1024 * 1024, "bytes": 1}[unit]
            assert format_.body_bytes_max == size


def test_every_hidden_loss_is_accounted_for():
    """Each of the 26 known losses is impossible, detected, or named as a limit, with the reason."""
    rows = re.findall(
        r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \| (.+) \|$",
        read("docs/reference/hidden-losses.md"),
        re.MULTILINE,
    )

    assert [int(number) for number, *_ in rows] == list(range(1, 27))
    assert {here for _, _, _, here, _ in rows} == {"impossible", "detected", "limit"}


def test_the_page_shows_the_index_template():
    """What the page tells to put is what the function returns."""
    (shown,) = blocks_of(read("docs/reference/elastic-index-template.md"), "json")

    assert json.loads(shown) == index_template()
