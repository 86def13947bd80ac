"""What the processes of a service load."""

import json
import subprocess
import sys

import pytest

SHOW = """
import json, pkgutil, sys
import aegis_stream.{0} as package
for one in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    __import__(one.name)
import aegis_stream.serving.{1}
print(json.dumps([*sys.modules]))
"""


@pytest.mark.parametrize("package", ["api", "console", "front"])
@pytest.mark.parametrize("process", ["server", "api"])
def test_an_api_process_cannot_hash_events(package, process):
    """Nothing that a process of the API loads makes leaves or seals: whatever is sealed, an acknowledgement waits for no hash."""
    program = SHOW.format(package, process)
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=100)
    loaded = set(json.loads(found.stdout))

    assert f"aegis_stream.{package}" in loaded
    assert not loaded & {"aegis_stream.pipeline.seal", "aegis_stream.control.sealing", "aegis_stream.sealer"}
