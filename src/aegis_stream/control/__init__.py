"""Use cases: everything that people govern, for the API, the command line and whatever comes next.

A use case takes what it needs (`deps.py`), who asks (`caller.py`) and domain values, and returns domain values; it knows no
HTTP and no schema. Whoever calls it has authenticated the caller and checked its right (`access.py`).

caller.py        who asks
deps.py          what use cases need
access.py        API key → principal, its rights and limits
turns.py         reads of one organization take turns
audit.py         an action and the event that tells of it, in one transaction
destinations.py  create, list, change, pause, resume, delete
destination_types.py  the kinds of destinations that people choose from
overview.py      how the destinations of an organization stand
live.py          the same again and again, for whoever watches
checks.py        is a destination's configuration acceptable?
testing.py       the test button
tested.py        what a test told, as it may be shown
stages.py        a test as a ladder of stages
kept_answers.py  what workers keep of answers
redaction.py     what may be shown of an answer
spellings.py     whether a text repeats a secret in another spelling
resending.py     send one event again
replays.py       start, list, cancel
dead_letters.py  list, group, redrive, purge; jobs that do so with many
pace.py          how fast a destination takes events
deliveries.py    attempts, one by one
timeline.py      what a destination did over time
one_delivery.py  one attempt in full
events.py        one event, and what became of it
event_search.py  list events that meet conditions
event_histogram.py  events over time
journey.py       the journey of one event
event_states.py  what became of each event of a page
preflight.py     preflight decisions
rejected.py      rejected events → the error that says so
proof.py         how a log is sealed: show, choose, begin again
log_proofs.py    proofs of a sealed log
evidence.py      what an auditor is handed, as one archive
verifier_file.py  the offline verifier as one file
log_hashes.py    its hashes told again
sealing.py       seal the log of an organization
sealing_guard.py  compare it with what was signed before, and with its keys
seal_request.py  ask the sealer to seal a log now, and wait
seal_waits.py    how many calls may wait for that
organizations.py  create, look up
fleet.py         how all organizations stand, and how the service does
keys.py          create, list, revoke, rotate
key_uses.py      when and from where keys are used, noted in memory
console_links.py  links that open the console once, and their sessions
"""
