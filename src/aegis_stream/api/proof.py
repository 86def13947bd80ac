"""Proofs of a sealed log, in the formats that public verifiers of transparency logs read.

The proof of an event is not below the event: its id may have slashes, and the event `a/proof` would be the proof of `a`.
"""

import base64
from pathlib import Path
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET

from aegis_stream.control import log_hashes
from aegis_stream.control import log_proofs as control
from aegis_stream.control import proof as proof_control
from aegis_stream.control.caller import Caller
from aegis_stream.domain.ids import SECOND
from aegis_stream.domain.times import to_text

from .docs import errors
from .event_paths import event_id_of
from .requests import decode_strict
from .schemas.proof import LogKeyRotate, LogKeyRotated
from .scopes import address_of, caller_of
from .service import control_of
from .tile_paths import tile_of

AnyRequest = Request[Any, Any, Any]
TAGS = ["Proof"]
PROOF = "/api/orgs/{org_id:str}/proof"
MEDIA_TYPE = "text/plain"
LINES_MEDIA_TYPE = "application/x-ndjson"
DAY_S = 86_400
TILE_MEDIA_TYPE = "application/octet-stream"
TILE_CACHE = "private, max-age=31536000, immutable"


@get(PROOF + "/checkpoint", tags=TAGS, responses=errors(403, 404), media_type=MEDIA_TYPE)
async def read_checkpoint(request: AnyRequest) -> Response[str]:
    """Read the newest signed checkpoint of the log: its name, its size, its root (c2sp.org/tlog-checkpoint)."""
    found = await control.checkpoint(control_of(request), caller_of(request))
    return _text(found.note)


@post(
    PROOF + "/checkpoint", tags=TAGS, responses=errors(403, 404, 409), media_type=MEDIA_TYPE, status_code=200
)
async def seal_now(request: AnyRequest) -> Response[str]:
    """Have everything sealed that is recorded at the time of the call, and read the checkpoint that covers it: export up to here.

    The answer takes about a second, and at most 15; without new events it is the newest checkpoint, at once.
    """
    found = await control.seal_now(control_of(request), caller_of(request))
    return _text(found.note)


@get(PROOF + "/keys", tags=TAGS, responses=errors(403, 404), media_type=MEDIA_TYPE)
async def read_keys(request: AnyRequest) -> Response[str]:
    """Read the keys that verify the log, the newest first, as a policy (c2sp.org/tlog-policy).

    Keep the key from the first day, or get it on another way than this service: whoever can change the log can change this answer.
    """
    found = await control.keys(control_of(request), caller_of(request))
    return _text(control.policy(found))


@post(PROOF + "/keys/rotate", tags=TAGS, responses=errors(404, 409))
async def rotate_log_key(
    request: AnyRequest,
    org_id: FromPath[str],
    data: JSONBody[LogKeyRotate | None] = None,
) -> LogKeyRotated:
    """Make a new key that signs the checkpoints of a log, and announce it in the log. Requires the operator key.

    The old one signs as well for a while, and in any case until the announcement is sealed.
    """
    data = await decode_strict(request, data)
    deps, caller = control_of(request), Caller.operator(address_of(request))
    given = UNSET if data is None else data.overlap_seconds
    overlap_s = deps.settings.proof.key_overlap_days * DAY_S if given is UNSET else given
    made = await proof_control.rotate_key(deps, caller, org_id, int(overlap_s * SECOND))
    return LogKeyRotated(made.log, made.new, made.old, to_text(made.old_until))


@get(
    PROOF + "/tile/{level:str}/{number:path}",
    tags=TAGS,
    responses=errors(403, 404),
    media_type=TILE_MEDIA_TYPE,
)
async def read_tile(request: AnyRequest, level: FromPath[str], number: FromPath[Path]) -> Response[bytes]:
    """Read the hashes of a tile, 32 bytes each: 256, or with `.p/W` its first W (c2sp.org/tlog-tiles).

    The number stands in groups of three digits, all but the last behind an x: 1,234,067 is x001/x234/067. Tiles never change.
    """
    at, width = tile_of(level, number.as_posix().removeprefix("/"))
    found = await control.tile(control_of(request), caller_of(request), at, width)
    return Response(found, media_type=TILE_MEDIA_TYPE, headers={"cache-control": TILE_CACHE})


@get(PROOF + "/consistency", tags=TAGS, responses=errors(403, 404), media_type=MEDIA_TYPE)
async def read_consistency(
    request: AnyRequest,
    from_size: FromQuery[int],
    to_size: FromQuery[int | None] = None,
) -> Response[str]:
    """Read the proof that the log of `to_size` events, by default those of the newest checkpoint, begins with that of `from_size`.

    Hashes in base64, one a line, as in c2sp.org/tlog-witness; none where the sizes are equal.
    """
    found = await control.consistency(control_of(request), caller_of(request), from_size, to_size)
    return _text("".join(f"{base64.b64encode(one).decode()}\n" for one in found.hashes))


@get(PROOF + "/hashes", tags=TAGS, responses=errors(403, 404, 409), media_type=LINES_MEDIA_TYPE)
async def read_hashes(
    request: AnyRequest,
    first: FromQuery[int | None] = None,
    last: FromQuery[int | None] = None,
) -> Response[str]:
    """Read the hashes of sealed events, as checkpoint events without a note, one a line: for an export that lacks checkpoint events.

    By default from the first sealed event to the last one. A call answers the hashes of 4,500 events at most; the header `Link` has the
    URL of the next call. Checkpoint events of the range come too, as they are stored.
    """
    caller = caller_of(request)
    found = await log_hashes.tell_again(control_of(request), caller, first, last)
    headers = {}
    if found.following is not None:
        query = f"first={found.following}" + (f"&last={last}" if last is not None else "")
        path = PROOF.replace("{org_id:str}", caller.org_id)
        headers["link"] = f'<{path}/hashes?{query}>; rel="next"'
    return Response(
        "".join([f"{one}\n" for one in found.lines]), media_type=LINES_MEDIA_TYPE, headers=headers
    )


@get(PROOF + "/events/{event_id:str}", tags=TAGS, responses=errors(403, 404, 409), media_type=MEDIA_TYPE)
async def read_event_proof(
    request: AnyRequest,
    event_id: FromPath[str],  # noqa: ARG001 - from the raw path
) -> Response[str]:
    """Read the proof that an event is in the log, with the newest checkpoint (c2sp.org/tlog-proof)."""
    found = await control.of_event(control_of(request), caller_of(request), event_id_of(request))
    return _text(found.text)


def _text(content: str) -> Response[str]:
    return Response(content, media_type=MEDIA_TYPE)


HANDLERS = [
    read_checkpoint,
    seal_now,
    read_keys,
    rotate_log_key,
    read_tile,
    read_consistency,
    read_hashes,
    read_event_proof,
]
