"""The kit that the tests of a cut network rely on does what it says."""

import socket
import subprocess
import sys

import pytest

from support.namespaces import machines

pytestmark = pytest.mark.slow

CONNECT = """
import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)
"""


def test_a_machine_that_is_cut_off_reaches_the_front_network_alone():
    """Packets of the back network vanish from the cut until it is restored; other machines notice nothing."""
    with machines(2) as network, socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        one, other = network.machines

        def reaches(machine, address) -> bool:
            command = [*machine.command, sys.executable, "-c", CONNECT, address, str(port)]
            return subprocess.run(command, capture_output=True, timeout=30).returncode == 0

        assert reaches(one, network.back)
        one.cut()
        assert not reaches(one, network.back)
        assert reaches(one, network.front)
        assert reaches(other, network.back)
        one.restore()
        assert reaches(one, network.back)
