"""The hot path: POST /api/orgs/{org_id}/events (step 1).

Requests arrive here straight from the front door: authenticate, split the body into raw items, record them, answer. The bytes of
an item are stored as sent; they are decoded once, to read the fields of the envelope. A small request needs no task; a large
one lets others run every few milliseconds.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from aegis_stream import PRODUCT
from aegis_stream.control.access import Access
from aegis_stream.control.caller import Principal
from aegis_stream.control.rejected import invalid
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.organization import Scope
from aegis_stream.errors import AegisError, FieldProblem, Invalid
from aegis_stream.front.answer import Answer, make_answer
from aegis_stream.front.connection import Connection
from aegis_stream.front.contract import Admitted, Decision
from aegis_stream.front.head import Head
from aegis_stream.front.turns import Turns
from aegis_stream.pipeline.ingest import Check, Ingest, Recorded

from .counts import IngestCounts
from .ingest_body import RequestBounds, count_items, decompress, encoding_of, is_lines, split, unwrap_all
from .problems import Parts, answer_of
from .recent import SeenRequest

SMALL_BYTES: Final = 64 * 1024
"""A body up to this size is checked at once: a hundred ordinary events, a few hundred microseconds."""
ARRAY_BYTES: Final = 1024 * 1024
"""An array up to this size may be checked at once: some two thousand ordinary events, 5 to 10 ms."""
SMALL_ITEMS: Final = 1000
"""A body of more items than this is large whatever its size: 64 KiB hold 20,000 of three bytes."""
TURN_S = 0.005
"""How long a large request is worked on before others get their turn, seconds."""
LARGE_AT_ONCE = 4
"""Large requests that are worked on at the same time; the others wait for their organization's turn, and their bodies are counted."""
PATH = "/api/orgs/", "/events"
UNWRAP = "unwrap"
"""The query parameter that says where each document of the body has its events."""
UNWRAP_LEVELS_MAX = 8

_encode = msgspec.json.encode
_OUR_AGENT = f"{PRODUCT}/".encode()
_JSON = ((b"content-type", b"application/json"),)
_ONE_ACCEPTED: Final = make_answer(202, _JSON, b'{"accepted":1,"duplicates":0,"rejected":[]}')


@dataclass(slots=True)
class Plan:
    """What the head of an ingest request says; kept with it, because most clients send the same head again.

    Args:
        digest: of the key's text, None where the Authorization header is missing or odd.
        encoding: how the body is compressed, "" for not at all.
        unwrap: where each document of the body has its events; () if each document is an event.
        relayed: it comes from a delivery of this product.
        error: why the request is refused whoever sends it.
        admitted: the decision of the last time, and for whom it was.
    """

    org_id: str
    authorization: str | None
    digest: bytes | None
    lines: bool = False
    encoding: str = ""
    unwrap: tuple[str, ...] = ()
    relayed: bool = False
    error: AegisError | None = None
    admitted: tuple[Principal, Admitted] | None = None


def org_of(method: str, path: str) -> str | None:
    """Return the organization named in the path if this is an ingest request, else None."""
    begin, end = PATH
    if method != "POST" or not path.endswith(end) or not path.startswith(begin):
        return None
    org_id = path[len(begin) : -len(end)]
    return org_id if org_id and "/" not in org_id else None


def plan_of(head: Head, org_id: str) -> Plan:
    """Read what matters of a head."""
    named = head.named
    sent = named.get(b"authorization")
    authorization = sent.decode("latin-1") if sent is not None else None
    digest = digest_of(sent)
    try:
        unwrap = _unwrap_of(head.query) if head.query else ()
        return Plan(
            org_id,
            authorization,
            digest,
            is_lines(named.get(b"content-type", b"")),
            encoding_of(named.get(b"content-encoding", b"")),
            unwrap,
            named.get(b"user-agent", b"").startswith(_OUR_AGENT),
        )
    except AegisError as error:
        return Plan(org_id, authorization, digest, error=error)


def digest_of(authorization: bytes | None) -> bytes | None:
    """Return the SHA-256 of the key in an Authorization header; None where the header is missing or odd."""
    if authorization is None or not authorization.startswith(b"Bearer "):
        return None
    return hashlib.sha256(authorization[7:]).digest()


