"""The real application on a real SQLite store, without a network: builders and fakes for tests of the API.

    async with open_world(tmp_path) as world:
        tenant = await world.make_organization()
        answer = await tenant.ingest.post("/events", content=make_event())

Only what reaches outside the process is faked: clock, random, notifier, resolver, sender.
"""

import asyncio
import itertools
import json
import random
import socket
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from litestar import Litestar

from aegis_stream.api.counts import IngestCounts
from aegis_stream.api.service import Service
from aegis_stream.control import organizations
from aegis_stream.control.access import Access, AccessLimits
from aegis_stream.control.audit import RefusalLog
from aegis_stream.control.deps import ControlDeps
from aegis_stream.control.keys import Issued, NewKey, add_key
from aegis_stream.domain.attempt import Answer, Failure, FailureScope, Request, Response
from aegis_stream.domain.delivery import AttemptRun, DeadRow, KeptAnswer, Lease, RetryRow, Settlement
from aegis_stream.domain.destination import Destination, Health
from aegis_stream.domain.endpoint import Route
from aegis_stream.domain.ids import Micros, OrganizationNo, ReplayId, WorkerId
from aegis_stream.domain.organization import Scope as KeyScope
from aegis_stream.domain.rollup import Rollup
from aegis_stream.domain.trace import Stage, Trace
from aegis_stream.front.shares import Shares
from aegis_stream.netguard import NetGuard
from aegis_stream.pipeline.ingest import Ingest
from aegis_stream.pipeline.quotas import IngestQuotas
from aegis_stream.sender import AsyncSender, LookUps, TrustStore
from aegis_stream.settings import Settings
from aegis_stream.store.database import Unit
from aegis_stream.store.keys import StoredKeys
from support.directory import Directory
from support.front import FrontTransport
from support.settings import make_settings

with warnings.catch_warnings():
    # One test of its own (test_api_service.py) tells whether the application starts without warnings; all others run anyway.
    warnings.simplefilter("ignore")
    from aegis_stream.api.app import create_app
    from aegis_stream.api.reception import make_reception
    from aegis_stream.console.app import create_console, state_of, with_headers
    from aegis_stream.serving.http import bounds_of
    from aegis_stream.serving.site import is_console
    from aegis_stream.wiring.outbound import USER_AGENT
    from aegis_stream.wiring.service import event_limits
    from aegis_stream.wiring.stores import Stores, open_stores

ORG = "org_abc"
START = Micros(1_780_000_000_000_000)
"""Start of a fake clock: 2026-05-28T20:26:40Z."""
SECOND = 1_000_000
OPERATOR_KEY = "aegis_op_operator-key-of-the-tests"
SECRET = "Bearer c4n4ry-t0ken-of-the-siem"
PUBLIC_ADDRESS = "93.184.215.14"
FOREVER_US = 2**61


# ── events ──


def make_event(
    event_id: str | None = "evt_1",
    *,
    size_bytes: int | None = None,
    org_id: str | None = ORG,
    dataset: str | None = "app.login",
    **changes: Any,
) -> bytes:
    """Build an event as JSON text, complete by default.

    Args:
        event_id, org_id, dataset: None leaves the field out.
        size_bytes: exact length; the event is padded.
        changes: top-level members added or replaced; `timestamp` stands for @timestamp; None leaves one out.
    """
    event: dict[str, Any] = {
        "@timestamp": changes.pop("timestamp", "2026-05-15T10:33:21.456789+00:00"),
        "event": {
            name: value for name, value in {"id": event_id, "dataset": dataset}.items() if value is not None
        },
        "organization": {"id": org_id} if org_id is not None else None,
        **changes,
    }
    event = {name: value for name, value in event.items() if value is not None}
    if size_bytes is not None:
        event["pad"] = ""
        event["pad"] = "x" * (size_bytes - len(to_json(event)))
    return to_json(event)


