"""Faults of several nodes on one PostgreSQL: each in an order that the seed chooses, under a load on all nodes.

The nodes, and what must hold at the end: nodes.py, checker.py.
"""

import signal
import time
from collections.abc import Callable, Mapping

from faults import ended
from faults.clients import ANSWER_S
from faults.frame import Fault, Run
from faults.nodes import (
    HANDOVER_S,
    INGEST_S,
    LEASE_S,
    READ_AHEAD_MAX,
    READY_S,
    TAKEOVER_S,
    Deployment,
    deployment,
)

HOUR_S = 3600
RECONNECT_S = 10.0
"""How soon a node whose way to the database was cut acknowledges events again: it may have just begun to wait for a connection."""
LOCKED_S = 12.0
"""How long a node that is cut off may hold the lock of an organization: until the database ends its transaction, and 2 s."""


def kill_a_node(one: Deployment) -> None:
    """Kill a node and start it again at once, or leave its destinations to the others."""
    node, dst_ids = one.victim()
    node.kill()
    killed_s = time.monotonic()
    one.note_repeats(dst_ids)
    if one.run.random.random() < 0.5:
        one.await_arrivals(dst_ids, killed_s, TAKEOVER_S, "takeover")
    node.await_ready()


def stop_a_node(one: Deployment) -> None:
    """Stop a node for longer than its lease: others take over, and it settles nothing any more."""
    node, dst_ids = one.victim()
    stop_s = LEASE_S + one.run.random.uniform(1, 5)
    node.send(signal.SIGSTOP)
    stopped_s = time.monotonic()
    one.note_repeats(dst_ids)
    time.sleep(stop_s)
    node.send(signal.SIGCONT)
    one.await_arrivals(dst_ids, stopped_s, TAKEOVER_S, "takeover")
    node.await_ready()


def drain_a_node(one: Deployment) -> None:
    """Ask a node to end: another one goes on at once."""
    node, dst_ids = one.victim()
    began_s = time.monotonic()
    took_s = node.terminate()
    one.run.expect(took_s < READY_S, f"{node.name} did not end well after SIGTERM")
    one.await_arrivals(dst_ids, began_s + took_s, HANDOVER_S, "handover")
    node.await_ready()


def end_sessions(one: Deployment) -> None:
    """Cut all connections to the database twice a second."""
    with one.takeovers_repeat():
        for _ in range(one.run.random.randint(4, 10)):
            one.server.terminate_backends(one.database)
            time.sleep(0.5)
        one.await_answers(time.monotonic(), INGEST_S)


def restart_database(one: Deployment) -> None:
    """Stop the database in good order, at once, or by SIGKILL, and start it again after a while."""
    how = one.run.random.choice(("fast", "immediate", "kill"))
    with one.takeovers_repeat():
        if how == "kill":
            one.server.kill()
        else:
            one.server.stop(immediate=how == "immediate")
        time.sleep(one.run.random.uniform(0, 2))
        one.server.start()
        one.await_answers(time.monotonic(), INGEST_S)


def pause_database(one: Deployment) -> None:
    """Let the database be silent for a while: connections stay, and nothing is answered."""
    with one.takeovers_repeat():
        one.server.pause()
        time.sleep(one.run.random.uniform(0.5, LEASE_S / 2))
        one.server.resume()
        one.await_answers(time.monotonic(), INGEST_S)


def set_a_clock(one: Deployment) -> None:
    """Set the clock of a node an hour ahead or back for a while: leases are the database's."""
    node = one.run.random.choice(one.nodes)
    taken = set(one.ask(ended.TAKEN))
    node.injected.set_clock(one.run.random.choice((-HOUR_S, HOUR_S)))
    set_s = time.monotonic()
    time.sleep(LEASE_S / 3 + 1)  # each worker renews and claims at least once
    one.await_answers(set_s, INGEST_S)
    one.await_arrivals(list(one.repeats_max), set_s, LEASE_S, "clock")
    one.run.expect(set(one.ask(ended.TAKEN)) == taken, f"the clock of {node.name} cost a worker its lease")
    node.injected.set_clock(0)


def cut_a_node(one: Deployment) -> None:
    """Cut the way between a node and the database, for a moment or for longer than a lease, and restore it."""
    node, dst_ids = one.victim()
    others = [other for other in one.nodes if other is not node]
    long = one.run.random.random() < 0.7
    cut_s = LEASE_S + one.run.random.uniform(1, 5) if long else one.run.random.uniform(0.2, 3)
    # A short cut costs a lease, too, whose renewal was late before it or is late after it.
    with one.takeovers_repeat(ahead=READ_AHEAD_MAX):
        node.machine.cut()
        began_s = time.monotonic()
        time.sleep(cut_s)
        node.machine.restore()
        restored_s = time.monotonic()
        if long:
            one.await_arrivals(dst_ids, began_s, TAKEOVER_S, "takeover")
        # A client that waits for the node asks no other one.
        one.await_answers(began_s, ANSWER_S + INGEST_S, others)
        one.await_answers(restored_s, RECONNECT_S, [node])
    for organization in one.organizations:
        pause_s = one.clients.longest_pause(organization.org_id, began_s, restored_s)
        one.run.most(ingest_pause_max_s=pause_s)
        one.run.expect(
            pause_s <= LOCKED_S, f"{organization.org_id}: nothing acknowledged for {pause_s:.1f} s"
        )


KINDS: dict[str, Callable[[Deployment], None]] = {
    "kills": kill_a_node,
    "stops": stop_a_node,
    "drains": drain_a_node,
    "ended_sessions": end_sessions,
    "restarts": restart_database,
    "pauses": pause_database,
    "clocks": set_a_clock,
}


def play_in_turn(one: Deployment, kinds: Mapping[str, Callable[[Deployment], None]]) -> None:
    """Play faults one after the other, all of them before any comes again, and wait between two until all nodes answer."""
    turn: list[str] = []
    for _ in range(one.run.rounds):
        turn = turn or one.run.random.sample(sorted(kinds), len(kinds))
        name = turn.pop()
        kinds[name](one)
        one.await_answers(time.monotonic(), READY_S)
        one.run.add(runs=1, **{name: 1})


def play(run: Run) -> None:
    """Play the faults of nodes and of their database."""
    with deployment(run) as one:
        play_in_turn(one, KINDS)
        one.end()


def play_cuts(run: Run) -> None:
    """Cut the ways of nodes to the database, of one after the other."""
    with deployment(run, apart=True) as one:
        play_in_turn(one, {"cuts": cut_a_node})
        one.end()


def play_behind_a_pooler(run: Run) -> None:
    """Play faults while PgBouncer is between the nodes and the database."""
    kinds = ("kills", "stops", "ended_sessions", "restarts", "pauses")
    with deployment(run, pooled=True) as one:
        play_in_turn(one, {name: KINDS[name] for name in kinds})
        one.end()


FAULTS = (
    Fault(
        "nodes",
        "after any node was killed, stopped past its lease, ended or had a wrong clock, and the database was restarted, silent or cut its "
        "connections: every acknowledged event is stored and delivered, the log has no gap, and nothing was settled under an old epoch",
        play,
        rounds=len(KINDS),
        seconds=300,
    ),
    Fault(
        "nodes-cut",
        "the same after the way between a node and the database was cut, for a moment or for longer than a lease, and restored",
        play_cuts,
        rounds=2,
        seconds=300,
    ),
    Fault(
        "nodes-pooler",
        "the same, but the clocks, while PgBouncer in transaction mode is between the nodes and the database",
        play_behind_a_pooler,
        rounds=2,
        seconds=300,
    ),
)
