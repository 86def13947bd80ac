"""Promises of the build: what is compiled is the source beside it, and means what the source means."""

import ast
import hashlib
import json
import tomllib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from aegis_stream import build
from aegis_stream.api.ingest_body import RequestBounds, split
from aegis_stream.cli.checks import check_build
from aegis_stream.errors import Invalid
from aegis_stream.pipeline.settle import Watermark
from aegis_stream.telemetry import place_of
from support.docs import ROOT

HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "hooks"
]
MODULES: list[str] = HOOK["custom"]["modules"]
SUFFIX = EXTENSION_SUFFIXES[0]


def digest(path: Path) -> str:
    """Return the digest of a file, as the record has it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def package(tmp_path) -> Path:
    """Return the folder of a compiled package of two modules."""
    folder = tmp_path / "aegis_stream"
    (folder / "front").mkdir(parents=True)
    sources = {}
    for name in ("front/head", "ports"):
        source = folder / f"{name}.py"
        source.write_text(f"# {name}\n")
        source.with_suffix(SUFFIX).touch()
        sources[f"aegis_stream/{name}.py"] = digest(source)
    (folder / build.RECORD).write_text(json.dumps({"sources": sources}))
    return folder


# ── the record ──


def test_a_package_without_a_record_is_pure(tmp_path):
    """Without a record of the compiler this is pure Python."""
    assert build.label(tmp_path) == "pure Python"
    assert build.installed(tmp_path) == build.Build("pure")
    assert check_build(build.installed(tmp_path)).state == "ok"


def test_a_compiled_package_says_so(package):
    """A record whose sources are unchanged is a compiled build, and nothing is stale."""
    assert build.label(package) == "compiled"
    assert build.installed(package) == build.Build("compiled")
    assert check_build(build.installed(package)) == ("build", "ok", "compiled", "")


@pytest.mark.parametrize("what", ["edited", "removed", "not compiled for this Python"])
def test_a_source_that_is_not_what_runs_is_named(package, what):
    """A source that was edited or removed after it was compiled, or whose compiled module is missing, is a problem by name."""
    source = package / "ports.py"
    if what == "edited":
        source.write_text("# edited\n")
    elif what == "removed":
        source.unlink()
    else:
        source.with_suffix(SUFFIX).rename(source.with_suffix(".cpython-27.so"))

    installed = build.installed(package)

    assert installed.stale == ("aegis_stream/ports.py",)
    found = check_build(installed)
    assert found.state == "problem"
    assert "aegis_stream/ports.py" in found.detail
    assert found.remedy


def test_the_tests_run_what_is_in_this_checkout():
    """What is under test is this checkout: its source, or modules that were compiled from exactly this source."""
    if build.installed().kind == "pure":
        assert build.FOLDER == ROOT / "src" / "aegis_stream"
        assert not [one for one in build.FOLDER.rglob("*") if one.suffix in (".so", ".pyd")]
        return
    sources = json.loads((build.FOLDER / build.RECORD).read_text())["sources"]
    assert build.installed().stale == ()
    assert sources == {
        f"aegis_stream/{name}.py": digest(ROOT / "src" / "aegis_stream" / f"{name}.py") for name in MODULES
    }
    for one in (ROOT / "src" / "aegis_stream").rglob("*.py"):
        assert digest(build.FOLDER.parent / one.relative_to(ROOT / "src")) == digest(one), (
            "run `make compiled`"
        )


# ── what stays the same ──


def test_the_place_of_an_error_in_a_compiled_module_is_known():
    """An error that is raised in a compiled module names its file and line, as in pure Python."""
    with pytest.raises(Invalid) as caught:
        split(b"", RequestBounds(1000, 10, 10), lines=False)

    name, _, line = place_of(caught.value).partition(":")
    assert name == "ingest_body.py"
    source = (ROOT / "src/aegis_stream/api/ingest_body.py").read_text().splitlines()
    assert "raise Invalid(" in source[int(line) - 1]


def test_sequences_have_no_largest_value():
    """Integers of compiled code grow beyond 64 bits, as in pure Python."""
    watermark = Watermark(2**62 - 1)

    watermark.complete(2**62, 2**64)
    watermark.complete(2**64 + 1, 2**100)

    assert watermark.value == 2**100


# ── what a compiled module may contain ──

AT_ONCE = frozenset(
    {"all", "any", "dict.fromkeys", "extend", "join", "max", "min", "next", "sum", "tuple", "update"}
)
"""Calls that read all of a generator expression, or that the compiler itself turns into a loop that stops early (next, any, all)."""


def trees() -> list[tuple[str, ast.Module]]:
    """Parse every module that is compiled."""
    return [(name, ast.parse((ROOT / "src/aegis_stream" / f"{name}.py").read_text())) for name in MODULES]


def lazy_expressions(tree: ast.Module) -> list[int]:
    """Return the lines of generator expressions whose laziness could matter."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.GeneratorExp):
            continue
        parent = parents[node]
        name = ast.unparse(parent.func) if isinstance(parent, ast.Call) else ""
        eager = isinstance(parent, ast.Starred) or name in AT_ONCE or name.rpartition(".")[2] in AT_ONCE
        nested = any(
            isinstance(one.iter, ast.GeneratorExp | ast.Name) and _is_generator(tree, one.iter)
            for one in node.generators
        )
        if not eager or nested:
            lines.append(node.lineno)
    return lines