def _unwrap_of(query: bytes) -> tuple[str, ...]:
    """Read the query, which may have the one parameter `unwrap`. Raises: Invalid."""
    try:
        pairs = parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, errors="strict", max_num_fields=100
        )
    except ValueError:
        pairs = [("?", "")]
    odd = [name for name, _ in pairs if name != UNWRAP] or ([] if pairs else ["?"])
    if odd:
        raise Invalid(
            f"{odd[0][:100]} is not a query parameter of this call: omit it; the only one is {UNWRAP}",
            problems=tuple(
                FieldProblem(name[:100], "is not a query parameter of this call") for name in odd[:10]
            ),
        )
    path = tuple(pairs[0][1].split("."))
    if len(pairs) > 1 or "" in path or len(path) > UNWRAP_LEVELS_MAX:
        message = f"must be given once, with the names that lead to an array, such as Records or data.events; at most {UNWRAP_LEVELS_MAX} names"
        raise Invalid(f"{UNWRAP} {message}", problems=(FieldProblem(UNWRAP, message),))
    return path


@dataclass(slots=True)
class IngestEndpoint:
    """Answers ingest requests.

    Args:
        on_bug: told of what must not happen: (path, error) → the answer.
    """

    access: Access
    ingest: Ingest
    counts: IngestCounts
    on_bug: Callable[[str, Exception], Parts]
    bounds: RequestBounds
    _large: Turns = field(default_factory=lambda: Turns(LARGE_AT_ONCE))
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    def admit(self, head: Head, org_id: str, client: str) -> Decision | Awaitable[Decision]:
        """Decide about a request by its head: who calls, and may they."""
        plan = head.note if isinstance(head.note, Plan) else plan_of(head, org_id)
        head.note = plan
        now = self.access.clock.now()
        principal = self.access.remembered(plan.digest, now) if plan.digest is not None else None
        if principal is None:
            return self._authorize(plan, client)
        before = plan.admitted
        if (before is None or before[0] is not principal) and not principal.may(plan.org_id, Scope.INGEST):
            return self._authorize(plan, client)
        return self._admit(plan, principal, now)

    async def _authorize(self, plan: Plan, client: str) -> Decision:
        """Look the key up; what is refused here is recorded where the organization sees it."""
        try:
            principal = await self.access.authorize(
                plan.authorization, plan.org_id, Scope.INGEST, client or None
            )
        except AegisError as error:
            known = self.access.remembered(plan.digest, self.access.clock.now()) if plan.digest else None
            return self._problem(error) if known is None else self._refusal(known, error)
        except Exception as error:  # noqa: BLE001 - the last resort
            return self._failure(error)
        return self._admit(plan, principal, self.access.clock.now())

    def _admit(self, plan: Plan, principal: Principal, now: Micros) -> Decision:
        try:
            self.access.admit(principal, now)
        except AegisError as error:
            return self._refusal(principal, error)
        if (
            plan.error is not None
        ):  # not raised: it is kept with the head, and would grow a traceback with each request
            return self._refusal(principal, plan.error)

        if plan.admitted is not None and plan.admitted[0] is principal:
            return plan.admitted[1]

        def serve(body: bytes, connection: Connection) -> None:
            self._serve(plan, principal, body, connection)

        admitted = Admitted(principal.org_id, self.bounds.bytes_max, serve)
        plan.admitted = principal, admitted
        return admitted

    def _serve(self, plan: Plan, principal: Principal, body: bytes, connection: Connection) -> None:
        """Record a small request at once, a large one in a task."""
        if plan.encoding or plan.unwrap or len(body) > SMALL_BYTES:
            self._wait_for_turn(plan, principal, body, connection)
            return
        try:
            check = self.ingest.check(principal.org_id, relayed=plan.relayed)
            if not check.take_all(body, self.bounds.events_max, lines=plan.lines):
                items = split(body, self.bounds, lines=plan.lines)
                if len(items) > SMALL_ITEMS:
                    self._wait_for_turn(plan, principal, body, connection)
                    return
                for index, item in enumerate(items):
                    check.take(index, item)
            self._record(principal, check, connection, len(body))
        except Exception as error:  # noqa: BLE001 - an answer in any case
            connection.answer(self._refusal(principal, error, len(body)))

    def _wait_for_turn(self, plan: Plan, principal: Principal, body: bytes, connection: Connection) -> None:
        connection.wait_for_turn(
            self._large, body, lambda whole: self._begin_large(plan, principal, whole, connection)
        )

    def _begin_large(self, plan: Plan, principal: Principal, body: bytes, connection: Connection) -> None:
        connection.drop_body()  # few are worked on at the same time
        task = asyncio.get_running_loop().create_task(self._serve_large(plan, principal, body, connection))
        self._tasks.add(task)
        task.add_done_callback(self._end_large)

    def _end_large(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._large.end()

    async def _serve_large(
        self, plan: Plan, principal: Principal, body: bytes, connection: Connection
    ) -> None:
        size = len(body)
        try:
            if plan.encoding:
                body = await asyncio.to_thread(decompress, body, plan.encoding, self.bounds)
            check = None if plan.unwrap else await self._check_all(plan, principal, body)
            check = check or await self._check_items(plan, principal, body)
            self._record(principal, check, connection, size)
        except Exception as error:  # noqa: BLE001 - an answer in any case
            connection.answer(self._refusal(principal, error, size))

    async def _check_all(self, plan: Plan, principal: Principal, body: bytes) -> Check | None:
        """Check a large body of lines piece by piece, or an array that is not too long at once; None when its items need a look each."""
        check = self.ingest.check(principal.org_id, relayed=plan.relayed)
        if not plan.lines:
            fits = len(body) <= ARRAY_BYTES and check.take_all(body, self.bounds.events_max, lines=False)
            return check if fits else None
        start = 0
        while start < len(body):
            end = body.find(b"\n", start + SMALL_BYTES) + 1 or len(body)
            if not check.take_all(body[start:end], self.bounds.events_max, lines=True):
                return None
            start = end
            await asyncio.sleep(0)
        return check

    async def _check_items(self, plan: Plan, principal: Principal, body: bytes) -> Check:
        """Check a large body item by item."""
        loop = asyncio.get_running_loop()
        turn = loop.time()
        for _ in count_items(body, self.bounds, lines=plan.lines):
            if loop.time() - turn > TURN_S:
                await asyncio.sleep(0)
                turn = loop.time()
        check = self.ingest.check(principal.org_id, relayed=plan.relayed)
        items = split(body, self.bounds, lines=plan.lines)
        if plan.unwrap:
            items = await asyncio.to_thread(unwrap_all, items, plan.unwrap, self.bounds)
        for index, item in enumerate(items):
            check.take(index, item)
            if loop.time() - turn > TURN_S:
                await asyncio.sleep(0)
                turn = loop.time()
        return check

    def _record(self, principal: Principal, check: Check, connection: Connection, size: int) -> None:
        """Append what passed the check, and answer when it is stored.

        Args:
            size: of the body as sent, bytes.
        """
        single = len(check.events) + len(check.rejected) == 1

        def ended(result: Recorded | Exception) -> None:
            if isinstance(result, Exception):
                connection.answer(self._refusal(principal, result, size))
                return
            if self.counts.recent.watched:
                self._note(principal, size, result)
            self.counts.recorded(result.accepted, result.duplicates, len(result.rejected))
            self.access.uses.count(principal.key_id, result.accepted)
            if not result.accepted and not result.duplicates:
                connection.answer(self._problem(invalid(result, single=single)))
                return
            self.counts.answered(202)
            one = single and result.accepted == 1 and not result.wrappers
            connection.answer(_ONE_ACCEPTED if one else make_answer(202, _JSON, body_of(result)))

        if check.events:
            self.ingest.append(principal.organization_no, check, ended)
        else:
            ended(check.recorded(None))

    def _note(self, principal: Principal, size: int, result: Recorded) -> None:
        """Note a request that was checked, for whoever looks at its key."""
        reason = ""
        if result.rejected:
            index, one = result.rejected[0]
            reason = f"event {index}: {one.field} {one.message}"
        status = 202 if result.accepted or result.duplicates else 422
        seen = SeenRequest(
            self.access.clock.now(),
            status,
            size,
            result.accepted,
            result.duplicates,
            len(result.rejected),
            reason,
        )
        self.counts.recent.note(principal.key_id, seen)

    def _refusal(self, principal: Principal, error: Exception, size: int = 0) -> Answer:
        """Return the answer to a request of a known key that is refused, and note it for whoever looks at the key."""
        answer = self._failure(error)
        if self.counts.recent.watched:
            reason = error.message if isinstance(error, AegisError) else "internal error"
            seen = SeenRequest(self.access.clock.now(), answer.status, size, 0, 0, 0, reason)
            self.counts.recent.note(principal.key_id, seen)
        return answer

    def _failure(self, error: Exception) -> Answer:
        if isinstance(error, AegisError):
            return self._problem(error)
        answer = answer_of(self.on_bug("/events", error))
        self.counts.answered(answer.status)
        return answer

    def _problem(self, error: AegisError) -> Answer:
        answer = answer_of(error)
        self.counts.answered(answer.status)
        return answer


def body_of(recorded: Recorded) -> bytes:
    """Write the 202 body."""
    answer: dict[str, object] = {
        "accepted": recorded.accepted,
        "duplicates": recorded.duplicates,
        "rejected": [
            {"index": index, "event_id": one.event_id, "error": f"{one.field} {one.message}".lstrip()}
            for index, one in recorded.rejected
        ],
    }
    if recorded.wrappers:
        answer["warnings"] = [
            {
                "index": index,
                "message": f"one event was recorded, but it holds {one.objects} objects in {one.name}: "
                f"to record each, send the request with ?unwrap={one.name}, or them alone (jq -c '.{one.name}[]')",
            }
            for index, one in recorded.wrappers
        ]
    return _encode(answer)
