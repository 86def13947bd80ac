"""A plugin of pytest that runs the collected tests for each mutant of a module, each time in a child process.

The tests are collected once, so a mutant costs a fork and the tests that call the changed function: the fastest first, and none after
the first that fails. tests/mutants/run.py starts pytest with this plugin, in a folder with the changed module.
"""

import functools
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import Phase, settings
from mutmut.mutation import trampoline

from aegis_stream.store.sqlite import unit

settings.register_profile(
    "mutants",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    phases=(Phase.explicit, Phase.generate),
)
"""One failing example is enough, and the same ones are tried for each mutant: few, because survivors cost most of the time."""
settings.load_profile("mutants")

TASK = Path("task.json")
"""The mutants to try: what each changes, a function or a statement of SQL, and the text of a changed statement; in the folder
where pytest runs."""
RESULTS = Path("results.json")
"""The status of each mutant, as soon as it is known."""
SURVIVED, FAILED, UNCALLED, ENDLESS, BROKEN = "survived", "failed", "uncalled", "endless", "broken"
CPU_FACTOR, CPU_S = 5, 10
"""A mutant is endless when its tests need so many times as much CPU time as without a change, and so many seconds more."""
WALL_S_MAX = 300
"""Longest time for a mutant on a machine that does other things too, seconds; one that needs more was not decided."""


def pytest_runtestloop(session):
    """Run the tests once as they are, and then once for each mutant."""
    if session.testsfailed or not session.items:
        return None
    base = session.config._tmp_path_factory.getbasetemp()
    status, found = in_child(lambda out: record(session.items, out), WALL_S_MAX * 10)
    if status != 0:
        session.shouldfail = "no test passes without any change"
        return True
    results = {}
    for mutant, (changed, text) in json.loads(TASK.read_text(encoding="utf-8")).items():
        calling = [(one["cpu_s"], index) for index, one in enumerate(found) if changed in one["called"]]
        tests = [session.items[index] for _, index in sorted(calling)]
        limit_s = int(CPU_FACTOR * sum(seconds for seconds, _ in calling)) + CPU_S
        change = functools.partial(reword, changed, text) if text else functools.partial(activate, mutant)
        results[mutant] = judge(change, tests, limit_s) if tests else UNCALLED
        RESULTS.write_text(json.dumps(results), encoding="utf-8")
        for left in base.iterdir():
            shutil.rmtree(left, ignore_errors=True)
    return True


def record(items, out: int) -> int:
    """Run all tests on the code as it is, and write what each calls and what it costs; return 1 when none passes.

    A test that fails, because noting the calls takes it too long, is left out.
    """
    called: set[str] = set()
    trampoline.record_trampoline_hit = lambda name, caller=None: called.add(name)
    trampoline.set_mutant_under_test("stats")

    class Noting(dict):
        def __getitem__(self, name: str) -> str:
            called.add(name)
            return super().__getitem__(name)

    texts = Noting(unit.statements())
    unit.statements = lambda: texts
    found = []
    for item in items:
        called.clear()
        begun = time.process_time()
        passed = passes(item)
        if not passed:
            print(f"\nleft out: {item.nodeid}", flush=True)
        found.append({"called": sorted(called) if passed else [], "cpu_s": time.process_time() - begun})
    with os.fdopen(out, "w") as file:
        json.dump(found, file)
    return 0 if any(one["called"] for one in found) else 1


def activate(mutant: str) -> None:
    """Have a changed function called in place of the original."""
    trampoline.set_mutant_under_test(mutant)


def reword(statement: str, text: str) -> None:
    """Have a changed statement run in place of the original."""
    unit.statements()[statement] = text


def judge(change: Callable[[], None], tests, limit_s: int) -> str:
    """Make a change, and run tests until one fails."""

    def work(_out: int) -> int:
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 1))
        change()
        return 0 if all(passes(test) for test in tests) else 1

    status, _ = in_child(work, WALL_S_MAX)
    return {0: SURVIVED, 1: FAILED, -signal.SIGXCPU: ENDLESS}.get(status, BROKEN)


def passes(item) -> bool:
    """Run a test with its fixtures, and tell whether it passed; what it set up is taken down."""
    failed = item.session.testsfailed
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
    return item.session.testsfailed == failed


def in_child(work: Callable[[int], int], wall_s: float) -> tuple[int, list]:
    """Run a function in a child process; return its status, or the negative signal that ended it, and what it wrote."""
    source, sink = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = work(sink)
        finally:
            os._exit(status)
    os.close(sink)
    handle, deadline, parts = os.pidfd_open(child), time.monotonic() + wall_s, []
    try:
        while select.select([source], [], [], max(0.0, deadline - time.monotonic()))[0]:
            parts.append(os.read(source, 1 << 16))
            if not parts[-1]:
                break
        if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(handle)
        os.close(source)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = b"".join(parts)
    return status, json.loads(text) if text else []