def make_preflight(event_id: str | None = "pflt_1", **aegis: Any) -> bytes:
    """Build a preflight event; keyword arguments are members of its `aegis` object."""
    return make_event(event_id, dataset="aegis.preflight", aegis={"decision": "BLOCKED"} | aegis)


def to_json(value: Any) -> bytes:
    """Return JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def make_array(events: Iterable[bytes]) -> bytes:
    """Return events as a JSON array."""
    return b"[" + b",".join(events) + b"]"


def make_lines(events: Iterable[bytes]) -> bytes:
    """Return events as NDJSON."""
    return b"".join(event + b"\n" for event in events)


def nested(depth: int) -> Any:
    """Return an array nested `depth` levels deep."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# ── fakes ──


@dataclass
class FakeClock:
    """A clock that stops until it is moved."""

    at: int = START

    def now(self) -> Micros:
        """Return the time."""
        return Micros(self.at)

    def steady(self) -> Micros:
        """Return the same: this clock is moved by tests that mean both."""
        return Micros(self.at)

    def advance(self, seconds: float) -> None:
        """Move the clock, forward or back."""
        self.at += round(seconds * SECOND)


@dataclass
class FakeRandom:
    """Random numbers from a seed."""

    source: random.Random = field(default_factory=lambda: random.Random(7))
    rolled: float = 0.5

    def chance(self) -> float:
        """Return the same number every time."""
        return self.rolled

    def random_bytes(self, count: int) -> bytes:
        """Return different bytes each time, the same ones in every run."""
        return self.source.randbytes(count)


@dataclass
class FakeDoorbell:
    """Records notifications."""

    rings: list[tuple[int, int]] = field(default_factory=list)
    changes: int = 0

    def notify(self, organization_no: int, head: int) -> None:
        """Record a notification of new events."""
        self.rings.append((organization_no, head))

    def notify_changes(self) -> None:
        """Record a notification of changed destinations."""
        self.changes += 1


