"""The first sentence of the page Proof in every state, and the words of the modes."""

from dataclasses import replace

import pytest

from aegis_stream.console.proof_words import (
    CATCHES_UP,
    DOCTOR,
    LATE_S,
    MODES,
    START,
    SWITCH,
    proof_headline,
    words_of,
)
from aegis_stream.control.proof import ProofStanding
from aegis_stream.domain.ids import Micros, OrganizationId, OrganizationNo
from aegis_stream.domain.merkle import EMPTY, grow, leaf_hashes
from aegis_stream.domain.organization import Organization, ProofMode
from aegis_stream.store.sealing_state import SealingReport
from aegis_stream.store.tree import SealedTree
from support.headlines import BASE, NOW, minutes_ago

PAUSE_S = 10.0
TREE = grow(EMPTY, {}, leaf_hashes([b"%d" % number for number in range(1300)])).tree
LOG = SealedTree(0, "audit.example.com/org_abc", TREE, "note", minutes_ago(0.1))


def standing(head: int, mode: ProofMode = ProofMode.SEALED, **changes) -> ProofStanding:
    """Build how a log stands that is sealed up to event 1,300."""
    organization = Organization(OrganizationNo(1), OrganizationId("org_abc"), "", head, Micros(0), proof=mode)
    return replace(ProofStanding(organization, LOG, ("key",)), **changes)


OLD = LOG._replace(sealed_at=minutes_ago(18))
WAITING = {"waiting": 12, "waiting_since": minutes_ago(0.1)}
STUCK = {"waiting": 4212, "waiting_since": minutes_ago(17), "log": OLD}
NEVER = {"log": None, "keys": (), "waiting": 3, "waiting_since": minutes_ago(0.1)}
MEANS = "Whoever has the key can prove that none of them is missing or altered."

