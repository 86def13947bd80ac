"""What a page names exists: commands, options, make targets, files and links."""

import re

import click
import pytest
import yaml

from aegis_stream.cli.main import cli
from aegis_stream.telemetry import LOG_EVENTS, METRICS
from support.docs import PAGES, ROOT, SLUG, SOURCE, code_of, read


def slug_of(heading: str) -> str:
    """Return the anchor of a heading, as the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_exists(page):
    """Whoever copies a `make …` from a page finds that target in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = {
        target
        for code in code_of(page.read_text(encoding="utf-8"))
        for target in re.findall(r"^(?:\$ )?make ([a-z-]+)", code)
    }

    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_exists(page):
    """Whoever copies an `aegis …` from a page finds that command, and each of its options."""
    wrong = [
        problem
        for code in code_of(page.read_text(encoding="utf-8"))
        for call in re.findall(r"(?:^|[\s/(;])aegis ((?:[a-z-]|--).*)", code)
        if (problem := problem_of_call(call))
    ]

    assert wrong == []


def problem_of_call(call: str) -> str | None:
    """Return what is wrong with the arguments of `aegis`, or None; the first word that no command line has ends the look."""
    command: click.Command = cli
    known = {"--help", "-h"}
    for word in re.split(r"[|;&>]|\s#\s", call)[0].split():
        known |= {text for one in command.params for text in one.opts}
        if word.startswith("-") and word != "-":
            if word.rstrip(",.:)") not in known:
                return f"{word} is no option in: aegis {call}"
        elif isinstance(command, click.Group):
            if word not in command.commands:
                return f"{word} is no command in: aegis {call}" if SLUG.fullmatch(word) else None
            command = command.commands[word]
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    """Every link to a file of the repository finds the file, and the heading where it names one."""
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8")):
        if ":" in target:
            continue
        found = (page.parent / target) if target else page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug_of(one) for one in headings}, f"{target}#{anchor}"


def test_every_page_is_listed():
    """docs/index.md leads to every page."""
    linked = {(ROOT / "docs" / one).resolve() for one in re.findall(r"\]\(([^)#]+)\)", read("docs/index.md"))}

    assert [page.name for page in PAGES if page.resolve() not in linked and page.name != "index.md"] == []


def test_files_named_in_the_text_exist():
    """Every file that a page names with its folder exists."""
    missing = [
        (page.name, name)
        for page in PAGES
        for code in code_of(page.read_text(encoding="utf-8"))
        for name in re.findall(r"(?<![\w/.$<-])((?:[a-z_]+/)+\w+\.(?:py|sql|md|toml|txt))\b", code)
        if not any((place / name).exists() for place in (ROOT, SOURCE, page.parent))
    ]

    assert missing == []


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
