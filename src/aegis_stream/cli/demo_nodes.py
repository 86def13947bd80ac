"""The demonstration of two nodes on one PostgreSQL: what one of them stores, the other one knows and delivers.

Each node is `aegis serve` with a data directory of its own. The server is a private one: demo_postgres.py.
"""

import base64
import io
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aegis_stream.domain.ids import Micros, new_secret
from aegis_stream.domain.organization import OPERATOR_KEY_PREFIX

from .client import Client
from .demo_context import DemoContext, open_events, own_folder
from .demo_copy import ReceivedCopy
from .demo_events import demo_events
from .demo_postgres import PrivatePostgres, find_programs, private_postgres
from .demo_proof import Proving, prove, seal_in_stream, send_what_was_before
from .demo_receiver import Arrivals, Receiving, receiving
from .demo_service import SEALED, LocalService, choose_port, local_service, networks_of
from .demo_steps import (
    RETRY,
    Account,
    Sent,
    address_of,
    compare,
    curl,
    make_destination,
    make_ingest_key,
    make_organization,
    record_events,
    say_answer,
    send_events,
    shown_address_of,
    test_destination,
    wait_for_arrivals,
)
from .screen import shorten

LEASE_S = 8
"""How long node B waits before it takes over the destinations of node A, seconds. Shorter than the default, and as long as the
time limit of a request allows: 5 seconds more than that."""
REQUEST_TIMEOUT_S = 3
CHANGE_S = 2
"""Time for the worker that serves the destination to read a change, seconds; it looks four times a second."""
_SHARED = {"AEGIS_LEASE_SECONDS": str(LEASE_S), "AEGIS_REQUEST_TIMEOUT_SECONDS": str(REQUEST_TIMEOUT_S)}


@dataclass(frozen=True, slots=True)
class _Node:
    """One of the nodes.

    Args:
        variables: its settings.
    """

    name: str
    service: LocalService
    url: str
    log: Path
    variables: Mapping[str, str]


def play_nodes(context: DemoContext, stack: ExitStack, options: tuple[Path | None, int, Path | None]) -> bool:
    """Do all steps in order; what must be undone at the end goes on the stack.

    Returns: True if every event was stored, arrived, and is equal, and the receivers' copy proves it.
    Raises: AegisError or OSError when something is missing or does not start.
    """
    events, port, config = options
    programs = find_programs()
    stack.enter_context(own_folder(context))
    source = stack.enter_context(open_events(events))
    server = _start_server(context, stack, programs)
    bearer = secrets.token_hex(16)
    context.begin("Start a receiver with TLS", f"   $ aegis receiver --tls --bearer {shorten(bearer)}")
    arrivals = Arrivals(context.screen, context.org_id, time.monotonic)
    copy = stack.enter_context(ReceivedCopy(context.folder / "received.ndjson"))
    receiver = _start_receiver(context, stack, bearer, arrivals, copy)
    operator_key = new_secret(OPERATOR_KEY_PREFIX, secrets.token_bytes(32))
    one, other = _start_nodes(context, stack, server, (operator_key, port, config))

    api_key = make_organization(context, one.url, operator_key)
    seal_in_stream(context, one.variables, config)
    with (
        Client(one.url, api_key, context.org_id) as client,
        Client(other.url, api_key, context.org_id) as other_client,
    ):
        here, there = Account(client, shorten(api_key)), Account(other_client, shorten(api_key))
        ingest_key = make_ingest_key(context, here)
        retry = dict(RETRY, max_attempts=20)
        destination = make_destination(context, there, receiver, bearer, retry)
        test_destination(context, here, destination["id"])
        send_what_was_before(context, here, destination["id"], one.service.is_running)
        _, is_equal = send_events(context, (one.url, ingest_key), source, arrivals, one.service.process)
        all_well = [is_equal]
        arrivals = Arrivals(
            context.screen,
            context.org_id,
            time.monotonic,
            name="receiver 2",
            fingerprints=arrivals.fingerprints,
        )
        context.begin("Start another receiver, and change the destination at node B")
        receiver = _start_receiver(context, stack, bearer, arrivals, copy)
        _change_destination(context, there, destination["id"], receiver, bearer)
        all_well.append(_record_elsewhere(context, (one, ingest_key), arrivals))
        sent, is_equal = _lose_node(context, (one, other), ingest_key, arrivals)
        proving = Proving(copy, destination["id"], tuple(sent.stored))
        is_proven = prove(context, there, proving, other.service.is_running)
        all_well += [is_equal, is_proven]
    if all(all_well):
        context.screen.say("Node A is gone, and every event that it acknowledged has arrived.")
    return all(all_well)


def _start_server(context: DemoContext, stack: ExitStack, programs: Path) -> PrivatePostgres:
    context.begin("Start a PostgreSQL server with an empty database, in a temporary directory")
    log = context.folder / "postgres.log"
    server = stack.enter_context(private_postgres(programs, log))
    context.screen.say(
        f"   $ {' '.join(server.command)}",
        f"   PostgreSQL {server.version} answers at {server.shown_url}, logs to {log}",
        "",
    )
    return server


