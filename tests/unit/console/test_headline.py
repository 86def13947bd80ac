"""The first sentence of a page in every state and for every kind of cause."""

from dataclasses import replace

import pytest

from aegis_stream.console.headline import destination_headline
from aegis_stream.domain.standing import State
from support.headlines import BASE, CASES, GOOD, NOW, told

SAID = {
    "nothing at all": ("empty", 0, "Nothing is recorded and nothing is forwarded yet: send an event, then add a destination.", "Add a destination", "/console/o/org_abc/new"),
    "events and no destination": ("warn", 0, "Events are recorded (the last 3 min ago) and forwarded nowhere: there is no destination yet.", "Add a destination", "/console/o/org_abc/new"),
    "never tried": ("good", 0, "The destination has had no event yet. Nothing waits. No event yet.", "", ""),
    "one takes events": ("good", 0, "The destination takes events. Nothing waits. Last event 1 s ago.", "", ""),
    "all take events": ("good", 0, "Both destinations take events. Nothing waits. Last event 1 s ago.", "", ""),
    "one of two was never tried": ("good", 0, "1 of 2 destinations takes events, 1 had none to take yet. Nothing waits. Last event 1 s ago.", "", ""),
    "events are on the way": ("good", 0, "Both destinations take events. 12 events on the way. Last event just now.", "", ""),
    "one dead letter": ("warn", 0, "Both destinations take events. 1 dead letter waits for a decision. Last event 1 min ago.", "See why", "/console/o/org_abc/d/dst_1/dead-letters"),
    "dead letters at two": ("warn", 0, "Both destinations take events. 19 dead letters wait for a decision. Last event 1 min ago.", "See why", "/console/o/org_abc/d/dst_1/dead-letters"),
    "credential": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): 401, it does not accept the credential. 4,212 events wait, none is lost, the oldest is 18 min old.", "Change the credential", "/console/o/org_abc/d/dst_1/settings#credential"),
    "credential, forbidden": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): 403, the credential may not write here. 4,212 events wait, none is lost, the oldest is 18 min old.", "Change the credential", "/console/o/org_abc/d/dst_1/settings#credential"),
    "address": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): 404, there is nothing at this path. 4,212 events wait, none is lost, the oldest is 18 min old.", "Change the URL", "/console/o/org_abc/d/dst_1/settings#url"),
    "redirect": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): 301, redirects are not followed. 4,212 events wait, none is lost, the oldest is 18 min old.", "Change the URL", "/console/o/org_abc/d/dst_1/settings#url"),
    "overload": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): 429, it limits the request rate. 4,212 events wait, none is lost, the oldest is 18 min old.", "Send a test event", "/console/o/org_abc/d/dst_1#test"),
    "server error": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): 503, it is overloaded or down for maintenance. 4,212 events wait, none is lost, the oldest is 18 min old.", "Send a test event", "/console/o/org_abc/d/dst_1#test"),
    "network": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): connection refused by 192.0.2.7 port 443. 4,212 events wait, none is lost, the oldest is 18 min old.", "Send a test event", "/console/o/org_abc/d/dst_1#test"),
    "never worked": ("bad", 1, "Elastic prod has never taken an event: 401, it does not accept the credential. 4,212 events wait, none is lost, the oldest is 18 min old.", "Change the credential", "/console/o/org_abc/d/dst_1/settings#credential"),
    "nothing waits yet": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): 401, it does not accept the credential. Nothing waits.", "Change the credential", "/console/o/org_abc/d/dst_1/settings#credential"),
    "failing with dead letters": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): 401, it does not accept the credential. 4,212 events wait, none is lost, the oldest is 18 min old. 3 dead letters need a decision.", "Change the credential", "/console/o/org_abc/d/dst_1/settings#credential"),
    "since yesterday": ("bad", 1, "Elastic prod has not taken events since 28 May 00:59 UTC (1 d 2 h): 401, it does not accept the credential. 4,212 events wait, none is lost, the oldest is 1 d 2 h old.", "Change the credential", "/console/o/org_abc/d/dst_1/settings#credential"),
    "one event waits": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): 401, it does not accept the credential. 1 event waits, none is lost.", "Change the credential", "/console/o/org_abc/d/dst_1/settings#credential"),
    "two do not take events": ("bad", 2, "No destination takes events. The worst: Splunk has not taken events since 02:41 UTC (18 min): 401, it does not accept the credential. 99 events wait, none is lost, the oldest is 18 min old.", "Change the credential", "/console/o/org_abc/d/dst_2/settings#credential"),
    "rejecting": ("bad", 1, "Elastic prod has taken no event yet, and rejects what is sent: 400, it could not read the event. Nothing waits. 9 dead letters need a decision.", "See the attempts", "/console/o/org_abc/d/dst_1/attempts?state=failed"),
    "full of dead letters": ("bad", 1, "Elastic prod has 100,000 dead letters, as many as are kept: further events that it rejects stay in the log only. 5 events wait, none is lost, the oldest is 18 min old.", "Redrive or purge them", "/console/o/org_abc/d/dst_1/dead-letters"),
    "halted": ("bad", 1, "Elastic prod has sent nothing since 02:41 UTC (18 min): a bug in Aegis Audit Stream stops the delivery: KeyError in formats/plain.py. 4,212 events wait, none is lost, the oldest is 18 min old.", "See the attempts", "/console/o/org_abc/d/dst_1/attempts?state=failed"),
    "damaged": ("bad", 1, "Elastic prod cannot be served: the stored URL and credential cannot be decrypted: restore the master key. 4,212 events wait, none is lost, the oldest is 18 min old.", "Enter the URL and credential again", "/console/o/org_abc/d/dst_1/settings"),
    "slow": ("warn", 0, "Elastic prod takes events more slowly than they come. 900 events wait, none is lost, the oldest is 4 min old.", "See its health", "/console/o/org_abc/d/dst_1"),
    "paused": ("warn", 0, "Elastic prod is paused. 900 events wait, none is lost, the oldest is 1 h 1 min old.", "Resume it", "/console/o/org_abc/d/dst_1/settings#resume"),
    "paused beside a failing one": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): 401, it does not accept the credential. 4,212 events wait, none is lost, the oldest is 18 min old.", "Change the credential", "/console/o/org_abc/d/dst_2/settings#credential"),
    "a long cause": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): …. 4,212 events wait, none is lost, the oldest is 18 min old.", "Send a test event", "/console/o/org_abc/d/dst_1#test"),
    "a cause of several lines": ("bad", 1, "Elastic prod has not taken events since 02:41 UTC (18 min): first line. 4,212 events wait, none is lost, the oldest is 18 min old.", "Send a test event", "/console/o/org_abc/d/dst_1#test"),
}  # fmt: skip
"""Case → tone, how many destinations need somebody, the sentence, the label of its button, and where that leads."""


