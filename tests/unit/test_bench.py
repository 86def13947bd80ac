"""Promises of the benchmark harness: a run that lost, duplicated or changed an event fails, and figures are compared as documented."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from bench.events import EVENT_BYTES, Sent, event_body
from bench.measure import measure
from bench.on_postgres import Compared
from bench.pairs import program_of, run_pairs
from bench.pairs import table as compared
from bench.picture import picture
from bench.plan import Options, Round
from bench.processes import Tree, cpu_seconds
from bench.reconcile import Contents, Reconciliation, stretches
from bench.report import as_json, table
from bench.result import Result
from bench.run import chosen
from bench.turns import by_turns, ratio

COUNTS = Reconciliation(100, 100, ids_compared=100, checksums_compared=100)


def rounds(*rates: float, first: int = 1) -> list[Round]:
    """Return rounds with these rates, numbered from 1."""
    return [Round({"rate": rate}, COUNTS, number=number) for number, rate in enumerate(rates, first)]


@pytest.mark.parametrize("scattered", [False, True])
def test_each_event_is_known_by_its_id(scattered):
    """The number of an event is found from its id, and other ids do not belong to the run."""
    sent = Sent("run", 100, 500, scattered)

    assert [sent.index(sent.key(number)) for number in range(100, 600)] == list(range(500))
    assert [sent.index(sent.key(number)) for number in (99, 600)] == [None, None]
    assert sent.index(b"run0" + b"z" * 12) is None


def test_events_are_made_anew_as_the_generator_writes_them():
    """A rebuilt body is the generator's template with the digits of its number."""
    bodies = list(Sent("run", 7, 3).bodies())

    assert bodies == [event_body("run", number) for number in (7, 8, 9)]
    assert {len(body) for body in bodies} == {EVENT_BYTES}


def test_what_arrived_once_and_unchanged_reconciles():
    """All events of two runs, in any order, match what was acknowledged."""
    sent = [Sent("r00", 1, 50), Sent("r01", 1, 50, scattered=True)]
    contents = Contents(sent)

    contents.take([*sent[1].bodies(), *reversed(list(sent[0].bodies()))])

    contents.check(100)
    assert contents.received == 100


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda bodies: bodies[:-1], "1 are missing"),
        (lambda bodies: [*bodies, bodies[3]], "1 arrived more than once"),
        (
            lambda bodies: [*bodies[:-1], bodies[-1].replace(b"SSN masked", b"SSN Masked")],
            "1 have a changed body",
        ),
        (lambda bodies: [*bodies, event_body("run", 51)], "1 have an id that was not acknowledged"),
        (lambda bodies: [*bodies, b"{}"], "1 have an id that was not acknowledged"),
        (lambda bodies: [*bodies[:-1], bodies[0]], "1 are missing, 1 arrived more than once"),
    ],
)
def test_any_difference_fails_the_run(damage, message):
    """A lost, duplicated, changed or unknown event is an error that says which of these it is."""
    sent = Sent("run", 1, 50)
    contents = Contents([sent])

    contents.take(damage(list(sent.bodies())))

    with pytest.raises(RuntimeError, match=message):
        contents.check(50)


def test_a_long_run_is_compared_in_even_parts_with_both_ends():
    """Above the limit, eight ranges of equal length are compared, including the first and the last event, none twice."""
    ranges = stretches(1_001, 1_001_000, 20_000)

    assert ranges[0][0] == 1_001
    assert ranges[-1][1] == 1_001_000
    assert {high - low + 1 for low, high in ranges} == {2_500}
    assert all(earlier[1] < later[0] for earlier, later in pairwise(ranges))
    assert stretches(5, 20_004, 20_000) == [(5, 20_004)]
    assert sum(high - low + 1 for low, high in stretches(1, 20_001, 20_000)) == 20_000


def test_turns_change_who_begins():
    """The sides take turns in coming first, and the ratio is the median of the pairs' ratios."""
    order: list[str] = []

    def turn(name: str, rate: float) -> float:
        order.append(name)
        return rate

    pairs = by_turns(lambda: turn("a", 100.0), lambda: turn("b", 90.0), pairs=3)

    assert "".join(order) == "abbaab"
    assert ratio(pairs) == pytest.approx(0.9)


def test_a_workload_brings_along_what_it_is_compared_with():
    """S6 and S7 also run S2, and are compared with its rate of the same round."""
    found = {one.workload.name: one for one in chosen({"S6", "S7"})}

    assert list(found) == ["S2", "S6", "S7"]
    found["S2"].ours = rounds(50_000, 25_000, 40_000)
    found["S6"].ours = rounds(20_000, 30_000, first=2)
    share = found["S6"].share
    assert share is not None
    assert share.values == [0.8, 0.75]
    assert share.met is False


def test_ours_and_the_peer_are_compared_round_by_round():
    """The ratio is of rounds with the same number; a round without its other side is ignored."""
    (result,) = chosen({"S2"})
    result.ours, result.peer = rounds(48_000, 30_000, 50_000), rounds(10_000, 30_000, first=2)

    figure = result.ratio

    assert figure is not None
    assert figure.values == [3.0, pytest.approx(5 / 3)]
    assert figure.met


