"""Compiles the modules of the hot path when a wheel is built; without a C compiler the wheel is pure Python.

hatchling calls `CompileHook` (pyproject.toml, `[tool.hatch.build.targets.wheel.hooks.custom]`), which runs this file as a program
of its own: what the compiler prints, or a crash of it, must not end the build. `docs/adr/0011-a-compiled-hot-path.md` has the
reasons; `src/aegis_stream/build.py` reads the record that is written here.

    AEGIS_PURE=1  do not compile
    AEGIS_PURE=0  fail if the modules cannot be compiled
    not set       compile, or say in one line why not, and go on
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILER = "mypy[mypyc]==2.4.1"
"""The same version as in requirements/dev.txt: the compiler is a part of what the tests have seen."""
COMPILE_S_MAX = 1800
"""Longest time that the compiler may take, seconds."""
PACKAGE = "aegis_stream"
RECORD = f"{PACKAGE}/build.json"


class CannotCompile(Exception):
    """Why the modules are not compiled, in one line."""


class CompileHook(BuildHookInterface[Any]):
    """Puts compiled modules into the wheel, beside their source."""

    def dependencies(self) -> list[str]:
        """Return what the compiler needs: itself, and the packages whose types it reads."""
        if _choice() == "1":
            return []
        return [COMPILER, *self.metadata.core.dependencies]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile. An editable install stays pure, so that an edited file is what runs."""
        if version == "editable" or _choice() == "1":
            return
        self._folder = tempfile.mkdtemp(prefix="aegis-build-")
        try:
            files = _compile(Path(self.root), Path(self._folder), list(self.config["modules"]))
        except CannotCompile as reason:
            if _choice() == "0":
                raise
            self.app.display_warning(f"{PACKAGE} is built without compiled modules: {reason}")
            return
        build_data["force_include"].update({str(path): name for name, path in files.items()})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's interface
        """Remove what the compiler left."""
        if folder := getattr(self, "_folder", None):
            shutil.rmtree(folder, ignore_errors=True)


def _choice() -> str:
    choice = os.environ.get("AEGIS_PURE", "")
    if choice not in ("", "0", "1"):
        raise SystemExit(f"AEGIS_PURE is {choice!r}: set it to 1 (pure Python) or 0 (compiled), or unset it")
    return choice


def _compile(root: Path, folder: Path, modules: list[str]) -> dict[str, Path]:
    """Compile modules. Returns: file in the wheel → file on this machine. Raises: CannotCompile."""
    _look_for_tools()
    source = root / "src"
    paths = [f"{PACKAGE}/{module}.py" for module in modules]
    command = [sys.executable, __file__, str(root / "pyproject.toml"), str(folder), *paths]
    digests = {path: hashlib.sha256((source / path).read_bytes()).hexdigest() for path in paths}
    try:
        # In the folder of the source, so that a traceback names a file as it lies in site-packages.
        done = subprocess.run(  # noqa: S603 - this file
            command, cwd=source, capture_output=True, text=True, timeout=COMPILE_S_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CannotCompile(f"the compiler took longer than {COMPILE_S_MAX} s") from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
        raise CannotCompile(lines[0][:300] if lines else f"the compiler ended with status {done.returncode}")
    record = folder / "build.json"
    record.write_text(json.dumps({"compiler": COMPILER, "sources": digests}, indent=1) + "\n")
    made = folder / "lib"
    files = {one.relative_to(made).as_posix(): one for one in made.rglob("*") if one.is_file()}
    return {RECORD: record, **files}


def _look_for_tools() -> None:
    """Raises: CannotCompile when something is missing that the compiler needs."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise CannotCompile("only CPython with its lock can load them")
    words = os.environ.get("CC", sysconfig.get_config_var("CC") or "cc").split()
    if not words or shutil.which(words[0]) is None:
        raise CannotCompile("there is no C compiler: install gcc")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise CannotCompile("Python's headers are missing: install python3-dev")


def main(config: str, folder: str, paths: list[str]) -> None:
    """Translate to C, compile and link; runs in the folder of the source."""
    from mypyc.build import mypycify  # noqa: PLC0415 - only this process has the compiler
    from setuptools import Distribution  # noqa: PLC0415

    options = [f"--config-file={config}", f"--cache-dir={folder}/types"]
    extensions = mypycify(
        [*options, *paths], opt_level="3", debug_level="0", group_name=PACKAGE, target_dir=f"{folder}/c"
    )
    for one in extensions:
        # A warning of a newer C compiler is no reason to run slower. Symbols for a debugger would triple the size.
        one.extra_compile_args = [flag for flag in one.extra_compile_args if flag != "-Werror"] + [
            "-g0",
            "-w",
        ]
    build = Distribution({"name": PACKAGE, "ext_modules": extensions}).get_command_obj("build_ext")
    build.build_lib, build.build_temp = f"{folder}/lib", f"{folder}/temp"
    build.parallel = os.cpu_count()
    build.ensure_finalized()
    build.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
