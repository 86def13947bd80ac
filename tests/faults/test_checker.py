"""The checker of runs of several nodes accepts every good history, and names each way in which one was tampered with."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.checker import (
    Arrival,
    Call,
    Counts,
    Entry,
    History,
    Ledger,
    Outcome,
    Version,
    figures,
    violations,
)

ORGANIZATIONS = {"org_a": ("dst_a1", "dst_a2"), "org_b": ("dst_b1",)}
SEEDS = st.integers(min_value=0, max_value=1 << 32)


def digest_of(event_id: str) -> bytes:
    """Return what stands for the digest of an event's body."""
    return event_id.encode()[::-1]


class _Maker:
    """Makes a good history by chance: clients overlap, answers get lost, workers take destinations from each other."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.sent: dict[tuple[str, str], bytes] = {}
        self.calls: list[Call] = []
        self.arrivals: list[Arrival] = []
        self.logs: dict[str, list[Entry]] = {}
        self.ledgers: list[Ledger] = []
        self.versions: list[Version] = []

    def make(self) -> History:
        for organization, destinations in ORGANIZATIONS.items():
            self._record(organization)
            for destination in destinations:
                self._deliver(organization, destination)
        return History(self.sent, self.calls, self.arrivals, self.logs, self.ledgers, self.versions)

    def _record(self, organization: str) -> None:
        """Append batches, some of them more than once, each at a moment within its call."""
        random, commits = self.random, []
        for number in range(random.randint(4, 12)):
            ids = tuple(f"evt_{organization}_{number}_{one}" for one in range(random.randint(1, 4)))
            self.sent.update({(organization, one): digest_of(one) for one in ids})
            began_s = random.uniform(0, 10)
            outcomes = random.choice(
                (
                    ["ok"],
                    ["ok", "ok"],
                    ["failed", "ok"],
                    ["lost", "ok"],
                    ["stored", "ok"],
                    ["stored"],
                    ["lost"],
                    ["failed"],
                )
            )
            stored = False
            for what in outcomes:
                ended_s = began_s + random.uniform(0.01, 3)
                outcome = {"ok": Outcome.OK, "failed": Outcome.FAILED}.get(what, Outcome.UNKNOWN)
                self.calls.append(Call(organization, ids, began_s, ended_s, outcome))
                if what in ("ok", "stored") and not stored:
                    commits.append((random.uniform(began_s, ended_s), ids))
                    stored = True
                began_s = ended_s + random.uniform(0, 1)
        # Two acknowledged one after the other, and a third that no answer said to be stored: every tampering finds its place.
        for at_s, number in ((100.0, 100), (110.0, 101)):
            ids = (f"evt_{organization}_{number}",)
            self.sent[organization, ids[0]] = digest_of(ids[0])
            self.calls.append(Call(organization, ids, at_s, at_s + 1, Outcome.OK))
            commits.append((at_s, ids))
        refused = f"evt_{organization}_refused"
        self.sent[organization, refused] = digest_of(refused)
        self.calls.append(Call(organization, (refused,), 120.0, 121.0, Outcome.FAILED))
        ids = [one for _, batch in sorted(commits) for one in batch]
        self.logs[organization] = [Entry(n, one, digest_of(one)) for n, one in enumerate(ids, 1)]

    def _deliver(self, organization: str, destination: str) -> None:
        """Deliver each event, some twice, one as a dead letter, and settle under two leases at least."""
        random, entries = self.random, self.logs[organization]
        dead = random.choice(entries).event_id
        repeats = 0
        for entry in entries:
            again = random.random() < 0.2
            repeats += again and entry.event_id != dead
            for _ in range(0 if entry.event_id == dead else 1 + again):
                self.arrivals.append(
                    Arrival(destination, entry.event_id, entry.digest, random.uniform(0, 200))
                )
        cursor = self._settle(destination, len(entries))
        counts = Counts(len(entries) - 1, random.randint(3, 9), 0, 1)
        self.ledgers.append(
            Ledger(destination, organization, cursor, counts, counts, {dead: "rejected: 400"}, repeats + 2)
        )

    def _settle(self, destination: str, head: int) -> int:
        random, cursor, made = self.random, 0, []
        for epoch in range(1, random.randint(3, 5)):
            node = random.choice(("one", "two"))
            owner = f"wrk_{node}_{epoch}"
            made.append(
                Version(destination, epoch, owner, 0, cursor, node, random.choice((node, "two", None)))
            )
            number = 0
            for _ in range(random.randint(1, 4)):
                number += random.randint(1, 3)
                cursor = min(head - 1, cursor + random.randint(0, 5))
                made.append(Version(destination, epoch, owner, number, cursor, node, node))
            if random.random() < 0.5:
                made.append(Version(destination, epoch, None, number, cursor))
        last = made[-1]._replace(owner="wrk_one_9", epoch=9, number=0, owner_node="one", writer_node="one")
        self.versions += [*made, last, last._replace(number=4, cursor=head)]
        return head


def good_history(seed: int) -> History:
    """Return a history that breaks nothing."""
    return _Maker(Random(seed)).make()


# ── what may be done to a history ──


def _lose_an_acknowledged_event(history: History, random: Random) -> History:
    return _with_log(
        history, lambda entries: [one for one in entries if not one.event_id.endswith("_100")], number=True
    )


def _lose_the_newest_acknowledged_event(history: History, random: Random) -> History:
    return _with_log(history, lambda entries: entries[:-1])


def _store_an_event_twice(history: History, random: Random) -> History:
    return _with_log(history, lambda entries: [*entries, random.choice(entries)], number=True)


def _store_what_nobody_sent(history: History, random: Random) -> History:
    return _with_log(history, lambda entries: [*entries, Entry(0, "evt_strange", b"x")], number=True)


def _store_what_was_refused(history: History, random: Random) -> History:
    refused = "evt_org_a_refused"
    return _with_log(history, lambda entries: [*entries, Entry(0, refused, digest_of(refused))], number=True)


def _leave_a_gap(history: History, random: Random) -> History:
    place = random.randrange(1, 4)
    return _with_log(
        history,
        lambda entries: [
            *entries[:place],
            *(one._replace(sequence=one.sequence + 1) for one in entries[place:]),
        ],
    )


def _begin_the_log_late(history: History, random: Random) -> History:
    return _with_log(history, lambda entries: [one._replace(sequence=one.sequence + 1) for one in entries])


def _swap_two_commits(history: History, random: Random) -> History:
    return _with_log(history, lambda entries: [*entries[:-2], entries[-1], entries[-2]], number=True)


def _alter_stored_bytes(history: History, random: Random) -> History:
    place = random.randrange(4)
    return _with_log(
        history,
        lambda entries: [one._replace(digest=b"x") if n == place else one for n, one in enumerate(entries)],
    )


def _alter_delivered_bytes(history: History, random: Random) -> History:
    return _with_arrival(history, random, lambda one: [one._replace(digest=b"x")])


def _deliver_what_is_not_stored(history: History, random: Random) -> History:
    return _with_arrival(history, random, lambda one: [one, one._replace(event_id="evt_strange")])


def _deliver_to_the_wrong_organization(history: History, random: Random) -> History:
    return _with_arrival(
        history, random, lambda one: [one, one._replace(destination="dst_b1", event_id="evt_org_a_100")]
    )


def _never_deliver_one(history: History, random: Random) -> History:
    lost = random.choice(history.arrivals)
    kept = [one for one in history.arrivals if one[:2] != lost[:2]]
    return replace(history, arrivals=kept)


def _repeat_more_than_allowed(history: History, random: Random) -> History:
    return _with_arrival(history, random, lambda one: [one] * 8)


def _forget_the_reason_of_a_dead_letter(history: History, random: Random) -> History:
    return _with_ledger(history, random, lambda one: replace(one, dead=dict.fromkeys(one.dead, "")))


def _count_one_too_many(history: History, random: Random) -> History:
    name = random.choice(Counts._fields)
    return _with_ledger(
        history,
        random,
        lambda one: replace(one, counts=one.counts._replace(**{name: getattr(one.counts, name) + 1})),
    )


def _lose_a_dead_letter(history: History, random: Random) -> History:
    return _with_ledger(history, random, lambda one: replace(one, dead={}))


def _move_the_cursor_past_the_log(history: History, random: Random) -> History:
    return _with_ledger(history, random, lambda one: replace(one, cursor=one.cursor + 1))


def _move_the_cursor_back(history: History, random: Random) -> History:
    return _with_last_version(
        history, lambda one: [one, one._replace(number=one.number + 1, cursor=one.cursor - 1)]
    )


def _move_the_cursor_without_a_settlement(history: History, random: Random) -> History:
    return _with_last_version(history, lambda one: [one, one._replace(cursor=one.cursor + 1)])


def _go_back_to_an_epoch(history: History, random: Random) -> History:
    return _with_last_version(history, lambda one: [one, one._replace(epoch=one.epoch - 1)])


def _settle_under_an_old_epoch(history: History, random: Random) -> History:
    """The former owner's settlement is stored under its successor's lease."""
    return _with_last_version(history, lambda one: [one, one._replace(number=57, writer_node="two")])


def _begin_an_epoch_with_a_settlement(history: History, random: Random) -> History:
    return _with_last_version(history, lambda one: [one, one._replace(epoch=10)])


def _begin_an_epoch_elsewhere(history: History, random: Random) -> History:
    return _with_last_version(
        history, lambda one: [one, one._replace(epoch=10, number=0, cursor=one.cursor + 1)]
    )


def _store_settlements_in_the_wrong_order(history: History, random: Random) -> History:
    return _with_last_version(history, lambda one: [one, one._replace(number=one.number - 1)])


def _take_a_lease_without_an_epoch(history: History, random: Random) -> History:
    return _with_last_version(history, lambda one: [one, one._replace(owner="wrk_two_1")])


def _settle_after_giving_back(history: History, random: Random) -> History:
    return _with_last_version(
        history, lambda one: [one, one._replace(owner=None), one._replace(owner=None, number=one.number + 1)]
    )


TAMPERINGS: dict[Callable[[History, Random], History], str] = {
    _lose_an_acknowledged_event: "acknowledged, but not in the log",
    _lose_the_newest_acknowledged_event: "acknowledged, but not in the log",
    _store_an_event_twice: "more than once in the log",
    _store_what_nobody_sent: "never sent",
    _store_what_was_refused: "although every answer said",
    _leave_a_gap: "has the sequence",
    _begin_the_log_late: "has the sequence",
    _swap_two_commits: "earlier in the log",
    _alter_stored_bytes: "stored with other bytes",
    _alter_delivered_bytes: "delivered with other bytes",
    _deliver_what_is_not_stored: "delivered, but not in the log",
    _deliver_to_the_wrong_organization: "delivered, but not in the log",
    _never_deliver_one: "neither delivered nor a dead letter",
    _repeat_more_than_allowed: "the bound is",
    _forget_the_reason_of_a_dead_letter: "neither delivered nor a dead letter",
    _count_one_too_many: "its counters say",
    _lose_a_dead_letter: "dead letters are counted",
    _move_the_cursor_past_the_log: "the log ends at",
    _move_the_cursor_back: "the cursor moved back",
    _move_the_cursor_without_a_settlement: "without a settlement",
    _go_back_to_an_epoch: "the epoch went back",
    _settle_under_an_old_epoch: "another node than the owner's settled",
    _begin_an_epoch_with_a_settlement: "a new epoch began with a settlement",
    _begin_an_epoch_elsewhere: "a new epoch began with another cursor",
    _store_settlements_in_the_wrong_order: "after a later one",
    _take_a_lease_without_an_epoch: "without a new epoch",
    _settle_after_giving_back: "after the lease had been given back",
}


def _with_log(history: History, change, *, number: bool = False) -> History:
    entries = change(list(history.logs["org_a"]))
    if number:
        entries = [one._replace(sequence=n) for n, one in enumerate(entries, 1)]
    return replace(history, logs={**history.logs, "org_a": entries})


def _with_arrival(history: History, random: Random, change) -> History:
    place = random.randrange(len(history.arrivals))
    made = [*history.arrivals[:place], *change(history.arrivals[place]), *history.arrivals[place + 1 :]]
    return replace(history, arrivals=made)


def _with_ledger(history: History, random: Random, change) -> History:
    place = random.randrange(len(history.ledgers))
    made = [change(one) if n == place else one for n, one in enumerate(history.ledgers)]
    return replace(history, ledgers=made)


def _with_last_version(history: History, change) -> History:
    return replace(history, versions=[*history.versions[:-1], *change(history.versions[-1])])


# ── the tests ──


@given(SEEDS)
def test_a_good_history_passes(seed):
    """Lost answers, refusals, repeats within the bound and changes of owner are no violations."""
    assert violations(good_history(seed)) == []


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda one: one.__name__.strip("_"))
@given(SEEDS)
@settings(max_examples=25)
def test_a_tampered_history_is_found_out(tamper, seed):
    """Each way in which a history can break an invariant is found, and said in words that name it."""
    found = violations(tamper(good_history(seed), Random(seed)))

    assert any(TAMPERINGS[tamper] in line for line in found), found


def test_the_order_of_overlapping_calls_is_free():
    """Two events that were under way at the same time may be stored in either order."""
    calls = [Call("org", (name,), 0.0, 1.0, Outcome.OK) for name in ("evt_1", "evt_2")]
    sent = {("org", name): b"" for name in ("evt_1", "evt_2")}
    for names in (("evt_1", "evt_2"), ("evt_2", "evt_1")):
        log = [Entry(number, name, b"") for number, name in enumerate(names, 1)]

        assert violations(History(sent, calls, [], {"org": log}, [])) == []


def test_what_a_lost_primary_had_alone_may_have_been_delivered():
    """An event that was sent, and neither acknowledged nor kept, may have arrived; one that nobody sent may not."""
    sent = {("org", "evt_1"): b"one"}
    calls = [Call("org", ("evt_1",), 0, 1, Outcome.UNKNOWN)]
    counts = Counts(0, 0, 0, 0)
    ledger = Ledger("dst", "org", 0, counts, counts, {}, 0)
    for event_id, digest, found in (("evt_1", b"one", 0), ("evt_1", b"two", 1), ("evt_2", b"one", 1)):
        history = History(
            sent, calls, [Arrival("dst", event_id, digest, 2)], {"org": []}, [ledger], undone=True
        )

        assert len(violations(history)) == found
        assert len(violations(replace(history, undone=False))) == 1


def test_a_violation_lists_few_examples():
    """A thousand lost events are one line with a few of their names."""
    ids = [f"evt_{number}" for number in range(1000)]
    history = History(
        {("org", one): b"" for one in ids}, [Call("org", ids, 0, 1, Outcome.OK)], [], {"org": []}, []
    )

    [line] = violations(history)

    assert line.startswith("1000 events acknowledged, but not in the log: ")
    assert line.count("evt_") == 3


@given(SEEDS)
def test_figures_count_what_is_lost_and_repeated(seed):
    """The figures of a run count a lost event, an undelivered one, altered bytes and a repeat."""
    good = good_history(seed)
    before = figures(good)
    arrival = good.arrivals[0]
    silenced = replace(good, arrivals=[one for one in good.arrivals if one[:2] != arrival[:2]])

    assert (before["lost"], before["wrong"]) == (0, 0)
    assert figures(_lose_the_newest_acknowledged_event(good, Random(seed)))["lost"] == 1
    assert figures(_alter_stored_bytes(good, Random(seed)))["wrong"] == 1
    assert figures(silenced)["lost"] == 1
    assert figures(replace(good, arrivals=[*good.arrivals, arrival]))["repeats"] == before["repeats"] + 1
