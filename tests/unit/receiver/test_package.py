"""Promises of the package aegis_stream.receiver to those who copy or import it."""

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import aegis_stream.receiver as package

SOURCE = Path(package.__file__).parent


def test_the_example_in_the_docstring_works():
    """The example of the package runs, and prints what it says."""
    result = doctest.testmod(package)

    assert (result.failed, result.attempted > 5) == (0, True)


def test_all_names_exist():
    """Everything in __all__ exists, and is sorted."""
    assert all(hasattr(package, name) for name in package.__all__)


def test_the_package_stands_alone():
    """No module of the package imports another part of the product."""
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, path
                assert not (node.module or "").startswith("aegis_stream"), path
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("aegis_stream") for alias in node.names), path


def test_the_library_needs_the_standard_library_only():
    """To import the library loads neither the server nor a third-party package."""
    code = (
        "import sys, aegis_stream.receiver as r; print(sorted({m.partition('.')[0] for m in sys.modules}), r)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    for foreign in ("httptools", "uvloop", "cryptography", "msgspec", "asyncio"):
        assert f"'{foreign}'" not in result.stdout