@dataclass
class FakeResolver:
    """Resolves names from a table.

    Attributes:
        addresses: none for a name that does not exist; None for one of which no name server tells.
        others: the addresses of all other names.
        asked: the names that were looked up.
    """

    addresses: dict[str, list[str] | None] = field(default_factory=dict)
    others: list[str] | None = field(default_factory=lambda: [PUBLIC_ADDRESS])
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name. Raises: gaierror as DnsResolver does."""
        self.asked.append(host)
        found = self.addresses.get(host, self.others)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME if found is not None else socket.EAI_AGAIN, host)
        return found


@dataclass
class FakeSender:
    """Answers from a script; checks routes as the real sender does, without connecting."""

    real: Any
    answers: list[Answer] = field(default_factory=list)
    posts: list[tuple[Route, Request]] = field(default_factory=list)
    passed: tuple[Stage, ...] = ()
    """Stages that tests pass."""
    open_channels: int = 0

    def open(self, route: Route, trace: Trace | None = None) -> "FakeChannel":
        """Return a channel. Raises: what the real sender raises for a bad route."""
        self.real.open(route).close()
        self.open_channels += 1
        return FakeChannel(self, route, trace)


@dataclass
class FakeChannel:
    """The channel of a FakeSender to one destination."""

    waits = False

    sender: FakeSender
    route: Route
    trace: Trace | None = None

    def start(self, request: Request, ended: Callable[[Any, Answer], None], token: object) -> None:
        """Make the attempt as `post` does; its answer comes by a call."""
        attempt = asyncio.get_running_loop().create_task(self.post(request))
        attempt.add_done_callback(lambda done: ended(token, done.result()))

    async def post(self, request: Request) -> Answer:
        """Record the request and return the next scripted answer, 202 at the end of the script."""
        self.sender.posts.append((self.route, request))
        for stage in self.sender.passed if self.trace is not None else ():
            self.trace.mark(stage)
            await asyncio.sleep(0)
        return self.sender.answers.pop(0) if self.sender.answers else Response(202, b"", 8100)

    def close(self) -> None:
        """Record that the channel was closed."""
        self.sender.open_channels -= 1


@dataclass
class FakeLog:
    """Records log lines."""

    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def debug(self, name: str, **values: Any) -> None:
        """Record a line."""
        self.lines.append(("debug", name, values))

    def info(self, name: str, **values: Any) -> None:
        """Record a line."""
        self.lines.append(("info", name, values))

    def warning(self, name: str, **values: Any) -> None:
        """Record a line."""
        self.lines.append(("warning", name, values))

    def error(self, name: str, **values: Any) -> None:
        """Record a line."""
        self.lines.append(("error", name, values))


# ── the application ──


class Caller:
    """A client with one key; paths are relative to the organization.

    Args:
        key: the API key; None for no Authorization header.
    """

    def __init__(self, client: httpx.AsyncClient, org_id: str, key: str | None) -> None:
        self.client, self.org_id, self.key = client, org_id, key

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        """Make one call."""
        given = dict(headers or {})
        if self.key is not None:
            given.setdefault("authorization", f"Bearer {self.key}")
        return await self.client.request(method, f"/api/orgs/{self.org_id}{path}", headers=given, **options)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """GET with query parameters."""
        return await self.request("GET", path, params=params)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        """POST; give json= or content=."""
        return await self.request("POST", path, **options)

    async def patch(self, path: str, **options: Any) -> httpx.Response:
        """PATCH; give json=."""
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **params: Any) -> httpx.Response:
        """DELETE with query parameters."""
        return await self.request("DELETE", path, params=params)

    async def send(self, body: bytes, media: str = "application/json", encoding: str | None = None) -> Any:
        """POST events; returns the answer."""
        headers = {"content-type": media} | ({"content-encoding": encoding} if encoding else {})
        return await self.post("/events", content=body, headers=headers)

    async def all_pages(self, path: str, limit: int, **params: Any) -> list[list[Any]]:
        """Follow next_cursor from page to page, up to 100 pages; return the pages."""
        pages, cursor = [], {}
        for _ in range(100):
            answer = await self.get(path, limit=limit, **cursor, **params)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            further = set(body) - {"data", "next_cursor"}
            assert not further or (
                further == {"scanned"} and body["next_cursor"] is not None and len(body["data"]) < limit
            )
            pages.append(body["data"])
            if body["next_cursor"] is None:
                return pages
            assert isinstance(body["next_cursor"], str)
            cursor = {"cursor": body["next_cursor"]}
        raise AssertionError(f"{path} never ends")


@dataclass
class Tenant:
    """An organization with a key of each scope."""

    org_id: str
    no: OrganizationNo
    admin: Caller
    ingest: Caller
    read: Caller
    stranger: Caller  # no key at all

    def by_scope(self, scope: str) -> Caller:
        """Return the caller whose key has this scope."""
        return {"admin": self.admin, "ingest": self.ingest, "read": self.read}[scope]


@dataclass
class World:
    """The running application and everything it uses."""

    settings: Settings
    stores: Stores
    service: Service
    routes: Litestar
    front: FrontTransport
    client: httpx.AsyncClient
    clock: FakeClock
    random: FakeRandom
    notifier: FakeDoorbell
    resolver: FakeResolver
    sender: FakeSender
    log: FakeLog
    answers: list[httpx.Response] = field(default_factory=list)
    settlement_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def make_organization(self, org_id: str = ORG) -> Tenant:
        """Create an organization and a key of each scope, without the API."""
        deps = self.service.control
        first = await organizations.create(deps, f"Organization {org_id}", org_id)

        def work(unit: Unit) -> list[Issued]:
            scopes = (KeyScope.INGEST, KeyScope.READ)
            return [add_key(unit, deps, org_id, NewKey(scope.value, scope)) for scope in scopes]

        issued = [first, *await self.stores.db.write(work)]
        callers = [Caller(self.client, org_id, one.text) for one in issued]
        return Tenant(
            org_id, issued[0].key.organization_no, *callers, stranger=Caller(self.client, org_id, None)
        )

    async def make_destination(self, tenant: Tenant, **changes: Any) -> str:
        """Create a destination with the API, by default with a credential; return its id."""
        body = {
            "url": "https://siem.example.com/services/collector",
            "auth_header_name": "Authorization",
            "auth_header_value": SECRET,
        } | changes
        answer = await tenant.admin.post(
            "/forwarding-destinations",
            json={name: value for name, value in body.items() if value is not None},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def stored(self, tenant: Tenant, destination_id: str) -> Destination:
        """Return a destination from the store, including its credential."""
        return await Directory.of(self.stores).destination_of(tenant.no, destination_id)

    async def settle(
        self,
        tenant: Tenant,
        destination_id: str,
        *,
        cursor: int = 0,
        runs: Iterable[AttemptRun] = (),
        retries: Iterable[RetryRow] = (),
        resolved: Iterable[int] = (),
        dead: Iterable[DeadRow] = (),
        replays: Iterable[tuple[str, int]] = (),
        answers: Iterable[KeptAnswer] = (),
        health: Health | None = None,
        delivered: int = 0,
        failed_attempts: int = 0,
        rollup: Rollup | None = None,
    ) -> None:
        """Record what a worker learned about a destination, through the ledger, as a worker does."""
        ledger, worker_id = self.stores.ledger, WorkerId("wrk_test")
        if worker_id not in await ledger.workers():
            await ledger.enlist(worker_id, FOREVER_US)
        destination = await self.stored(tenant, destination_id)
        held, _ = await ledger.claim(worker_id)
        lease: Lease = next(one.lease for one in held if one.lease.destination_no == destination.no)
        settlement = Settlement(
            lease=lease,
            organization_no=tenant.no,
            rollup=rollup,
            cursor=cursor,
            health=health or Health(),
            runs=list(runs),
            retries=list(retries),
            resolved=list(resolved),
            dead=list(dead),
            replays=[(ReplayId(replay_id), reached) for replay_id, reached in replays],
            answers=list(answers),
            delivered=delivered,
            failed_attempts=failed_attempts,
            number=next(self.settlement_numbers),
        )
        [counts] = await ledger.settle(worker_id, [settlement])
        assert counts is not None, "the lease was claimed a moment ago"

    async def send_events(self, tenant: Tenant, count: int, prefix: str = "evt") -> list[str]:
        """Send `count` events in one request; return their ids, which are numbered from 1."""
        ids = [f"{prefix}_{number}" for number in range(1, count + 1)]
        answer = await tenant.ingest.send(make_array(make_event(one, org_id=tenant.org_id) for one in ids))
        assert answer.json() == {"accepted": count, "duplicates": 0, "rejected": []}, answer.text
        return ids

    async def add_dead_letters(self, tenant: Tenant, destination_id: str, sequences: Iterable[int]) -> None:
        """Turn events into dead letters of a destination: three attempts each, the last one answered 500."""
        numbers = list(sequences)
        now = self.clock.now()
        await self.settle(
            tenant,
            destination_id,
            cursor=max(numbers),
            runs=[
                AttemptRun(one, one, 3, "failed", 500, "answered 500: look into its log", 5000, now)
                for one in numbers
            ],
            dead=[DeadRow(one, 3, now, make_failure()) for one in numbers],
            failed_attempts=3 * len(numbers),
        )


def make_failure(
    status_code: int | None = 500,
    message: str = "answered 500: look into its log",
    scope: FailureScope = FailureScope.DESTINATION,
    **changes: Any,
) -> Failure:
    """Build a failure."""
    return Failure(scope, message, status_code, **changes)


_made_once: dict[str, Litestar] = {}
_TRUST = TrustStore()  # loaded once, because reading the system's authorities takes a while


@asynccontextmanager
async def open_world(tmp_path: Path, *, needs_worker: bool = False, **changes: Any) -> AsyncIterator[World]:
    """Build the application on a new store in `tmp_path`.

    Args:
        needs_worker: as `Service` takes it.
        changes: settings other than the defaults.
    """
    # Audit events would be among the events that tests count; tests/integration/test_api_audit.py turns them on.
    settings = make_settings(
        **{"data_dir": tmp_path / "data", "operator_key": OPERATOR_KEY, "audit_actions": False} | changes
    )
    clock, random, notifier, resolver, log = (
        FakeClock(),
        FakeRandom(),
        FakeDoorbell(),
        FakeResolver(),
        FakeLog(),
    )
    stores = open_stores(settings, log)  # type: ignore[arg-type] # a fake
    real_sender = AsyncSender(
        user_agent=USER_AGENT, guard=NetGuard(settings.egress.allowed_networks), trust=_TRUST
    )
    sender = FakeSender(real_sender)
    quotas = IngestQuotas(
        settings.rates.ingest_bytes_per_second,
        on_refusal=lambda org_id, quota: log.warning(
            "organization.quota_reached", org_id=org_id, quota=quota
        ),
    )
    access = Access(
        StoredKeys(stores.db), clock, stores.operator_digest, AccessLimits.of(settings.rates), quotas=quotas
    )
    control = ControlDeps(
        db=stores.db,
        clock=clock,
        random=random,
        audit_actions=settings.organization.audit_actions,
        keys_max=settings.organization.keys_max,
        forget_key=access.forget,
        sealer=stores.secrets.sealer,
        log=stores.log,
        ingest=Ingest(
            stores.log,
            clock,
            random,
            notifier,
            settings.ingest.queue_bytes_max,
            event_limits(settings.ingest),
            quotas,
        ),
        access=access,
        sender=sender,
        look_ups=LookUps(resolver),
        guard=NetGuard(settings.egress.allowed_networks),
        notify_changes=notifier.notify_changes,
        settings=settings,
    )
    service = Service(control, IngestCounts(), log, needs_worker)  # type: ignore[arg-type] # a fake
    service.control.access.refusals = RefusalLog(service.control)
    service.live.close()  # the transport below gives whole answers only: a stream ends at once
    routes = _made("api", create_app, service)
    shares = Shares(settings.api.connections_max, settings.api.bytes_under_way_max)
    pages = _made("console", create_console, service)
    pages.state.update(state_of(service))
    console = with_headers(pages)

    async def site(scope: Any, *call: Any) -> None:
        await (console if is_console(scope["path"]) else routes)(scope, *call)

    front = FrontTransport(make_reception(service, site), bounds_of(settings.api, shares))
    answers: list[httpx.Response] = []

    async def note(answer: httpx.Response) -> None:
        await answer.aread()
        answers.append(answer)

    try:
        async with httpx.AsyncClient(
            transport=front,
            base_url="http://aegis.test",
            event_hooks={"response": [note]},
        ) as client:
            yield World(
                settings,
                stores,
                service,
                routes,
                front,
                client,
                clock,
                random,
                notifier,
                resolver,
                sender,
                log,
                answers,
            )
    finally:
        real_sender.close()
        stores.close()


def _made(name: str, create: Callable[[Service], Litestar], service: Service) -> Litestar:
    """Return an application on this service; each is built once per process, which takes a tenth of a second."""
    if name not in _made_once:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _made_once[name] = create(service)
    made = _made_once[name]
    made.state["service"] = service
    return made


def problem_of(answer: httpx.Response, status: int, *fields: str) -> dict[str, Any]:
    """Check that an answer is a problem with this status and these fields in `errors`; return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (
        {"type", "title", "status", "detail"}
        <= set(problem)
        <= {
            "type",
            "title",
            "status",
            "detail",
            "errors",
        }
    )
    assert problem["status"] == status
    assert all(isinstance(problem[name], str) and problem[name] for name in ("type", "title", "detail"))
    assert problem["type"].startswith("https://")
    for one in problem.get("errors", []):
        assert set(one) == {"field", "message"}
        assert one["message"]
    if fields:
        assert [one["field"] for one in problem["errors"]] == list(fields), problem
    return problem
