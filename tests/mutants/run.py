"""Change the code in small ways, one at a time, and count the changes that no test notices: `make mutants`.

mutmut changes functions, sql_mutants.py statements of SQL. This program gives each module of modules.toml its own folder, runs its tests for each change
(mutant_runs.py), and compares the survivors with explained.toml. The exit status is 1 when a survivor has no explanation.
"""

import ast
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mutmut.mutation.file_mutation import mutate_file_contents
from sql_mutants import mutants_of

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WORK = ROOT / ".cache" / "mutants-work"
OVERLAY = ROOT / "src" / "aegis_stream" / "store" / "sqlite" / "overlay.sql"
MEMORY = Path("/dev/shm")
"""Where the tests keep their files: the disk would take most of the time."""
TEST_S_MAX = 60
"""Longest time for one test, seconds."""
KILLED = {"failed", "endless"}
"""What became of a mutant that the tests noticed: one failed, or needed many times as much CPU time as it does."""
UNDECIDED = {"broken", "not run"}
"""The tests could not be run, or took too long on this machine. That proves nothing, so it is not counted as killed."""


@dataclass
class Survivor:
    """A change that no test noticed: the function, and the lines before and after."""

    function: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.function}\n    - {self.before}\n    + {self.after}"


@dataclass
class Tally:
    """What came of the mutants of one module."""

    name: str
    mutants: int = 0
    killed: int = 0
    undecided: int = 0
    explained: int = 0
    survivors: list[Survivor] = field(default_factory=list)

    def row(self) -> str:
        """Return the row of the table in docs/explanation/mutation-testing.md."""
        share = 100 * self.killed / self.mutants if self.mutants else 100
        counts = f"{self.mutants} | {self.killed} | {share:.0f} % | {self.undecided} | {self.explained}"
        return f"| `{self.name}` | {counts} | {len(self.survivors)} |"


