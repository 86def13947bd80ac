"""A new destination: which kind, the fields that it needs, a test before anything is saved, and the first event there."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from aegis_stream.api.service import control_of, service_of
from aegis_stream.control import destinations, events, overview, replays
from aegis_stream.control.destination_types import DestinationType, destination_types, find_type
from aegis_stream.control.replays import TimeRange
from aegis_stream.control.tested import SentTest
from aegis_stream.control.testing import send_unsaved_test
from aegis_stream.domain.destination import mask_url
from aegis_stream.domain.ids import SECOND
from aegis_stream.errors import AegisError, FieldProblem, Invalid, Limited, NotFound

from .destination import path_of
from .draft import (
    DECISIONS,
    DRAFT_CHARACTERS_MAX,
    DRAFT_S,
    HEADER_ROWS,
    SECRET_KINDS,
    Draft,
    draft_of,
    filter_of_draft,
    problems_of_draft,
    renamed,
    shown_values,
    since_of,
    spec_of_draft,
)
from .draft_call import unsaved_call
from .forms import Form
from .gate import form_of, origin_of, seals_of, visit_of
from .page import done, page, problems_of
from .rights import DESTINATION, ORGANIZATION
from .tested import told_of, wrong_field
from .testing import answer_test

AnyRequest = Request[Any, Any, Any]
HEADER_LABELS = {
    f"h_{part}_{row}": f"{part.capitalize()} of header {row + 1}"
    for row in HEADER_ROWS
    for part in ("name", "value")
}
LOOKED_AT_MAX = 1000
"""How many of the newest events tell how much a filter lets pass."""
LOOK_AGAIN_S = 2
"""After so long a browser opens the page of the first event again, seconds, until the event has arrived."""


@get(ORGANIZATION + "/new")
async def choose_type(
    request: AnyRequest, kind: FromQuery[str] = "", find: FromQuery[str] = ""
) -> Response[str]:
    """Show the kinds of destinations, or the form of one of them."""
    one = find_type(kind)
    if one is not None:
        return await _form(request, one, Draft(one.id, name=one.name))
    words = find.lower().split()
    found = [
        one for one in destination_types() if all(word in f"{one.name} {one.id}".lower() for word in words)
    ]
    return await page(
        request, "new.html", title="New destination", types=found, find=find, unknown=kind, page_name="new"
    )


@post(ORGANIZATION + "/new", status_code=200)
async def test_or_save(request: AnyRequest) -> Response[Any]:
    """Test what was typed, or save it; with a problem, the form comes back with everything that was typed."""
    form = form_of(request)
    one = type_in(form)
    draft = draft_of(one, form, opened(request, form.raw("draft")))
    problems = renamed(one, draft, problems_of_draft(one, draft))
    if problems:
        return await _form(request, one, draft, problems=problems, status=422)
    control, caller = control_of(request), visit_of(request).caller
    spec = spec_of_draft(one, draft, control.settings.retry.policy)
    try:
        if form.has("save"):
            return await _save(request, one, draft)
        return await answer_test(
            request,
            lambda on_stage: send_unsaved_test(control, caller, spec, on_stage),
            lambda told: _form(request, one, draft, told=told),
        )
    except Invalid as error:
        found = renamed(one, draft, error.problems) or {"": error.message}
        return await _form(request, one, draft, problems=found, status=422)
    except Limited as error:
        return await _form(request, one, draft, problems=problems_of(error), status=429)


async def _save(request: AnyRequest, one: DestinationType, draft: Draft) -> Response[Any]:
    """Create the destination, start the replay that was asked for, and lead on to the first event."""
    control, visit = control_of(request), visit_of(request)
    spec = spec_of_draft(one, draft, control.settings.retry.policy)
    made = await destinations.create(control, visit.caller, spec)
    dst_id, since = made.destination.dst_id, since_of(draft)
    text = f"{spec.name} is saved, and gets every event that is recorded from now on."
    if since is not None:
        try:
            started = await replays.start(control, visit.caller, dst_id, TimeRange(since, None))
            text = f"{spec.name} is saved. A replay sends {started.events} earlier events as well."
        except AegisError as error:
            text = f"{spec.name} is saved. The replay of earlier events did not start: {error.message}"
    return done(request, f"{path_of(visit.org_id, dst_id)}/first?kind={one.id}", text)


async def _form(
    request: AnyRequest,
    one: DestinationType,
    draft: Draft,
    *,
    problems: dict[str, str] | None = None,
    told: SentTest | None = None,
    status: int = 200,
) -> Response[str]:
    control, visit = control_of(request), visit_of(request)
    passing, looked_at, datasets = await events.count_wanted(
        control, visit.caller, filter_of_draft(draft), LOOKED_AT_MAX
    )
    now_s = control.clock.now() // SECOND
    kept = Draft(
        **{name: getattr(draft, name) for name in Draft.__struct_fields__}
        | {"holder": visit.session.holder, "made_s": now_s}
    )
    labels = HEADER_LABELS | {f"v-{field.name}": field.label for field in one.fields}
    complete = not problems_of_draft(one, draft)
    spec = spec_of_draft(one, draft, control.settings.retry.policy) if complete else None
    return await page(
        request,
        "new_form.html",
        title=f"New destination: {one.name}",
        status=status,
        kind=one,
        draft=draft,
        values=shown_values(one, draft),
        kept={
            field.name for field in one.fields if field.kind in SECRET_KINDS and draft.values.get(field.name)
        },
        secret_kinds=SECRET_KINDS,
        decisions=DECISIONS,
        sealed=seals_of(service_of(request)).seal("draft", kept),
        problems=problems or {},
        labels=labels,
        header_rows=HEADER_ROWS,
        told=told_of(told, one.trap, _check(one, draft, told, labels)) if told is not None else None,
        result_url=_shown(
            spec.url, has_credential=spec.auth_header_value is not None or spec.oauth2 is not None
        )
        if spec is not None
        else "",
        calls=[
            unsaved_call(origin_of(request), visit.org_id, spec, test=is_test) for is_test in (True, False)
        ]
        if spec is not None
        else [],
        passing=passing,
        looked_at=looked_at,
        datasets=datasets,
    )


def _check(
    one: DestinationType, draft: Draft, told: SentTest, labels: dict[str, str]
) -> tuple[str, str] | None:
    """Return label and link of the field of the form that a failed test makes look wrong."""
    field = wrong_field(told)
    name = next(iter(renamed(one, draft, [FieldProblem(field, "")]))) if field else ""
    return (labels.get(name, "Certificate of the authority"), f"#f-{name}") if name else None


@get(DESTINATION + "/first")
async def first_event(
    request: AnyRequest,
    destination_id: FromPath[str],
    kind: FromQuery[str] = "",
    event_id: FromQuery[str] = "",
) -> Response[str]:
    """Show whether the first event has arrived, and how to find it there."""
    control, visit = control_of(request), visit_of(request)
    subject = await overview.read_one(control, visit.caller, destination_id)
    state = None
    if event_id:
        _, states = await events.read(control, visit.caller, event_id)
        state = next((one for one in states if one.dst_id == destination_id), None)
    one = find_type(kind)
    answer = await page(
        request,
        "first_event.html",
        title=f"First event · {subject.standing.name}",
        subject=subject,
        here=path_of(visit.org_id, destination_id),
        kind=one,
        event_id=event_id,
        state=state,
        query=one.search.query.replace("{event_id}", event_id) if one is not None and event_id else "",
    )
    if event_id and (state is None or state.state != "delivered"):
        answer.headers["refresh"] = str(LOOK_AGAIN_S)
    return answer


def type_in(form: Form) -> DestinationType:
    """Return the kind of destination that a form is for. Raises: NotFound."""
    one = find_type(form.one("kind"))
    if one is None:
        raise NotFound("there is no such kind of destination: choose one from the list")
    return one


def opened(request: AnyRequest, text: str) -> Draft | None:
    """Return the draft of a form, if it is this person's and not too old."""
    draft = seals_of(service_of(request)).open("draft", text, Draft, DRAFT_CHARACTERS_MAX)
    now_s = control_of(request).clock.now() // SECOND
    if draft is None or draft.holder != visit_of(request).session.holder or now_s - draft.made_s > DRAFT_S:
        return None
    return draft


def _shown(url: str, *, has_credential: bool) -> str:
    return url if has_credential else mask_url(url)


HANDLERS = [choose_type, test_or_save, first_event]
