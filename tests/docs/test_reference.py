"""The reference lists what the code has: each setting, error code, metric, log event, action, call and dependency has a row."""

import ast
import re
import tomllib
from collections.abc import Iterator

import pytest

from aegis_stream import errors
from aegis_stream.api.problems import STATUSES
from aegis_stream.domain.audit import ACTIONS
from aegis_stream.settings import SETTINGS, Choice, Ranged, Settings
from aegis_stream.settings.tree import GROUPS
from aegis_stream.telemetry import LOG_EVENTS, METRICS
from support.docs import SLUG, SOURCE, read, rows


def codes_in(tree: ast.AST) -> Iterator[str]:
    """Yield every error code that a module names: code="…", class attributes, and what `plain_problem` and `Refusal` are called with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            yield from _texts(node.value)
        elif isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == "code":
                    yield from _texts(line.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "plain_problem":
            yield from _texts(node.args[1])
        elif (
            isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal"
        ):  # (status, code, detail)
            if isinstance(node.args[0], ast.Constant):
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


def test_every_setting_has_its_row():
    """docs/reference/configuration.md has a row for every setting, and for nothing else."""
    documented = {name for name in rows("docs/reference/configuration.md") if name.startswith("AEGIS_")}

    # The command line's own variables are on the page too, in a table of their own.
    assert {one.variable for one in SETTINGS.values()} == documented - {
        "AEGIS_CONFIG",
        "AEGIS_DEMO_EVENTS",
    }


@pytest.mark.parametrize("name", SETTINGS)
def test_a_settings_row_says_its_default_and_range(name):
    """Default and range on the page are those of the code."""
    default, allowed, _ = rows("docs/reference/configuration.md")[SETTINGS[name].variable]

    assert default.strip("`–") == Settings().shown()[name]
    setting = SETTINGS[name]
    if isinstance(setting, Ranged):
        low, high = allowed.split(" – ")
        assert (float(low), float(high)) == (setting.low, setting.high)
    elif isinstance(setting, Choice):
        assert tuple(allowed.replace("`", "").split(", ")) == setting.options
    else:
        assert allowed == "–"


def test_every_setting_is_under_the_heading_of_its_group():
    """A heading with a group's name in brackets has the rows of that group's settings, in the order of the code."""
    sections = re.split(
        r"^## [^\n]*`\[(\w+)\]`$", read("docs/reference/configuration.md"), flags=re.MULTILINE
    )
    documented = {
        group: re.findall(r"^\| `(AEGIS_\w+)` \|", text.partition("\n## ")[0], re.MULTILINE)
        for group, text in zip(sections[1::2], sections[2::2], strict=True)
    }

    assert documented == {
        group: [one.variable for one in members.values()] for group, members in GROUPS.items()
    }


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


def test_every_dependency_has_its_row():
    """docs/reference/dependencies.md has a row for every dependency of pyproject.toml, and for nothing else."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]

    assert {re.split(r"[\[<>=~! ]", one)[0] for one in wanted} == set(rows("docs/reference/dependencies.md"))


def test_the_bill_of_materials_is_made_of_pinned_packages():
    """`make sbom` reads requirements/run.txt, which pins every dependency at run time, each with its hash, as does its own tool."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    pinned = {name: read(f"requirements/{name}.txt") for name in ("run", "sbom")}

    for text in pinned.values():
        lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert all(re.match(r"[a-z0-9-]+==\S+( ;.*)? \\$", line) for line in lines)
        assert len(re.findall(r"^[a-z0-9-]+==.*\\\n {4}--hash=sha256:", text, re.MULTILINE)) == len(lines)
    wanted = {re.split(r"[\[<>=~! ]", one)[0] for one in project["dependencies"]}
    assert wanted <= set(re.findall(r"^([a-z0-9-]+)==", pinned["run"], re.MULTILINE))
    assert "requirements/run.txt" in read("Makefile").partition("\nsbom:")[2]


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
