"""Builds the offline verifier as one file: `python build_verifier.py dist/aegis-verify.pyz`.

The same source gives the same bytes, so that anybody can build it again and compare. It is also the file in evidence bundles.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))
from aegis_stream.control.verifier_file import verifier


def build(target: Path) -> None:
    """Write the file, executable."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(verifier())
    target.chmod(0o755)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
