"""What the tabs of a destination share: its frame with the first sentence, the controls, and what a test of it told."""

from typing import Any

from litestar import Request, Response, post
from litestar.params import FromPath

from aegis_stream.api.service import control_of
from aegis_stream.control import destinations, overview
from aegis_stream.control.overview import Subject
from aegis_stream.control.tested import SentTest
from aegis_stream.control.testing import send_test
from aegis_stream.domain.destination import mask_url
from aegis_stream.domain.standing import State
from aegis_stream.errors import Conflict
from aegis_stream.formats import resolve

from .commands import ShownCall, shown_call
from .gate import form_of, origin_of, visit_of
from .headline import destination_headline
from .page import base_of, done, page, path_part
from .rights import DESTINATION
from .settings_form import LABELS
from .tested import Told, told_of, trap_of, wrong_field
from .testing import answer_test

AnyRequest = Request[Any, Any, Any]

TABS = (
    ("Health", ""),
    ("Attempts", "/attempts"),
    ("Dead letters", "/dead-letters"),
    ("Replays", "/replays"),
    ("Settings", "/settings"),
)
"""The tabs, and where they are below the destination's path."""
RUNNING = "running"
"""What forms call a destination that is not paused."""


async def destination_page(
    request: AnyRequest, template: str, tab: str, subject: Subject | None = None, **context: Any
) -> Response[str]:
    """Render a tab of the destination in the URL; the template extends `destination.html`.

    Args:
        tab: its name in TABS.
        subject: the destination, if it was read already.
    Raises: NotFound, Unavailable.
    """
    visit = visit_of(request)
    dst_id = str(request.path_params["destination_id"])
    if subject is None:
        subject = await overview.read_one(control_of(request), visit.caller, dst_id)
    base = base_of(visit.org_id)
    now = control_of(request).clock.now()
    return await page(
        request,
        template,
        title=f"{tab} · {subject.standing.name}",
        headline=destination_headline(subject.standing, base, now),
        subject=subject,
        here=path_of(visit.org_id, dst_id),
        tab=tab,
        tabs=TABS,
        shown_url=shown_url(subject),
        shown_format=resolve(subject.destination.spec.format, subject.destination.spec.url).name,
        calls=calls_of(request, subject),
        **context,
    )


def path_of(org_id: str, dst_id: str) -> str:
    """Return the path of a destination's pages."""
    return f"{base_of(org_id)}/d/{path_part(dst_id)}"


def shown_url(subject: Subject) -> str:
    """Return the URL as it may be shown: masked where it is the credential."""
    spec = subject.destination.spec
    if subject.destination.damaged:
        return "****"
    return spec.url if spec.auth_header_value is not None or spec.oauth2 is not None else mask_url(spec.url)


def calls_of(request: AnyRequest, subject: Subject) -> dict[str, ShownCall]:
    """Return the calls behind the controls of the frame."""
    origin, dst_id = origin_of(request), subject.destination.dst_id
    path = f"/api/orgs/{visit_of(request).org_id}/forwarding-destinations/{dst_id}"
    return {
        "read": shown_call(origin, "GET", path, aegis=f"aegis destination show {dst_id}"),
        "test": shown_call(origin, "POST", f"{path}/test", aegis=f"aegis destination test {dst_id}"),
        "pause": shown_call(origin, "POST", f"{path}/pause", aegis=f"aegis destination pause {dst_id}"),
        "resume": shown_call(origin, "POST", f"{path}/resume", aegis=f"aegis destination resume {dst_id}"),
    }


@post(DESTINATION + "/test", status_code=200)
async def test_destination(request: AnyRequest, destination_id: FromPath[str]) -> Response[Any]:
    """Send a test event, and show its stages as they are passed, and what it told."""
    deps, caller = control_of(request), visit_of(request).caller

    async def tested(sent: SentTest | None) -> Response[str]:
        subject = await overview.read_one(deps, caller, destination_id)
        told = _told(request, subject, sent) if sent is not None else None
        return await destination_page(request, "tested.html", "Health", subject, told=told)

    return await answer_test(
        request, lambda on_stage: send_test(deps, caller, destination_id, on_stage), tested
    )


def _told(request: AnyRequest, subject: Subject, sent: SentTest) -> Told:
    field = wrong_field(sent).removeprefix("oauth2.")
    here = path_of(visit_of(request).org_id, subject.destination.dst_id)
    check = (LABELS[field], f"{here}/settings#f-{field}") if field else None
    return told_of(sent, trap_of(subject.destination.spec), check)


@post(DESTINATION + "/pause", status_code=303)
async def pause(request: AnyRequest, destination_id: FromPath[str]) -> Response[bytes]:
    """Hold all deliveries."""
    subject = await _as_it_was(request, destination_id, paused=False)
    await destinations.pause(control_of(request), visit_of(request).caller, destination_id)
    here = path_of(visit_of(request).org_id, destination_id)
    return done(request, here, f"{subject.standing.name} is paused: events wait for it, and none is lost.")


@post(DESTINATION + "/resume", status_code=303)
async def resume(request: AnyRequest, destination_id: FromPath[str]) -> Response[bytes]:
    """Go on where `pause` stopped."""
    subject = await _as_it_was(request, destination_id, paused=True)
    await destinations.resume(control_of(request), visit_of(request).caller, destination_id)
    here = path_of(visit_of(request).org_id, destination_id)
    return done(request, here, f"{subject.standing.name} goes on, with the oldest event first.")


async def _as_it_was(request: AnyRequest, dst_id: str, *, paused: bool) -> Subject:
    """Return the destination, if it is still in the state that the page showed, which the form must tell.

    Raises: Conflict, NotFound, Unavailable.
    """
    subject = await overview.read_one(control_of(request), visit_of(request).caller, dst_id)
    wanted = State.PAUSED.value if paused else RUNNING
    is_paused = not subject.destination.spec.enabled
    if is_paused != paused:
        state = State.PAUSED.value if is_paused else RUNNING
        raise Conflict(f"{subject.standing.name} is {state} by now, so nothing was done: open the page again")
    if form_of(request).one("state") != wanted:
        raise Conflict(
            f"the form does not say that {subject.standing.name} was {wanted} (state={wanted}), so nothing was done: "
            "open the page again"
        )
    return subject


HANDLERS = [test_destination, pause, resume]