def write_config(folder: Path) -> None:
    """Write what pytest reads in the folder of a module."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    options |= {"pythonpath": ["src", "tests", "."], "timeout": TEST_S_MAX}
    lines = ["[tool.pytest.ini_options]", *(f"{key} = {json.dumps(value)}" for key, value in options.items())]
    (folder / "pyproject.toml").write_text("\n".join(lines) + "\n")


def folder_of(name: str) -> Path:
    """Return the folder of a module."""
    return WORK / name.replace("/", "-")


def path_of(name: str) -> Path:
    """Return the path of a module below the root."""
    return Path("src", "aegis_stream", name if name.endswith(".sql") else f"{name}.py")


def made_of(name: str) -> Path:
    """Return the file with the mutants of a module."""
    return folder_of(name) / path_of(name)


def make(name: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """Make the mutants of a module.

    Returns: the text of its file with all of them, and for each mutant the function or statement that it changes, and the
        changed statement.
    """
    source = ROOT / path_of(name)
    text = source.read_text()
    if name.endswith(".sql"):
        return text, {one.key: (one.statement, one.text) for one in mutants_of(source, OVERLAY)}
    made = mutate_file_contents(str(source), text)
    keys = [f"aegis_stream.{name.replace('/', '.')}.{one}" for one in made.mutant_names]
    return made.code, {key: (key.rpartition("__mutmut_")[0], "") for key in keys}


def mutate(name: str, tests: list[str], explained: list[dict[str, str]], *, again: bool) -> None:
    """Make the mutants of a module, in a folder of its own, and run its tests for each.

    Args:
        again: keep what the last run found killed, and what is explained, if the module is unchanged since, and run today's tests
            on the others only.
    """
    code, mutants = make(name)
    is_same = again and made_of(name).exists() and made_of(name).read_text() == code
    kept = results_of(name) if is_same else {}
    for key, survivor in survivors_of(name) if is_same else ():
        if not is_explained(survivor, name, explained):
            del kept[key]
    folder = folder_of(name)
    shutil.rmtree(folder, ignore_errors=True)
    for copied in ("src", "tests"):
        shutil.copytree(ROOT / copied, folder / copied, ignore=shutil.ignore_patterns("__pycache__"))
    made_of(name).write_text(code)
    write_config(folder)
    (folder / "task.json").write_text(
        json.dumps({key: mutant for key, mutant in mutants.items() if key not in kept})
    )
    with (
        (folder / "output.txt").open("w") as output,
        tempfile.TemporaryDirectory(prefix="mutants-", dir=MEMORY if MEMORY.is_dir() else None) as temporary,
    ):
        ended = subprocess.run(
            [*(sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "mutant_runs"),
             *("-k", "not postgres", "--basetemp", f"{temporary}/tests", *tests)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": f"{folder}/src:{HERE}"},
            stdout=output,
            stderr=output,
            check=False,
        )  # fmt: skip
    found = json.loads((folder / "results.json").read_text()) if (folder / "results.json").exists() else {}
    if ended.returncode or not (found or kept):
        tail = (folder / "output.txt").read_text().splitlines()[-40:]
        sys.exit(f"the tests could not be run for {name}; the last lines:\n" + "\n".join(tail))
    for line in (folder / "output.txt").read_text().splitlines():
        if line.startswith("left out: "):
            print(f"  {line}: it fails while calls are noted", flush=True)
    (folder / "results.json").write_text(
        json.dumps({key: kept.get(key) or found.get(key, "not run") for key in mutants})
    )


def results_of(name: str) -> dict[str, str]:
    """Return what became of each mutant; empty when the module was not mutated yet."""
    results = folder_of(name) / "results.json"
    return json.loads(results.read_text()) if results.exists() else {}


def was_killed(status: str) -> bool:
    """Tell whether a test noticed a mutant; one that no test calls was not noticed."""
    return status in KILLED


def survivor_in_sql(name: str, key: str) -> Survivor:
    """Return what a mutant changed in a statement."""
    [one] = [one for one in mutants_of(made_of(name), OVERLAY) if one.key == key]
    return Survivor(one.statement, one.before, one.after)


def functions_of(made: Path) -> dict[str, list[str]]:
    """Return the lines of each function of a file with mutants."""
    text = made.read_text()
    lines = text.splitlines()
    return {
        node.name: [line.strip() for line in lines[node.lineno - 1 : node.end_lineno]]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def survivor_of(key: str, functions: dict[str, list[str]]) -> Survivor:
    """Return what a mutant changed."""
    mutant = key.rpartition(".")[2]
    mangled = mutant.rpartition("__mutmut_")[0]
    original, changed = (
        [line.replace(one, mangled) for line in functions[one]] for one in (f"{mangled}__mutmut_orig", mutant)
    )
    different = [line for line in difflib.ndiff(original, changed) if line[0] in "+-"]
    before = " ".join(line[2:] for line in different if line[0] == "-")
    after = " ".join(line[2:] for line in different if line[0] == "+")
    function = re.sub(r"^x_|^xǁ", "", mangled).replace("ǁ", ".")
    return Survivor(function, before, after)


def survivors_of(name: str) -> Iterator[tuple[str, Survivor | None]]:
    """Return what the last run did not find killed, with what it changed; None for a mutant that is undecided."""
    is_sql = name.endswith(".sql")
    functions = {} if is_sql else functions_of(made_of(name))
    for key, status in results_of(name).items():
        if status in UNDECIDED:
            yield key, None
        elif not was_killed(status):
            yield key, survivor_in_sql(name, key) if is_sql else survivor_of(key, functions)


def count(name: str, explained: list[dict[str, str]]) -> Tally:
    """Count what came of the mutants of a module."""
    results = results_of(name)
    tally = Tally(name, len(results), sum(map(was_killed, results.values())))
    for _, survivor in survivors_of(name):
        if survivor is None:
            tally.undecided += 1
        elif is_explained(survivor, name, explained):
            tally.explained += 1
        else:
            tally.survivors.append(survivor)
    return tally


def is_explained(survivor: Survivor | None, name: str, explained: list[dict[str, str]]) -> bool:
    """Tell whether a survivor has an explanation: patterns of the module, the line before, the line after; `case_only`."""
    return survivor is not None and any(
        re.fullmatch(one.get("module", ".*"), name)
        and re.search(one.get("before", ""), survivor.before)
        and re.search(one.get("after", ""), survivor.after)
        and (not one.get("case_only") or survivor.before.lower() == survivor.after.lower())
        for one in explained
    )


def chosen(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Return the modules to mutate, with their tests."""
    known = tomllib.loads((HERE / "modules.toml").read_text())["module"]
    if unknown := set(names) - {one["name"] for one in known}:
        sys.exit(f"not in tests/mutants/modules.toml: {', '.join(sorted(unknown))}")
    for one in known:
        if not names or one["name"] in names:
            yield one["name"], one["tests"]


def main(arguments: list[str]) -> int:
    """Mutate the modules named, or all.

    --again: of modules that were mutated before, run the open survivors only. --show: run nothing, only tell what the last run found.
    """
    options = {one for one in arguments if one.startswith("--")}
    if unknown := options - {"--show", "--again"}:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; the options are --show and --again")
    explained = tomllib.loads((HERE / "explained.toml").read_text())["survivor"]
    tallies = []
    for name, tests in chosen([one for one in arguments if one not in options]):
        mutated = bool(results_of(name))
        if "--show" in options and not mutated:
            continue
        if "--show" not in options:
            mutate(name, tests, explained, again=mutated and "--again" in options)
        tally = count(name, explained)
        tallies.append(tally)
        print(tally.row(), flush=True)
        for survivor in tally.survivors:
            print(f"  survived: {survivor}", flush=True)
    print(
        "\n| module | mutants | killed | share | undecided | explained | open |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    print("\n".join(tally.row() for tally in tallies))
    return int(any(tally.survivors for tally in tallies))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
