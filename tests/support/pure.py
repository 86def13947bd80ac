"""Which tests run on the source only."""

import pytest

from aegis_stream import build

ON_SOURCE = pytest.mark.skipif(
    build.label() == "compiled",
    reason="puts a fake in the place of an object of a compiled class, which compiled code refuses",
)
"""For a test of one part of a destination with fake neighbours; on the compiled build, tests/e2e and test_forwarder.py run the part."""
