"""The button that records an event so that somebody sees one arrive: a preflight decision like any other."""

from typing import Any

from litestar import Request, Response, post

from aegis_stream.api.service import control_of
from aegis_stream.control.preflight import record_preflight
from aegis_stream.domain.preflight import Preflight

from .gate import form_of, visit_of
from .page import base_of, done, own_path, path_part
from .rights import ORGANIZATION

AnyRequest = Request[Any, Any, Any]
SAMPLE = Preflight(
    decision="ALLOWED_WITH_MASKING",
    destination="AI_TOOL",
    summary="A sample event, recorded from the console.",
    source_type="console",
    finding_counts_by_type={"EMAIL": 1},
)


@post(ORGANIZATION + "/sample", status_code=303)
async def send_sample(request: AnyRequest) -> Response[bytes]:
    """Record a sample event, and go back to the page that has the button."""
    visit = visit_of(request)
    recorded = await record_preflight(control_of(request), visit.caller, SAMPLE, None)
    base = base_of(visit.org_id)
    text = f"A sample event was recorded as sequence {recorded.sequence}."
    there = f"{base}/events/{path_part(recorded.event_id)}"
    form = form_of(request)
    back = own_path(form.one("back")) or base
    if form.has("with_id"):  # the page shows what becomes of the event
        back += f"{'&' if '?' in back else '?'}event_id={path_part(recorded.event_id)}"
    return done(request, back, text, href=there)


HANDLERS = [send_sample]