CASES = {
    "empty": (standing(0, log=None), "empty", "Nothing is recorded yet, so there is nothing to seal.", "Send an event", ""),
    "never, soon": (standing(3, **NEVER), "warn", "Nothing is sealed yet; 3 events wait for the first checkpoint, which comes within 12 s.", "", ""),
    "never, late": (standing(1, **(NEVER | {"waiting": 1, "waiting_since": minutes_ago(5)})), "bad", "Nothing was sealed since 02:54 UTC (5 min): no sealer runs. Nothing is sealed yet. 1 event waits for the first checkpoint, the oldest for 5 min.", "", START),
    "begins again": (standing(1310, log=LOG._replace(base=1300, tree=EMPTY, note=""), **WAITING), "warn", "Nothing is sealed yet; 12 events wait for the first checkpoint, which comes within 12 s.", "", ""),
    "all": (standing(1300), "good", f"All 1,300 events are sealed. The newest checkpoint was signed 6 s ago. {MEANS}", "", ""),
    "its own events": (standing(1315), "good", f"Events 1 to 1,300 of 1,315 are sealed; the newest 15 are the checkpoint itself. The newest checkpoint was signed 6 s ago. {MEANS}", "", ""),
    "its own event": (standing(1301), "good", f"Events 1 to 1,300 of 1,301 are sealed; the newest one is the checkpoint itself. The newest checkpoint was signed 6 s ago. {MEANS}", "", ""),
    "some wait": (standing(1312, **WAITING), "good", f"Events 1 to 1,300 of 1,312 are sealed. The newest checkpoint was signed 6 s ago. {MEANS} 12 events wait for the next checkpoint, the oldest for 6 s.", "", ""),
    "begins late": (standing(1370, log=LOG._replace(base=70)), "good", f"Events 71 to 1,370 of 1,370 are sealed. The newest checkpoint was signed 6 s ago. {MEANS}", "", ""),
    "behind": (standing(9000, waiting=7700, waiting_since=minutes_ago(4)), "warn", "Events 1 to 1,300 of 9,000 are sealed. The newest checkpoint was signed 6 s ago. 7,700 events wait for the next checkpoint, the oldest for 4 min.", "", CATCHES_UP),
    "stopped": (standing(5512, **STUCK), "bad", "Nothing was sealed since 02:41 UTC (18 min): no sealer runs. Events 1 to 1,300 of 5,512 are sealed. 4,212 events wait for the next checkpoint, the oldest for 17 min.", "", START),
    "not come to": (standing(5512, **STUCK, report=SealingReport(minutes_ago(0.2), minutes_ago(18), 9999)), "warn", "Nothing was sealed since 02:41 UTC (18 min): the sealer runs, and has not come to this log. Events 1 to 1,300 of 5,512 are sealed. 4,212 events wait for the next checkpoint, the oldest for 17 min.", "", CATCHES_UP),
    "silent": (standing(5512, **STUCK, report=SealingReport(minutes_ago(3), minutes_ago(18), 0)), "bad", "Nothing was sealed since 02:41 UTC (18 min): no sealer runs. Events 1 to 1,300 of 5,512 are sealed. 4,212 events wait for the next checkpoint, the oldest for 17 min.", "", START),
    "idle for long": (standing(1300, log=OLD), "good", f"All 1,300 events are sealed. The newest checkpoint was signed 18 min ago. {MEANS}", "", ""),
    "news after long": (standing(1301, log=OLD, waiting=1, waiting_since=minutes_ago(0.5)), "good", f"Events 1 to 1,300 of 1,301 are sealed. The newest checkpoint was signed 18 min ago. {MEANS} 1 event waits for the next checkpoint, the oldest for 30 s.", "", ""),
    "refused": (standing(1301, waiting=1, waiting_since=NOW, refusal="an older copy was put in place.", refused_since=minutes_ago(3)), "bad", "The sealer refuses to seal this log since 02:56 UTC (3 min): an older copy was put in place. Events 1 to 1,300 of 1,301 are sealed. 1 event waits for the next checkpoint.", "", DOCTOR),
    "off": (standing(1400, ProofMode.OFF, waiting=100, waiting_since=minutes_ago(50)), "warn", "This log is not sealed any more. Events 1 to 1,300 of 1,400 are sealed. The newest checkpoint was signed 6 s ago. What was recorded since, 100 events, has no proof.", "Seal this log", ""),
    "off from the start": (standing(5, ProofMode.OFF, log=None), "warn", "This log is not sealed: nobody can prove that nothing in it is missing or altered.", "Seal this log", ""),
}  # fmt: skip
"""Case → how the log stands, tone, the sentence, the label of its button, and what follows."""


@pytest.mark.parametrize("name", CASES)
def test_the_sentence(name):
    """Each case has its sentence: how far, since when not, what it means, and the way out."""
    found, *said = CASES[name]
    told = proof_headline(found, BASE, NOW, is_on=True, pause_s=PAUSE_S)

    assert [told.tone, told.text, told.remedy.label if told.remedy else "", told.after] == said
    assert told.wrong == 0


@pytest.mark.parametrize("name", ["never, soon", "stopped"])
def test_a_service_that_seals_nothing_says_so(name):
    """Without AEGIS_PROOF the setting is the cause, and the way out."""
    told = proof_headline(CASES[name][0], BASE, NOW, is_on=False, pause_s=PAUSE_S)

    assert "seals nothing" in told.text
    assert told.after == SWITCH


@pytest.mark.parametrize(("beyond_s", "tone"), [(-1, "good"), (1, "bad")])
def test_a_log_is_late_after_its_limit(beyond_s, tone):
    """Events may wait for the pause and the limit beyond it; from then on somebody must look."""
    since = Micros(NOW - int((LATE_S + PAUSE_S + beyond_s) * 1_000_000))
    found = standing(1301, waiting=1, waiting_since=since, log=LOG._replace(sealed_at=since))

    assert proof_headline(found, BASE, NOW, is_on=True, pause_s=PAUSE_S).tone == tone


def test_every_mode_has_its_words():
    """Each is told, with what happens when it is chosen."""
    assert [one.mode for one in MODES] == list(ProofMode)
    assert all(words_of(mode).means and words_of(mode).chosen for mode in ProofMode)
