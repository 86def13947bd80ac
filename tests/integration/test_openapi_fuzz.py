"""Promises of the OpenAPI document, tried by calls that nobody thought of: schemathesis makes them from the document itself.

The application runs behind the real server, on a thread of its own, with nothing beyond it: names resolve to public
addresses, and requests to destinations are answered by a script. What is found can be repeated: the calls are the same
in every run.
"""

import asyncio
import contextlib
import copy
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.engine import from_schema
from schemathesis.engine.events import EngineFinished, FatalError, NonFatalError, ScenarioFinished

from aegis_stream.api.app import document
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.ids import DestinationId
from aegis_stream.domain.organization import OwnQuotas
from aegis_stream.front.listener import Listener
from aegis_stream.sealer import sealer as module
from aegis_stream.store import organizations
from support.api import OPERATOR_KEY, ORG, FakeLog, World, make_event, open_world
from support.directory import Directory
from support.seal_now import sealer
from support.sql import raw

DESTINATION = "dst_fuzz"
EVENT = "evt_1"
ONE = "/api/orgs/{org_id}/forwarding-destinations/{destination_id}"
SOMETIMES_REFUSED = [
    "/api/orgs",
    "/api/orgs/{org_id}/forwarding-destinations",
    "/api/orgs/{org_id}/forwarding-destinations/test",
    "/api/orgs/{org_id}/forwarding-destinations/{destination_id}",
    "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/replay",
    "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/dead-letters",
    "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/dead-letters/redrive",
    "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/deliveries",
    "/api/orgs/{org_id}/deliveries",
    "/api/orgs/{org_id}/events",
    "/api/orgs/{org_id}/events/histogram",
    "/api/orgs/{org_id}/deliveries",
    "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/deliveries",
    "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/timeline",
    "/api/orgs/{org_id}/preflight-decisions",
    "/api/orgs/{org_id}/quotas",
    "/api/orgs/{org_id}/api-keys",
    "/api/orgs/{org_id}/api-keys/{key_id}/rotate",
    "/api/orgs/{org_id}/console-links",
    "/api/orgs/{org_id}/proof/consistency",
    "/api/orgs/{org_id}/proof/bundle",
    "/api/orgs/{org_id}/proof/hashes",
    "/api/orgs/{org_id}/proof/keys/rotate",
]
"""Where a schema cannot say all that must hold: where a URL leads, that two fields exclude each other, what an event is, that
a time is after 1970, that a span does not end before it begins, that a whole number is written without a point, which characters of a name are printable."""

SENT_WITH_A_KEY = ["/api/orgs/{org_id}/proof/bundle"]
"""Where calls without a key are not made up, since the test adds it: with all other parameters optional, the call is good then."""

