"""What a page names exists: commands, options, make targets, files and links."""

import re

import click
import pytest

from aegis_stream.cli.main import cli
from support.docs import PAGES, ROOT, SLUG, SOURCE, code_of, read


def slug_of(heading: str) -> str:
    """Return the anchor of a heading, as the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_exists(page):
    """Whoever copies a `make …` from a page finds that target in the Makefile."""
    targets = set(re.findall(r"^([a-z0-9-]+):", read("Makefile"), re.MULTILINE))
    named = {
        target
        for code in code_of(page.read_text(encoding="utf-8"))
        for target in re.findall(r"^(?:\$ )?make ([a-z0-9-]+)", code)
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


def test_tests_named_in_the_text_exist():
    """Every test that a page names with its file exists there."""
    missing = [
        (page.name, f"{name}::{function}")
        for page in PAGES
        for code in code_of(page.read_text(encoding="utf-8"))
        for name, function in re.findall(r"(tests/[\w/]+\.py)::(\w+)", code)
        if not re.search(rf"^(async )?def {function}\(", read(name), re.MULTILINE)
    ]

    assert missing == []
