"""Documentation cannot drift: what the pages name exists, and what exists has its row."""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from aegis_stream import errors
from aegis_stream.api.problems import STATUSES
from aegis_stream.cli.main import cli
from aegis_stream.domain.audit import ACTIONS
from aegis_stream.settings import _CHOICES, _RANGES, Settings
from aegis_stream.telemetry import LOG_EVENTS, METRICS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "aegis_stream"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SLUG = re.compile(r"[a-z]+(-[a-z]+)*")


def read(path: str) -> str:
    """Return the text of a page."""
    return (ROOT / path).read_text(encoding="utf-8")


def rows(page: str) -> dict[str, list[str]]:
    """Return the rows of a page's tables whose first cell is one name in backticks: name → other cells."""
    found = re.findall(r"^\| `([^`|]+)` \|(.*)\|$", read(page), re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split(" | ")] for name, rest in found}


def code_of(text: str) -> Iterator[str]:
    """Yield what a page shows as code: each line of its blocks, each piece in backticks."""
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    prose = re.sub(r"^```[^\n]*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`([^`\n]+)`", prose)


def codes_in(tree: ast.AST) -> Iterator[str]:
    """Yield every error code that a module names: code="…", class attributes, and what `plain_problem` is called with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            yield from _texts(node.value)
        elif isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == "code":
                    yield from _texts(line.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "plain_problem":
            yield from _texts(node.args[1])
        elif isinstance(node, ast.Tuple) and len(node.elts) == 3:  # (code, title, detail), chosen by status
            code, title, _ = node.elts
            if isinstance(title, ast.Constant) and str(title.value)[:1].isupper():
                yield from _texts(code)


def _texts(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.IfExp):
        yield from _texts(value.body)
        yield from _texts(value.orelse)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str) and SLUG.fullmatch(value.value):
        yield value.value


def slug_of(heading: str) -> str:
    """Return the anchor of a heading, as the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_every_setting_has_its_row():
    """docs/reference/configuration.md has a row for every field of Settings, and for nothing else."""
    documented = {name for name in rows("docs/reference/configuration.md") if name.startswith("AEGIS_")}

    # The command line's own variables stand on the page too, in a table of their own.
    assert {f"AEGIS_{one.name.upper()}" for one in fields(Settings)} == documented - {
        "AEGIS_CONFIG",
        "AEGIS_DEMO_EVENTS",
    }


@pytest.mark.parametrize("name", [one.name for one in fields(Settings)])
def test_a_settings_row_says_its_default_and_range(name):
    """Default and range on the page are those of the code."""
    default, allowed, _ = rows("docs/reference/configuration.md")[f"AEGIS_{name.upper()}"]

    assert default.strip("`–") == Settings().shown()[name]
    if name in _RANGES:
        low, high = allowed.split(" – ")
        assert (float(low), float(high)) == _RANGES[name]
    elif name in _CHOICES:
        assert tuple(allowed.replace("`", "").split(", ")) == _CHOICES[name]
    else:
        assert allowed == "–"


def test_every_error_code_has_its_row():
    """docs/reference/errors.md has a row for every error code of the source, and for nothing else."""
    found = {
        code
        for module in SOURCE.rglob("*.py")
        for code in codes_in(ast.parse(module.read_text(encoding="utf-8")))
    }

    assert found == set(rows("docs/reference/errors.md"))


def test_the_kinds_of_errors_have_their_status():
    """The status beside a kind of error is the one that the API answers."""
    documented = rows("docs/reference/errors.md")

    for kind, status, _ in STATUSES:
        assert documented[kind.code][0] == str(status), kind.code
    assert documented[errors.Misconfigured.code][0] == "–"


def test_every_recorded_action_has_its_row():
    """docs/reference/audit.md has a row for every action that is recorded, and for nothing else."""
    assert {
        name for name in rows("docs/reference/audit.md") if re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
    } == set(ACTIONS)


def test_every_metric_and_log_event_has_its_row():
    """The reference has a row for every metric, with its kind, and for every log event, and no others."""
    documented = rows("docs/reference/metrics.md") | rows("docs/reference/log-events.md")
    metrics = {name: cells[0] for name, cells in documented.items() if re.fullmatch(r"aegis_\w+", name)}
    parts = {name.partition(".")[0] for name in LOG_EVENTS}
    events = {name for name in documented if re.fullmatch(rf"({'|'.join(parts)})\.\w+", name)}

    assert metrics == {name: kind for name, (kind, _) in METRICS.items()}
    assert events == set(LOG_EVENTS)


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


def test_every_dependency_has_its_row():
    """docs/reference/dependencies.md has a row for every dependency of pyproject.toml, and for nothing else."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]

    assert {re.split(r"[\[<>=~! ]", one)[0] for one in wanted} == set(rows("docs/reference/dependencies.md"))


def test_every_call_of_the_api_has_its_row():
    """docs/reference/api.md names every path that the API documents, with its method."""
    page = read("docs/reference/api.md").replace(
        "`, `…/resume`", "`\n`POST …/forwarding-destinations/{id}/resume`"
    )
    documented = {
        (method, re.sub(r"\{\w+\}", "{}", path.replace("…", "/api/orgs/{org_id}")))
        for method, path in re.findall(r"`(GET|POST|PATCH|DELETE) ([^\s`]+)`", page)
    }
    from aegis_stream.api.app import DOCUMENTED

    answered = {
        (str(method), re.sub(r"\{\w+(:\w+)?\}", "{}", path))
        for one in DOCUMENTED
        for path in one.paths
        for method in one.http_methods
    }

    assert answered | {("POST", "/api/orgs/{}/events")} == documented - {("GET", "/healthz")}
