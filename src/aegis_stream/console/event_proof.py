"""Whether one event is sealed, and its proof: the path from its bytes to a signed checkpoint."""

import base64
from typing import Any, NamedTuple

from litestar import Request, Response, get
from litestar.params import FromPath

from aegis_stream.api.service import control_of
from aegis_stream.control import log_proofs
from aegis_stream.control.log_proofs import EventStanding
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.merkle_proof import left_sides
from aegis_stream.domain.organization import ProofMode

from .commands import ShownCall, shown_call
from .gate import Visit, origin_of, visit_of
from .page import base_of, path_part, raw_id
from .proof import attached
from .rights import ORGANIZATION

AnyRequest = Request[Any, Any, Any]
EVENT_PROOF = ORGANIZATION + "/event-proof/{event_id:path}"


class Step(NamedTuple):
    """One hash of the path, in base64, and on which side it stands: "left" or "right"."""

    hash: str
    side: str


class ProofView(NamedTuple):
    """What the page of an event says of its proof.

    Args:
        state: "sealed"; "before" for one that is older than the log; "off" for one that is not sealed because the mode is off;
            "waiting" for one that will be; "lost" for one that is sealed and has no proof any more.
        log: the log's name, "" for none.
        problem: why a proof is lost.
        first, end: sequences of its first event and the last one that is sealed.
        size, at: of the newest checkpoint.
        leaf: the event's place in the log, from 0.
        steps: from the leaf to the root; empty for a log of one event, and where there is no proof.
        download: where the proof is.
        key: the newest key of the log, by which the page checks the proof.
    """

    state: str
    log: str = ""
    first: int = 0
    end: int = 0
    size: int = 0
    at: Micros = Micros(0)
    leaf: int = 0
    steps: tuple[Step, ...] = ()
    download: str = ""
    key: str = ""
    call: ShownCall | None = None
    problem: str = ""


@get(EVENT_PROOF)
async def download_proof(request: AnyRequest, event_id: FromPath[str]) -> Response[bytes]:  # noqa: ARG001 - from the raw path
    """Send the proof of an event as a file. Raises: NotFound. Conflict when no checkpoint covers it."""
    asked = raw_id(request, "/event-proof/")
    found = await log_proofs.of_event(control_of(request), visit_of(request).caller, asked)
    return attached(found.text.encode(), "event.tlog-proof")


async def proof_view(request: AnyRequest, sequence: int, event_id: str) -> ProofView:
    """Return what the page of an event says of its proof. Raises: Unavailable."""
    visit = visit_of(request)
    found = await log_proofs.standing_of(control_of(request), visit.caller, sequence)
    if found.proof is None or found.log is None:
        return _unproved(found, sequence)
    log, index = found.log, found.proof.leaf_index
    sides = left_sides(index, log.tree.size)
    steps = tuple(
        Step(base64.b64encode(one).decode(), "left" if is_left else "right")
        for one, is_left in zip(found.proof.hashes, sides, strict=True)
    )
    return ProofView(
        "sealed",
        log.origin,
        log.base + 1,
        log.end,
        log.tree.size,
        log.sealed_at,
        index,
        steps,
        f"{base_of(visit.org_id)}/event-proof/{path_part(event_id)}",
        found.key,
        _call(request, visit, event_id),
    )


def _unproved(found: EventStanding, sequence: int) -> ProofView:
    log, state = found.log, "off" if found.mode is ProofMode.OFF else "waiting"
    if log is None:
        return ProofView(state)
    if sequence <= log.base:
        state = "before"
    elif found.problem:
        state = "lost"
    return ProofView(
        state, log.origin, log.base + 1, log.end, log.tree.size, log.sealed_at, problem=found.problem
    )


def _call(request: AnyRequest, visit: Visit, event_id: str) -> ShownCall:
    path = f"/api/orgs/{visit.org_id}/proof/events/{path_part(event_id)}"
    return shown_call(origin_of(request), "GET", path, aegis="")


HANDLERS = [download_proof]