@pytest.mark.parametrize("name", CASES)
def test_the_sentence(name):
    """Each case has its sentence: what is wrong, since when, what it costs, and the one button that mends it."""
    found = told(name)
    remedy = found.remedy or ("", "")
    shortened = found.text.replace("x" * 239, "")

    assert (found.tone, found.wrong, shortened, *remedy) == SAID[name]


def test_every_state_has_a_sentence():
    """No state is without its case, and each names the destination and links to it."""
    stated = {one.state for standings, _ in CASES.values() for one in standings}
    for state in State:
        sentence = destination_headline(replace(GOOD, state=state), BASE, NOW)
        assert sentence.pieces[0] == ("Elastic prod", f"{BASE}/d/dst_1", None)

    assert stated == set(State)


def test_a_number_leads_to_its_rows():
    """Counts of events and dead letters are links."""
    found = told("failing with dead letters")
    links = {piece.text: piece.href for piece in found.pieces if piece.href}

    assert links["4,212 events"] == f"{BASE}/d/dst_1/attempts"
    assert links["3 dead letters"] == f"{BASE}/d/dst_1/dead-letters"


def test_what_follows_is_said_where_something_waits():
    """Whoever mends a destination is told that the rest goes by itself, unless nothing waits."""
    assert told("credential").after == "When it takes events again, everything goes by itself."
    assert told("nothing waits yet").after == ""