def _is_generator(tree: ast.Module, iterated: ast.expr) -> bool:
    """Tell whether something that is iterated is a generator expression, or a name to which one is assigned."""
    if isinstance(iterated, ast.GeneratorExp):
        return True
    return any(
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.GeneratorExp)
        and any(
            isinstance(one, ast.Name) and isinstance(iterated, ast.Name) and one.id == iterated.id
            for one in node.targets
        )
        for node in ast.walk(tree)
    )


def test_no_compiled_module_relies_on_a_lazy_generator_expression():
    """The compiler evaluates a generator expression at once: what it would take from a source beyond the first would be lost."""
    assert {name: lines for name, tree in trees() if (lines := lazy_expressions(tree))} == {}


def test_the_rule_about_generator_expressions_finds_them():
    """The check above finds one that is assigned, and one that reads from another."""
    assigned = "taken = (one.take() for one in sources)\nfirst = next((one for one in taken if one), None)\n"
    inner = "first = next((one for one in (one.take() for one in sources) if one), None)\n"
    plain = "total = sum(one.size for one in sources)\n"

    assert lazy_expressions(ast.parse(assigned)) == [1, 2]
    assert lazy_expressions(ast.parse(inner)) == [1, 1]
    assert lazy_expressions(ast.parse(plain)) == []


def calls_of(function: ast.AST) -> set[str]:
    """Return what a function calls, as it is written."""
    return {ast.unparse(one.func) for one in ast.walk(function) if isinstance(one, ast.Call)}


def test_no_compiled_function_calls_itself():
    """Compiled code has no limit of recursion: what somebody sends must not choose how deep it goes, or the process dies."""
    found = []
    for name, tree in trees():
        for scope in ast.walk(tree):
            for one in ast.iter_child_nodes(scope):
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                    own = f"self.{one.name}" if isinstance(scope, ast.ClassDef) else one.name
                    if own in calls_of(one):
                        found.append(f"{name}: {one.name}")
    assert found == []


def test_no_compiled_module_defines_a_struct():
    """The compiler drops the keywords of a class statement, such as gc=False and forbid_unknown_fields: structs lie elsewhere."""
    found = [
        f"{name}: {node.name}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and (node.keywords or any(ast.unparse(base).endswith("Struct") for base in node.bases))
    ]
    assert found == []


SLOW_BASES = frozenset({"Enum", "Exception", "NamedTuple", "Protocol"})
"""Classes outside of the compiled modules from which some inherit: none of their objects has an attribute that is read for each event."""


def test_compiled_classes_inherit_from_compiled_ones():
    """An object of a class with a foreign base keeps its attributes in a dictionary, which costs each event microseconds."""
    defined = {node.name for _, tree in trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    found = {
        f"{name}: {node.name}({ast.unparse(base)})"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if ast.unparse(base).rpartition(".")[2].partition("[")[0] not in defined | SLOW_BASES
    }
    assert found == set()
