"""Judges a run of several nodes by what was seen from outside and what the database holds at the end.

    found = violations(history)

A pure function: it reads no clock, no file and no database, and returns what is wrong in words. It believes neither the
service's answers nor its counters: clients and receivers wrote down what they saw, and the database wrote down, by a trigger,
each version of every cursor row.

Times are of one monotonic clock, in seconds. Events are known by organization and id; bodies by a digest.
"""

import enum
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

SHOWN = 3
"""Examples in one violation."""


class Outcome(enum.Enum):
    """What a client knows after a call.

    OK       the service acknowledged all its events
    FAILED   nothing of it was stored: the service said so, or the request was never sent
    UNKNOWN  no answer, or one that leaves it open
    """

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Call(NamedTuple):
    """One request of a client, which recorded some events or tried to."""

    organization: str
    event_ids: Sequence[str]
    began_s: float
    ended_s: float
    outcome: Outcome


class Arrival(NamedTuple):
    """One event in a request that a receiver answered 2xx."""

    destination: str
    event_id: str
    digest: bytes
    at_s: float


class Entry(NamedTuple):
    """One event of the log, as it is at the end."""

    sequence: int
    event_id: str
    digest: bytes


class Counts(NamedTuple):
    """What a destination has counted, or what its rows come to."""

    delivered: int
    failed_attempts: int
    retrying: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """One destination at the end.

    Args:
        counts: its counters.
        recount: the same, counted from the rows of attempts, retries and dead letters.
        dead: reason of each dead letter by event id.
        repeats_max: most events that may have arrived once more: a window and what was not settled, for each kill.
    """

    destination: str
    organization: str
    cursor: int
    counts: Counts
    recount: Counts
    dead: Mapping[str, str]
    repeats_max: int


class Version(NamedTuple):
    """One version of a destination's cursor row, in the order in which they were written.

    Args:
        owner: worker that holds the lease; None after it was given back.
        number: of the newest settlement under this epoch; 0 after a claim.
        owner_node: node of the owner; None if there is no owner, or its node is not known.
        writer_node: node whose session wrote this version; None if that is not known.
    """

    destination: str
    epoch: int
    owner: str | None
    number: int
    cursor: int
    owner_node: str | None = None
    writer_node: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """All that is known about a run.

    Args:
        sent: digest of each event that any client tried to record, by organization and id.
        logs: entries of each organization, in the order of their sequence.
        versions: of all cursor rows, in the order in which they were written.
        undone: a primary was lost with commits that no standby had: what nobody acknowledged may have been seen, and delivered.
    """

    sent: Mapping[tuple[str, str], bytes]
    calls: Sequence[Call]
    arrivals: Sequence[Arrival]
    logs: Mapping[str, Sequence[Entry]]
    ledgers: Sequence[Ledger]
    versions: Sequence[Version] = field(default=())
    undone: bool = False


def violations(history: History) -> list[str]:
    """Return what breaks an invariant, in words; an empty list if nothing does."""
    return [line for check in CHECKS for line in check(history)]


def figures(history: History) -> dict[str, int]:
    """Return what a run amounts to: events, deliveries, and how many of them are lost, altered or repeated."""
    stored, acked = _stored(history), _acknowledged(history)
    arrived = Counter((one.destination, one.event_id) for one in history.arrivals)
    due = {
        (one.destination, entry.event_id)
        for one in history.ledgers
        for entry in history.logs[one.organization]
    }
    dead = {(one.destination, event_id) for one in history.ledgers for event_id in one.dead}
    return {
        "acked": len(acked),
        "delivered": len(arrived),
        "dead_letters": len(dead),
        "lost": len(acked - stored.keys()) + len(due - arrived.keys() - dead),
        "wrong": sum(history.sent.get(one, digest) != digest for one, digest in stored.items()),
        "repeats": arrived.total() - len(arrived),
        "repeats_max": sum(one.repeats_max for one in history.ledgers),
    }


def _acknowledged_events_are_stored(history: History) -> Iterator[str]:
    missing = _acknowledged(history) - _stored(history).keys()
    yield from _some("acknowledged, but not in the log", sorted(missing))


def _nothing_else_is_stored(history: History) -> Iterator[str]:
    """What no client sent, or what every answer said was not stored, is not in the log."""
    stored = _stored(history)
    yield from _some("in the log, but never sent", sorted(stored.keys() - history.sent.keys()))
    possible = {
        (call.organization, one)
        for call in history.calls
        if call.outcome is not Outcome.FAILED
        for one in call.event_ids
    }
    refused = (stored.keys() & history.sent.keys()) - possible
    yield from _some("in the log, although every answer said that it was not stored", sorted(refused))


def _the_log_is_gapless(history: History) -> Iterator[str]:
    for organization, entries in history.logs.items():
        sequences = [entry.sequence for entry in entries]
        if sequences != list(range(1, len(sequences) + 1)):
            wrong = next(n for n, sequence in enumerate(sequences, 1) if sequence != n)
            yield f"{organization}: entry {wrong} of the log has the sequence {sequences[wrong - 1]}"
        ids = Counter(entry.event_id for entry in entries)
        yield from _some("more than once in the log", [one for one, n in ids.items() if n > 1], organization)


def _sequences_follow_commits(history: History) -> Iterator[str]:
    """An event that was first sent after another one had been acknowledged has the higher sequence."""
    for organization, entries in history.logs.items():
        sequences = {entry.event_id: entry.sequence for entry in entries}
        began: dict[str, float] = {}
        acked: dict[str, float] = {}
        for call in history.calls:
            for one in call.event_ids if call.organization == organization else ():
                began[one] = min(call.began_s, began.get(one, call.began_s))
                if call.outcome is Outcome.OK:
                    acked[one] = min(call.ended_s, acked.get(one, call.ended_s))
        overtaken = _overtaken(
            sorted((at, sequences[one], one) for one, at in began.items() if one in sequences),
            sorted((at, sequences.get(one, 0)) for one, at in acked.items()),
        )
        what = "earlier in the log than what was acknowledged before they were sent"
        yield from _some(what, overtaken, organization)