def test_the_table_judges_each_median():
    """Rates must reach their target, other figures must not exceed it, and a failed workload is named."""
    s2, s8 = chosen({"S2", "S8"})
    s2.ours = rounds(44_000, 46_000, 45_500)
    s8.ours = [Round({"idle % of a core": 3.5, "wake max ms": 20.0}, COUNTS, number=1)]
    s8.failed = "round 2, ours: reconciliation failed"

    text = table([s2, s8], {})

    assert "45,500 (44,000–46,000)" in text
    assert "≥ 45,000 met" in text
    assert "≤ 3 missed" in text
    assert "≤ 50 met" in text
    assert "S8 FAILED: round 2" in text


def test_the_file_holds_the_reconciliation_of_every_round():
    """Each round has the counts of acknowledged, received, duplicated and compared events."""
    (result,) = chosen({"S2"})
    result.ours = rounds(44_000)

    one = json.loads(as_json([result], {}, Options()))["workloads"]["S2"]["ours"][0]["reconciliation"]

    assert one["acknowledged"] == one["received"] == one["ids_compared"] == one["checksums_compared"] == 100
    assert one["duplicates"] == one["missing"] == 0


def test_a_picture_can_be_drawn_of_any_choice():
    """Workloads without a rate, and a run without workloads, do not appear in the picture and do not break it."""
    empty: list[Result] = []
    s2, s5 = chosen({"S2", "S5"})
    s2.ours, s2.peer = rounds(44_000, 46_000), rounds(20_000, 30_000)

    assert picture(empty).startswith("<svg")
    assert picture([s2, s5]).count('class="n"') == 2


class Ended:
    """A load of which everything was acknowledged before the measurement began."""

    pid = os.getpid()
    acknowledged = 64

    def tell_received(self, events: int) -> None:
        """Not needed."""

    def stop(self) -> None:
        """Has ended already."""


def test_events_that_arrive_before_the_measurement_begins_count():
    """A load starts before its measurement: its first events, which may have arrived by then, are no loss."""
    run = measure(Ended(), lambda: 1064, base=1000, seconds=0.001, ours={}, others={}, stall_s=0.1)

    assert (run.events, run.received) == (64, 64)


def test_two_checkouts_are_compared_pair_by_pair():
    """The table has both medians, and the median of the ratios of runs that belong together, per figure and for the CPU."""

    def one(rate: float, api_us: float) -> Round:
        return Round({"rate": rate}, COUNTS, cpu_us={"api": api_us, "worker": 10.0, "nginx": 99.0})

    text = compared(
        {"S1": [(one(100, 90), one(200, 40)), (one(50, 100), one(75, 50)), (one(10, 80), one(30, 30))]}
    )

    rate, api, both = (
        next(line for line in text.splitlines() if f" {name} " in line)
        for name in ("rate", "api µs", "all µs")
    )
    assert rate.split()[2:] == ["50", "75", "2.000", "(1.500–3.000)"]
    assert api.split()[3:6] == ["90", "40", "0.444"]
    assert both.split()[3:6] == ["100", "50", "0.500"]
    assert "99" not in text, "the CPU of the receiver is not the service's"


def test_two_stores_are_compared_pair_by_pair():
    """Ratios and differences are medians over the pairs, and each side's own figures are in the notes under its name."""
    pairs = list(zip(rounds(100, 50, 10), rounds(60, 40, 9), strict=True))
    found = Compared(("SQLite", "PostgreSQL"), pairs)

    whole = found.round({"rate": found.second("rate")})

    assert found.ratio(lambda one: one.figures["rate"]) == 0.8
    assert found.difference("rate") == -10
    assert (whole.figures["rate"], whole.notes["SQLite rate"], whole.notes["PostgreSQL rate"]) == (40, 50, 40)
    assert whole.reconciliation.acknowledged == 600


def test_the_cpu_of_a_server_includes_its_processes_that_have_ended():
    """What a child used stays in the figure of its parent's tree after the child is gone."""
    before = cpu_seconds(Tree(os.getpid()))

    subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)

    assert cpu_seconds(Tree(os.getpid())) - before >= 0.05


def test_what_a_server_counts_is_noted_for_the_run():
    """A counter's growth between the beginning and the end of a run is a note of the run."""
    numbers = iter([1_000.0, 1_500.0])

    run = measure(
        *(Ended(), lambda: 64),
        base=0,
        seconds=0.001,
        ours={},
        others={},
        counters={"WAL bytes": lambda: next(numbers)},
    )

    assert run.notes["WAL bytes"] == 500


def test_a_ratio_of_rates_must_reach_its_target_and_one_of_cpu_must_not_exceed_it():
    """P1 asks for at least 0.6 of the rate and for at most half of the CPU."""
    (p1,) = chosen({"P1"})
    p1.ours = [Round({"rate × SQLite": 0.7, "API CPU × SQLite": 0.7}, COUNTS, number=1)]

    assert [one.met for one in p1.figures()] == [True, False]


def test_the_other_checkout_runs_in_the_same_environment(monkeypatch, tmp_path):
    """The compiled build is compared with the other checkout's compiled build, and pure Python with pure Python."""
    root = Path(run_pairs.__code__.co_filename).resolve().parents[1]
    found = []
    for environment in (root / ".cache" / "compiled", root / ".venv", tmp_path / "elsewhere"):
        monkeypatch.setattr(sys, "prefix", str(environment))
        found.append(program_of(tmp_path).relative_to(tmp_path).as_posix())

    assert found == [".cache/compiled/bin/aegis", ".venv/bin/aegis", ".venv/bin/aegis"]