def _start_receiver(
    context: DemoContext, stack: ExitStack, bearer: str, arrivals: Arrivals, copy: ReceivedCopy
) -> Receiving:
    fails: Callable[[], bool] = context.failing.exists
    folder = context.folder / "tls"
    receiver = stack.enter_context(receiving(arrivals, bearer=bearer, folder=folder, fails=fails, copy=copy))
    context.screen.say(f"   listens on {receiver.url}", "")
    return receiver


def _start_nodes(
    context: DemoContext,
    stack: ExitStack,
    server: PrivatePostgres,
    options: tuple[str, int, Path | None],
) -> tuple[_Node, _Node]:
    operator_key, port, config = options
    master_key = base64.b64encode(secrets.token_bytes(32)).decode()
    shared = (
        _SHARED
        | SEALED
        | {
            "AEGIS_ALLOWED_NETWORKS": networks_of(context.settings),
            "AEGIS_DATABASE_URL": server.url,
            "AEGIS_MASTER_KEY": master_key,
            "AEGIS_OPERATOR_KEY": operator_key,
        }
    )
    shown = shared | {
        "AEGIS_DATABASE_URL": server.shown_url,
        "AEGIS_MASTER_KEY": shorten(master_key),
        "AEGIS_OPERATOR_KEY": shorten(operator_key),
    }
    context.begin(
        "Start two nodes, each with a data directory of its own, on this database",
        *(f"   $ export {name}={value}" for name, value in shown.items()),
    )
    started = []
    for name, wanted in (("a", choose_port(context.screen, port)), ("b", 0)):
        folder = context.folder / f"node-{name}"
        log = context.folder / f"node-{name}.log"
        variables: Mapping[str, str] = shared | {"AEGIS_DATA_DIR": str(folder)}
        service = stack.enter_context(local_service(config, variables, log))
        context.screen.say(f"   $ AEGIS_DATA_DIR={folder} aegis serve --port {wanted}")
        service.start(wanted)
        started.append((name.upper(), service, wanted, log, variables))
    nodes = [
        _Node(name, service, service.wait_for_url(wanted), log, variables)
        for name, service, wanted, log, variables in started
    ]
    context.screen.say(
        *(f"   node {node.name} answers on {node.url}, logs to {node.log}" for node in nodes), ""
    )
    one, other = nodes
    return one, other


def _change_destination(
    context: DemoContext, there: Account, destination_id: str, receiver: Receiving, bearer: str
) -> None:
    """Let the destination lead to another receiver, by a call to node B."""
    path = there.client.org_path("forwarding-destinations", destination_id)
    shown = shown_address_of(receiver, bearer)
    context.screen.say(*curl(there.client.url + path, there.shown_key, shown, "PATCH"))
    changed = there.client.call("PATCH", path, body=address_of(receiver, bearer))
    say_answer(context, {name: changed[name] for name in ("id", "url", "status", "auth_header_set")})
    time.sleep(CHANGE_S)


def _record_elsewhere(context: DemoContext, account: tuple[_Node, str], arrivals: Arrivals) -> bool:
    """Record events at node A, which was not told of the change; they arrive at the second receiver."""
    node, ingest_key = account
    context.begin(f"Send events to node {node.name}: they arrive at the new URL")
    sent = record_events(context, (node.url, ingest_key), _events("moved"))
    wait_for_arrivals(arrivals, sent, node.service.process)
    return compare(context, sent, arrivals)


def _lose_node(
    context: DemoContext, nodes: tuple[_Node, _Node], ingest_key: str, arrivals: Arrivals
) -> tuple[Sent, bool]:
    """Kill node A after it has acknowledged events that could not be delivered; node B delivers them.

    Returns: what was sent, and True if all of it arrived and is equal.
    """
    lost, left = nodes
    context.begin(
        f"Let the receiver fail, send events to node {lost.name}, and kill node {lost.name}",
        f"   $ touch {context.failing}",
    )
    context.failing.touch()
    sent = record_events(context, (lost.url, ingest_key), _events("kept"))
    context.screen.say(
        f"   node {lost.name} has acknowledged {len(sent.stored)} events: they are in the database",
        f"   $ kill -9 {lost.service.process.pid}",
    )
    lost.service.kill()
    context.screen.say("")
    context.begin(
        f"Let the receiver work again: node {left.name} delivers what node {lost.name} has acknowledged",
        f"   $ rm {context.failing}",
        f"   If the worker of node {lost.name} had the destination, node {left.name} takes it over after its lease: {LEASE_S} seconds.",
    )
    context.failing.unlink()
    wait_for_arrivals(arrivals, sent, left.service.process)
    return sent, compare(context, sent, arrivals)


def _events(name: str) -> BinaryIO:
    return io.BytesIO(demo_events(Micros(time.time_ns() // 1000), name))