def _overtaken(began: Iterable[tuple[float, int, str]], acked: Sequence[tuple[float, int]]) -> list[str]:
    """Return events whose sequence is lower than one that was acknowledged before they were first sent."""
    found, newest, place = [], 0, 0
    for at, sequence, event_id in began:
        while place < len(acked) and acked[place][0] < at:
            newest = max(newest, acked[place][1])
            place += 1
        if sequence < newest:
            found.append(event_id)
    return found


def _bytes_are_unaltered(history: History) -> Iterator[str]:
    stored = _stored(history)
    altered = [one for one, digest in stored.items() if history.sent.get(one, digest) != digest]
    yield from _some("stored with other bytes than were sent", sorted(altered))
    organizations = {ledger.destination: ledger.organization for ledger in history.ledgers}
    wrong, strange = set(), set()
    for arrival in history.arrivals:
        key = (organizations[arrival.destination], arrival.event_id)
        if key not in stored:
            if history.undone and history.sent.get(key) == arrival.digest:
                continue  # if it was acknowledged, it is lost: said above
            strange.add((arrival.destination, arrival.event_id))
        elif stored[key] != arrival.digest:
            wrong.add((arrival.destination, arrival.event_id))
    yield from _some("delivered with other bytes than were stored", sorted(wrong))
    yield from _some("delivered, but not in the log", sorted(strange))


def _everything_is_delivered(history: History) -> Iterator[str]:
    """Every event of the log arrived at each destination, or is a dead letter there with a reason; few arrived again."""
    arrived: dict[str, Counter[str]] = defaultdict(Counter)
    for arrival in history.arrivals:
        arrived[arrival.destination][arrival.event_id] += 1
    for ledger in history.ledgers:
        name, counts = ledger.destination, arrived[ledger.destination]
        ids = [entry.event_id for entry in history.logs[ledger.organization]]
        missing = [one for one in ids if not counts[one] and not ledger.dead.get(one)]
        yield from _some("neither delivered nor a dead letter with a reason", missing, name)
        repeats = counts.total() - sum(count > 0 for count in counts.values())
        if repeats > ledger.repeats_max:
            yield f"{name}: {repeats} events were repeated; the bound is {ledger.repeats_max}"


def _counters_are_right(history: History) -> Iterator[str]:
    for ledger in history.ledgers:
        if ledger.counts != ledger.recount:
            yield f"{ledger.destination}: its counters say {ledger.counts}, its rows {ledger.recount}"
        if ledger.counts.dead_letters != len(ledger.dead):
            yield f"{ledger.destination}: {ledger.counts.dead_letters} dead letters are counted, {len(ledger.dead)} found"
        head = len(history.logs[ledger.organization])
        if ledger.cursor > head:
            yield f"{ledger.destination}: the cursor is at {ledger.cursor}, the log ends at {head}"


def _leases_are_fenced(history: History) -> Iterator[str]:
    """Cursors never move back; nobody but the present owner settles, each settlement once."""
    before: dict[str, Version] = {}
    for version in history.versions:
        earlier = before.get(version.destination)
        before[version.destination] = version
        if earlier is not None:
            for wrong in _wrong_step(earlier, version):
                yield f"{version.destination}: {wrong}: from {earlier} to {version}"


def _wrong_step(earlier: Version, version: Version) -> Iterator[str]:
    """Tell what is wrong between two versions of a cursor row that follow each other."""
    if version.cursor < earlier.cursor:
        yield "the cursor moved back"
    if version.epoch < earlier.epoch:
        yield "the epoch went back"
    elif version.epoch > earlier.epoch:
        if version.number != 0:
            yield "a new epoch began with a settlement"
        if version.cursor != earlier.cursor:
            yield "a new epoch began with another cursor"
    else:
        yield from _wrong_within_epoch(earlier, version)


def _wrong_within_epoch(earlier: Version, version: Version) -> Iterator[str]:
    if version.owner not in (earlier.owner, None):
        yield "the owner changed without a new epoch"
    if version.number < earlier.number:
        yield "a settlement was stored after a later one"
    if version.number == earlier.number:
        if version.cursor != earlier.cursor:
            yield "the cursor moved without a settlement"
        return
    if version.owner is None:
        yield "a settlement was stored after the lease had been given back"
    elif None not in (version.owner_node, version.writer_node) and version.owner_node != version.writer_node:
        yield "another node than the owner's settled"


CHECKS = (
    _acknowledged_events_are_stored,
    _nothing_else_is_stored,
    _the_log_is_gapless,
    _sequences_follow_commits,
    _bytes_are_unaltered,
    _everything_is_delivered,
    _counters_are_right,
    _leases_are_fenced,
)


def _stored(history: History) -> dict[tuple[str, str], bytes]:
    return {
        (organization, entry.event_id): entry.digest
        for organization, entries in history.logs.items()
        for entry in entries
    }


def _acknowledged(history: History) -> set[tuple[str, str]]:
    return {
        (call.organization, one)
        for call in history.calls
        if call.outcome is Outcome.OK
        for one in call.event_ids
    }


def _some(what: str, found: Sequence[object], where: str = "") -> Iterator[str]:
    """Say how many events there are, with a few examples; nothing if there are none."""
    if found:
        place = f"{where}: " if where else ""
        yield f"{place}{len(found)} events {what}: {', '.join(map(str, found[:SHOWN]))}"
