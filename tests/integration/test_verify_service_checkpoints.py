"""The service's own checkpoint events are those of the reference log, and the verifier follows them."""

import json

from aegis_stream.domain import checkpoint, merkle
from aegis_stream.verify import manifest
from aegis_stream.verify.content import digest, loads
from support import proof_log
from support.exports import check, sorted_names, write
from support.proof_log import ProofLog


class ServedLog(ProofLog):
    """A log whose checkpoint events are made by the service's code; signatures and roots are the reference's."""

    def seal(self, time_s=None, seconds=10):
        """Seal everything that is not sealed."""
        covered = self.bodies[self.sealed :]
        note = self.note(len(self.bodies), time_s=time_s)
        events = [json.loads(body) for body in covered]
        sealed = checkpoint.Covered(
            self.base + self.sealed,
            merkle.leaf_hashes(covered),
            [event["event"]["id"] for event in events],
            [(event["event"]["dataset"], event.get("aegis", {}).get("decision")) for event in events],
            b"".join(digest(loads(body.decode())) for body in covered),
        )
        frontier = b"".join(proof_log.frontier(self.leaves))
        now_us = int(self.now.timestamp() * 1_000_000)
        seal = checkpoint.Seal(self.org, self.base - 1, now_us, note, frontier)
        self.sealed = len(self.bodies)
        for one in checkpoint.checkpoint_events(sealed, seal):
            self.append(one.body.encode())
        self.notes.append(note)
        return note


def log_of(kind, **options):
    """Return a log with two seals of several parts, and one that covers the last checkpoint."""
    log = kind(**options)
    log.events(200).seal()
    log.events(10).seal()
    log.seal()
    return log


def test_both_make_the_same_proof_fields():
    """Apart from its time, a checkpoint event of the service has the bytes of the reference."""
    ours, reference = log_of(ServedLog), log_of(ProofLog)
    for one, other in zip(ours.bodies[200:203], reference.bodies[200:203], strict=True):
        left, right = json.loads(one), json.loads(other)
        for event in (left, right):
            event["@timestamp"] = event["aegis"]["proof"]["checkpoint"] = ""

        assert json.dumps(left) == json.dumps(right)


def test_the_spelling_of_the_service_is_known():
    """A checkpoint event that a SIEM wrote anew is spelled as the service spelled it."""
    for body in log_of(ServedLog, org="org_ü", base=7).bodies:
        if b"checkpoint" in body:
            anew = json.loads(sorted_names([body])[0])

            assert manifest.spelled(anew) == body


def test_what_the_service_seals_is_verified(tmp_path, capsys):
    """Exports with the service's checkpoint events are complete, as recorded and written anew, from 1 on and from later."""
    for base in (1, 501):
        log = log_of(ServedLog, base=base)
        for shape in (list, sorted_names):
            found = check(capsys, log, write(tmp_path / "e", shape(log.bodies)))

            assert found.status == 0, found.report["summary"]
            assert (found.log["first"], found.log["last"]) == (base, base + len(log.bodies) - 2)
