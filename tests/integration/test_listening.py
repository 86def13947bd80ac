"""How a service comes by its port."""

import socket
import threading
import time

import pytest

from aegis_stream.errors import Misconfigured
from aegis_stream.serving.server import _listen


@pytest.fixture
def taken():
    """Listen on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_that_becomes_free_is_waited_for(taken, shared):
    """What holds the port may just be ending: the start waits for it, and then listens."""
    port = taken.getsockname()[1]
    threading.Timer(0.3, taken.close).start()

    with _listen("127.0.0.1", port, shared=shared, wait_s=10.0) as listener:
        assert listener.getsockname()[1] == port


def test_a_port_that_stays_taken_ends_the_start(taken):
    """The wait has an end, and then one sentence says what to do."""
    began_s = time.monotonic()

    with pytest.raises(Misconfigured, match="choose another --port"):
        _listen("127.0.0.1", taken.getsockname()[1], wait_s=0.2)

    assert 0.2 <= time.monotonic() - began_s < 5


def test_an_address_that_is_not_ours_is_refused_at_once():
    """Waiting cannot help against any other error."""
    with pytest.raises(
        Misconfigured, match=r"cannot listen on 192\.0\.2\.1 port 0: .*; choose another --host"
    ):
        _listen("192.0.2.1", 0, wait_s=60.0)
