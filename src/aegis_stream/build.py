"""Which build this is: pure Python, or with the modules of the hot path compiled (ADR 0011).

`hatch_build.py` writes the record when it builds a wheel. Python runs a compiled module even if its source is edited later, so
the record holds a digest of every source.
"""

import hashlib
import json
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Literal, NamedTuple

FOLDER = Path(__file__).parent
RECORD = "build.json"


class Build(NamedTuple):
    """What is installed.

    Args:
        stale: files, relative to the package's parent, that are not what was compiled, or whose compiled module is missing.
    """

    kind: Literal["compiled", "pure"]
    stale: tuple[str, ...] = ()


def label(folder: Path = FOLDER) -> str:
    """Return what `aegis --version` says; looks at no source."""
    return "compiled" if (folder / RECORD).exists() else "pure Python"


def installed(folder: Path = FOLDER) -> Build:
    """Read the record, and compare the source with it.

    Args:
        folder: of the package.
    """
    try:
        sources: dict[str, str] = json.loads((folder / RECORD).read_bytes())["sources"]
    except FileNotFoundError:
        return Build("pure")
    return Build(
        "compiled", tuple(path for path, digest in sources.items() if _is_stale(folder.parent / path, digest))
    )


def _is_stale(source: Path, digest: str) -> bool:
    if not any(source.with_suffix(suffix).exists() for suffix in EXTENSION_SUFFIXES):
        return True
    return not source.exists() or hashlib.sha256(source.read_bytes()).hexdigest() != digest