ENOUGH = {
    "audit_actions": True,
    "destinations_max": 100_000,
    "keys_max": 10_000,
    "replays_max": 16,
    "key_calls_per_second": 1_000_000,
    "failed_keys_per_minute": 1_000_000,
    "tests_per_minute": 10_000,
}
BOUNDED = settings(
    max_examples=30,
    stateful_step_count=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def make_schema(options: dict | None = None, **there: str):
    """Return the document as schemathesis reads it; parameters of paths that are given are always those."""
    known = copy.deepcopy(document())
    for path, item in known["paths"].items():
        for operation in item.values():
            if path in SENT_WITH_A_KEY:
                operation["security"] = []
            for one in operation.get("parameters", []):
                if one["in"] == "path" and one["name"] in there:
                    one["schema"] = {"type": "string", "enum": [there[one["name"]]]}
    accepted = ["2xx", "400", "404", "409", "422"]
    configuration = {
        **(options or {}),
        "operations": [
            {"include-path": path, "checks": {"positive_data_acceptance": {"expected-statuses": accepted}}}
            for path in SOMETIMES_REFUSED
        ],
    }
    return schemathesis.openapi.from_dict(known, config=schemathesis.Config.from_dict(configuration))


@schemathesis.serializer("application/x-ndjson")
def write_lines(_, value):
    """Write a body of lines."""
    return value.encode() if isinstance(value, str) else b"no lines: " + json.dumps(value).encode()


SCHEMA = make_schema(org_id=ORG, destination_id=DESTINATION)


@dataclass
class Running:
    """The application behind a real server."""

    world: World
    loop: asyncio.AbstractEventLoop
    url: str
    no: int
    admin_key: str
    sealer_log: FakeLog

    def headers(self, path: str) -> dict[str, str]:
        """Return the key that a call needs."""
        operators = path == "/api/orgs" or path.endswith(("/quotas", "/proof/keys/rotate"))
        return {"Authorization": f"Bearer {OPERATOR_KEY if operators else self.admin_key}"}

    def restore(self) -> None:
        """Take back quotas, and make the destination again that calls are made on, if the last one deleted it."""
        asyncio.run_coroutine_threadsafe(self._restore(), self.loop).result(30)

    async def _restore(self) -> None:
        await self.world.stores.db.write(lambda unit: organizations.set_quotas(unit, self.no, OwnQuotas()))
        directory = Directory.of(self.world.stores)
        spec = DestinationSpec("https://siem.example.com/in", "Authorization", "Bearer x")
        with contextlib.suppress(Exception):
            await directory.destination_of(self.no, DESTINATION)
            return
        gone = "UPDATE destinations SET dst_id = dst_id || '_' || dst_no WHERE dst_id = ?"
        await self.world.stores.db.write(lambda db: raw(db).run(gone, (DESTINATION,)))
        await directory.add_destination(
            self.no, DestinationId(DESTINATION), spec, self.world.clock.now(), 10**6
        )


@contextlib.contextmanager
def running(folder) -> Iterator[Running]:
    """Run the application until the block ends."""
    ready, made = threading.Event(), []

    async def serve() -> None:
        log = FakeLog()
        async with open_world(folder, **ENOUGH) as world, sealer(world, log):
            tenant = await world.make_organization()
            await tenant.ingest.send(make_event(EVENT))
            stop, listening = asyncio.Event(), socket.create_server(("127.0.0.1", 0))
            listening.setblocking(False)
            listener = Listener(world.front.reception, world.front.bounds)
            await listener.start(listening)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            loop = asyncio.get_running_loop()
            made.append((stop, Running(world, loop, url, tenant.no, tenant.admin.key, log)))
            ready.set()
            await stop.wait()
            await listener.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOOK_S", 0.02)  # many calls wait for it
        thread.start()
        try:
            assert ready.wait(30)
            yield made[0][1]
        finally:
            for stop, running_ in made:
                running_.loop.call_soon_threadsafe(stop.set)
            thread.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The service, once for all; no call of any test may meet a bug."""
    with running(tmp_path_factory.mktemp("fuzz")) as made:
        yield made
    assert made.world.log.lines == []
    assert [name for _, name, _ in made.sealer_log.lines] == ["sealer.started", "sealer.stopped"]


@SCHEMA.parametrize()
@BOUNDED
def test_every_call_keeps_to_the_document(case, service):
    """Whatever is sent, the answer is one that the document has for the call, in the form it says, and never 5xx."""
    service.restore()

    case.call_and_validate(base_url=service.url, headers=service.headers(case.operation.path))


def test_calls_that_follow_from_each_other_keep_to_the_document(service):
    """What one call made is there for those that follow from it, gone after it was deleted, and never 5xx on the way."""
    off = {"enabled": False}
    schema = make_schema(
        {
            "base-url": service.url,
            "headers": service.headers(ONE),
            "seed": 1,
            "generation": {"deterministic": True, "max-examples": 100},
            "phases": {"examples": off, "coverage": off, "fuzzing": off, "stateful": {"max-steps": 8}},
        },
        org_id=ORG,
    )
    done, wrong = set(), []

    for event in from_schema(schema).execute():
        if isinstance(event, ScenarioFinished):
            for case_id, one in event.recorder.interactions.items():
                if one.response is not None and one.response.status_code < 300:
                    done.add(event.recorder.cases[case_id].value.operation.label)
        elif isinstance(event, EngineFinished):
            wrong = [f"{one.title}: {one.message} {one.operation}" for one in event.failures]
        elif isinstance(event, NonFatalError | FatalError):
            wrong.append(repr(event))

    assert wrong == []
    assert len(done) >= 6
    assert any("{destination_id}" in call for call in done), "one that an earlier call made"
