"""What an auditor is handed, as one archive."""

from typing import Any

from litestar import Request, Response, get
from litestar.params import FromQuery

from aegis_stream.control import evidence as control

from .docs import errors
from .proof import PROOF, TAGS
from .scopes import caller_of
from .service import control_of

AnyRequest = Request[Any, Any, Any]
MEDIA_TYPE = "application/zip"


@get(PROOF + "/bundle", tags=TAGS, responses=errors(403, 404, 409), media_type=MEDIA_TYPE)
async def read_bundle(request: AnyRequest, from_size: FromQuery[int | None] = None) -> Response[bytes]:
    """Read what an auditor needs to check exports, as one zip file: keys, newest checkpoint, the offline verifier, instructions.

    With `from_size`, the size of a checkpoint that the auditor has kept, it also has the proof that the newest one continues it. The
    same state gives the same bytes. It holds no event.
    """
    if from_size is None and "from_size" in request.query_params:
        from_size = 0  # the framework reads "null" as nothing: it is refused as a size that no log has
    found = await control.bundle(control_of(request), caller_of(request), from_size)
    headers = {"content-disposition": f'attachment; filename="{found.name}.zip"'}
    return Response(found.data, media_type=MEDIA_TYPE, headers=headers)


HANDLERS = [read_bundle]
