"""The proof of the demonstration: what it says, and what it returns, about copies that are whole, damaged or too large."""

import io
import json

import httpx
import pytest

from aegis_stream.cli.client import Client, Refused
from aegis_stream.cli.demo_context import DemoContext
from aegis_stream.cli.demo_copy import ReceivedCopy
from aegis_stream.cli.demo_proof import Proving, prove
from aegis_stream.cli.demo_steps import Account
from aegis_stream.cli.screen import Screen
from aegis_stream.settings import Settings
from support.proof_log import ProofLog

pytestmark = pytest.mark.timeout(180)
FIRST = "pflt_org_abc_0"


@pytest.fixture
def log():
    """A log with two checkpoints."""
    made = ProofLog()
    made.events(8).seal()
    made.events(4).seal()
    return made


class Service:
    """Answers the calls that the proof makes.

    Args:
        seals: status of each answer to the call to seal.
    """

    def __init__(self, log, seals=(200,)):
        self.log, self.seals = log, list(seals)

    def answer(self, request):
        """Answer one call."""
        path = request.url.path.rpartition("/org_abc/")[2]
        if path == "proof/checkpoint":
            status = self.seals.pop(0)
            problem = {"title": "x", "detail": "nobody seals", "code": "no-sealer"}
            return httpx.Response(
                status, **({"text": self.log.notes[-1]} if status == 200 else {"json": problem})
            )
        if path == "proof/keys":
            return httpx.Response(200, text=f"log {self.log.vkey}\nquorum none\n")
        if path.endswith("/replays"):
            return httpx.Response(200, json={"data": [{"state": "done"}]})
        return httpx.Response(200, json={"stats": {"backlog": 0, "retrying": 0}})


def proven(tmp_path, service, bodies, *, ids=(FIRST,), bytes_max=1_000_000):
    """Prove a copy of some events; return the result and what was shown."""
    shown = io.StringIO()
    context = DemoContext(Settings(), Screen(shown), tmp_path, "org_abc")
    transport = httpx.MockTransport(service.answer)
    copy = ReceivedCopy(tmp_path / "received.ndjson", bytes_max)
    with copy, Client("http://127.0.0.1:1", "key", "org_abc", transport=transport) as client:
        for body in bodies:
            copy.write(json.dumps({"status": 202, "body": body.decode()}))
        is_proven = prove(context, Account(client, "…"), Proving(copy, "dst_1", ids), lambda: True)
    return is_proven, shown.getvalue()


def test_a_whole_copy_is_proven_and_an_altered_one_is_told(tmp_path, log):
    """Both verdicts are shown, the second names the event, and the result is True."""
    is_proven, shown = proven(tmp_path, Service(log), log.bodies)

    assert is_proven
    assert "COMPLETE AND UNALTERED" in shown
    assert "NOT COMPLETE: 1 altered" in shown
    assert f"in event {FIRST}, and verify again" in shown


def test_a_copy_that_lacks_an_event_is_not_proven(tmp_path, log):
    """What is missing is shown, and the demonstration does not end well."""
    is_proven, shown = proven(tmp_path, Service(log), log.bodies[:4] + log.bodies[5:])

    assert not is_proven
    assert "NOT COMPLETE: 1 missing" in shown


def test_an_event_that_came_twice_is_altered_in_both_places(tmp_path, log):
    """Otherwise the true one would be there, and the false one only a stranger beside it."""
    is_proven, shown = proven(tmp_path, Service(log), [*log.bodies, *log.bodies])

    assert is_proven
    assert "NOT COMPLETE: 1 altered" in shown


def test_a_copy_that_is_too_large_is_not_verified(tmp_path, log):
    """The limit is told; nothing is called wrong, because nothing was looked at."""
    is_proven, shown = proven(tmp_path, Service(log), log.bodies, bytes_max=1000)

    assert is_proven
    assert "keeps no more" in shown
    assert "verdict" not in shown


def test_a_log_that_is_sealed_in_parts_is_asked_again(tmp_path, log):
    """While the sealer catches up the call is repeated; a refusal ends the demonstration with its reason."""
    assert proven(tmp_path, Service(log, (503, 503, 200)), log.bodies)[0]
    with pytest.raises(Refused, match="nobody seals"):
        proven(tmp_path, Service(log, (409,)), log.bodies)


def test_an_id_cannot_control_the_terminal(tmp_path):
    """Control characters of an event are not shown."""
    log = ProofLog()
    log.append('{"event":{"id":"a\u202eb"},"text":"c\u202ed","organization":{"id":"org_abc"}}'.encode())
    log.seal()
    is_proven, shown = proven(tmp_path, Service(log), log.bodies, ids=("a\u202eb",))

    assert is_proven
    assert "\u202e" not in shown
