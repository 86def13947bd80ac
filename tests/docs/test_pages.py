"""The pages themselves: their shape, and the names of metrics, log events and versions in them."""

import re

import pytest
import yaml

from aegis_stream.telemetry import LOG_EVENTS, METRICS
from support.docs import PAGES, ROOT, SOURCE, read


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "how-to").glob("*.md")), ids=lambda page: page.name)
def test_log_events_named_in_the_text_exist(page):
    """Every log event that a how-to page names in backticks is one that the program writes."""
    parts = "|".join({name.partition(".")[0] for name in LOG_EVENTS})
    prose = re.sub(
        r"^```[^\n]*\n.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )

    assert set(re.findall(rf"`((?:{parts})\.[a-z_]+)`", prose)) <= set(LOG_EVENTS)


def test_the_alerts_use_metrics_that_exist():
    """The alert rules of docs/how-to/monitor.md name metrics of the service, and cover every condition of the reference."""
    (rules,) = [
        one
        for one in re.findall(r"```yaml\n(.*?)```", read("docs/how-to/monitor.md"), re.DOTALL)
        if "expr" in one
    ]
    worth = re.findall(r"^\| `(aegis_\w+)[^|]* \| [^|]+ \|$", read("docs/reference/metrics.md"), re.MULTILINE)

    named = {
        name
        for one in yaml.safe_load(rules)["groups"][0]["rules"]
        for name in re.findall(r"aegis_\w+", one["expr"])
    }
    assert named <= set(METRICS)
    assert set(worth) <= named


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_a_page_answers_one_question(page):
    """Every page of docs begins with its title and the question that it answers."""
    assert re.match(r"# [^\n]+\n\n[^\n]+\?\n\n", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_of_a_table_has_its_cells(page):
    """Every row of a table has as many cells as its head, so that no renderer drops or adds one."""
    text = re.sub(
        r"^```[^\n]*\n.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)

    assert [
        row
        for table in tables
        for row in table.splitlines()
        if row.replace("\\|", "").count("|") != table.splitlines()[0].replace("\\|", "").count("|")
    ] == []


def test_the_glossary_is_sorted():
    """Each word stands once in the glossary, in the order of the alphabet."""
    words = re.findall(r"^\| ([a-z][^|]*) \|", read("docs/glossary.md").partition("| --- |")[2], re.MULTILINE)

    assert len(words) > 40
    assert words == sorted(set(words))


def test_the_schema_version_in_the_pages_is_the_newest():
    """A page that shows the schema's version shows the one that this version of the program has."""
    newest = max(int(one.name[:4]) for one in (SOURCE / "store" / "sqlite" / "migrations").glob("*.sql"))
    shown = re.findall(r"schema version (\d+)", "".join(page.read_text(encoding="utf-8") for page in PAGES))

    assert shown
    assert {int(one) for one in shown} == {newest}
