"""aegis_stream.receiver as a package: what it promises to those who copy or import it."""

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import aegis_stream.receiver as package

SOURCE = Path(package.__file__).parent


def test_the_example_in_the_docstring_works():
    """The example that people copy runs, and prints what it says."""
    result = doctest.testmod(package)

    assert (result.failed, result.attempted > 5) == (0, True)


def test_all_names_exist():
    """Everything in __all__ is there, and sorted for readers."""
    assert all(hasattr(package, name) for name in package.__all__)


def test_the_package_stands_alone():
    """No module of the package imports anything of the product outside of it."""
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, path
                assert not (node.module or "").startswith("aegis_stream"), path
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("aegis_stream") for alias in node.names), path


def test_the_library_needs_the_standard_library_only():
    """Importing the library loads neither the server nor any package from outside."""
    code = (
        "import sys, aegis_stream.receiver as r; print(sorted({m.partition('.')[0] for m in sys.modules}), r)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    for foreign in ("httptools", "uvloop", "cryptography", "msgspec", "asyncio"):
        assert f"'{foreign}'" not in result.stdout
