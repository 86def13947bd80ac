"""Faults of a database with two standbys, of which each commit waits for one: failovers of every kind, under a load on all nodes.

Nobody fails over by itself here: the test does what an operator or Patroni does. Nodes, load and judgement: nodes.py.
"""

import time
from collections.abc import Callable

from faults.frame import Fault, Run
from faults.node_faults import play_in_turn
from faults.nodes import INGEST_S, READ_AHEAD_MAX, Deployment, deployment
from support.standbys import restart_standby

FROZEN_S = 2.0
"""Longest time for which a server is frozen."""
IN_FLIGHT_S = 0.5
"""How long after the last standby froze an answer may still be on its way to a client."""

CANCEL_WAITS = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def kill_primary(one: Deployment) -> None:
    """Kill the primary, promote a standby after a moment, and let the old primary follow it."""
    old = one.server
    with one.takeovers_repeat():
        old.kill()
        time.sleep(one.run.random.uniform(0, 1))
        _promote(one)
    one.servers.rejoin(old)


def kill_frozen_primary(one: Deployment) -> None:
    """Freeze the primary, as a machine does that runs out of memory, then kill it, and promote a standby."""
    old = one.server
    with one.takeovers_repeat():
        old.pause()
        time.sleep(one.run.random.uniform(0.2, FROZEN_S))
        old.kill()
        _promote(one)
    one.servers.rejoin(old)


def stop_primary(one: Deployment) -> None:
    """Stop the primary in good order or at once, and promote a standby, as in a planned change of the primary."""
    old = one.server
    with one.takeovers_repeat():
        old.stop(immediate=one.run.random.random() < 0.5)
        _promote(one)
    one.servers.rejoin(old)


def have_two_primaries(one: Deployment) -> None:
    """Promote a standby while the primary is frozen, and let that go on: nobody can tell it that it is none any more.

    It finds no standby, so it acknowledges nothing, and what it stored is undone when it is ended and follows its successor.
    """
    old = one.server
    with one.takeovers_repeat():
        old.pause()
        one.servers.fail_over()
        _note_repeats(one)
        old.resume()
        time.sleep(one.run.random.uniform(0.5, FROZEN_S))
        old.kill()
        one.await_answers(time.monotonic(), INGEST_S)
    one.servers.rejoin(old)


def lose_two_primaries(one: Deployment) -> None:
    """Kill the primary, and its successor as soon as the old primary follows that."""
    first = one.server
    with one.takeovers_repeat():
        first.kill()
        second = one.servers.fail_over()
        _note_repeats(one)
        one.servers.rejoin(first)
        second.kill()
        _promote(one)
    one.servers.rejoin(second)


def lose_standby(one: Deployment) -> None:
    """Kill one standby: events are acknowledged all the same."""
    standby = one.run.random.choice(one.servers.standbys)
    killed_s = time.monotonic()
    standby.kill()
    one.await_answers(killed_s, INGEST_S)
    standby.start()
    one.servers.wait_for_standbys()


def lose_all_standbys(one: Deployment) -> None:
    """Freeze both standbys for a while: nothing is acknowledged meanwhile, and everything goes on afterwards."""
    standbys = one.servers.standbys
    with one.takeovers_repeat():
        for standby in standbys:
            standby.pause()
        frozen_s = time.monotonic()
        time.sleep(IN_FLIGHT_S + one.run.random.uniform(0.5, FROZEN_S))
        resumed_s = time.monotonic()
        for standby in standbys:
            standby.resume()
        one.await_answers(resumed_s, INGEST_S)
    early = [a for a in one.clients.answered[:] if frozen_s + IN_FLIGHT_S < a.ended_s < resumed_s]
    one.run.expect(not early, f"{len(early)} requests were acknowledged while no standby answered")


def lose_unreplicated_commits(one: Deployment) -> None:
    """Kill the standbys, cancel the commits that wait for them, and lose the primary: what it alone has is not acknowledged.

    A commit whose wait is cancelled succeeds for the server, and other sessions see it at once: also those that are sent its events
    again.
    """
    old, standbys = one.server, one.servers.standbys
    one.undone = True
    with one.takeovers_repeat():
        for standby in standbys:
            standby.kill()  # one that is only frozen still gets what its connection holds
        until_s = time.monotonic() + one.run.random.uniform(1, 4)
        while time.monotonic() < until_s:
            [(cancelled,)] = one.ask(CANCEL_WAITS)
            one.run.add(cancelled=int(cancelled))
        old.kill()
        for standby in standbys:
            restart_standby(standby)
        _promote(one)
    one.servers.rejoin(old)


def _promote(one: Deployment) -> None:
    """Promote the standby that has received most; each node acknowledges events soon after it takes writes."""
    began_s = time.monotonic()
    one.servers.fail_over()
    _note_repeats(one)
    promoted_s = time.monotonic()
    one.run.most(promotion_max_s=promoted_s - began_s)
    one.await_answers(promoted_s, INGEST_S)


def _note_repeats(one: Deployment) -> None:
    """Allow what a failover repeats: no lease outlasts it, some workers notice only later, and until then they send on."""
    one.note_repeats(list(one.repeats_max), ahead=READ_AHEAD_MAX)


KINDS: dict[str, Callable[[Deployment], None]] = {
    "killed_primaries": kill_primary,
    "frozen_primaries": kill_frozen_primary,
    "stopped_primaries": stop_primary,
    "two_primaries": have_two_primaries,
    "two_lost_primaries": lose_two_primaries,
    "lost_standbys": lose_standby,
    "all_standbys_frozen": lose_all_standbys,
}


def play(run: Run) -> None:
    """Lose primaries and standbys, one after the other."""
    with deployment(run, standbys=2) as one:
        play_in_turn(one, KINDS)
        one.end()


def play_unreplicated(run: Run) -> None:
    """Lose primaries that have commits which no standby has."""
    with deployment(run, standbys=2) as one:
        play_in_turn(one, {"unreplicated": lose_unreplicated_commits})
        one.end()


FAULTS = (
    Fault(
        "nodes-failover",
        "after a primary was killed, frozen, stopped, or lived on beside its successor, and after standbys were lost: every acknowledged event "
        "is stored and delivered, the log has no gap, each node acknowledges events again within two seconds of a primary that takes writes, "
        "and none while no standby answers",
        play,
        rounds=len(KINDS),
        seconds=600,
    ),
    Fault(
        "nodes-unreplicated",
        "the same after waits for a standby were cancelled and the primary was then lost: no event that no standby had was acknowledged",
        play_unreplicated,
        rounds=1,
        seconds=300,
    ),
)
