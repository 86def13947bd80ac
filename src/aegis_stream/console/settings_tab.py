"""The settings of a destination: every field is changed here, after a look at what would change; and it is deleted here."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath

from aegis_stream.api.service import control_of, service_of
from aegis_stream.control import destinations, event_search, overview
from aegis_stream.control.event_search import EventQuery
from aegis_stream.control.overview import Subject
from aegis_stream.control.tested import SentTest
from aegis_stream.control.testing import send_changed_test
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.errors import AegisError, Conflict, Invalid, Limited

from .actions import ShownAction, shown_action
from .audit import Wanted
from .destination import destination_page, path_of, shown_url
from .draft import DECISIONS
from .gate import form_of, seals_of, visit_of
from .page import base_of, done, problems_of
from .rights import DESTINATION
from .settings_changes import changes_of, is_tested, masked, patch_of_draft
from .settings_form import (
    COMPRESSIONS,
    DRAFT_CHARACTERS_MAX,
    DRAFT_S,
    FORMATS,
    HEADERS,
    LABELS,
    ROWS,
    SettingsDraft,
    differences,
    field_of,
    mark_of,
    read_fields,
    rebased,
    shown_fields,
)
from .tested import told_of, trap_of

AnyRequest = Request[Any, Any, Any]
DEEDS_MAX = 3
"""Most changes by others that are told."""
TOO_OLD = "The page was opened too long ago, or by somebody else: compare what you typed with what is stored, and save again."
MEANWHILE = "Somebody else has changed this destination since you opened the page. What you typed is still here, and what is stored now is below each field: save again to replace it."
SAME = "Nothing differs from what is stored, so there is nothing to save."


class Meanwhile(NamedTuple):
    """What others changed while somebody typed.

    Args:
        theirs: fields that differ, before and after, by name; None for what is not known.
        actions: the newest actions on the destination, as the audit trail has them.
    """

    theirs: Mapping[str, tuple[str | None, str]]
    actions: list[ShownAction]


@get(DESTINATION + "/settings")
async def show_settings(request: AnyRequest, destination_id: FromPath[str]) -> Response[str]:
    """Show the settings."""
    subject = await overview.read_one(control_of(request), visit_of(request).caller, destination_id)
    return await _form(request, subject, _opened(request, subject))


@post(DESTINATION + "/settings", status_code=200)
async def change_settings(request: AnyRequest, destination_id: FromPath[str]) -> Response[Any]:
    """Show what would change, and save it when that was confirmed; with a problem the form comes back with everything typed."""
    control, visit, form = control_of(request), visit_of(request), form_of(request)
    subject = await overview.read_one(control, visit.caller, destination_id)
    before = _kept(request, subject, form.raw("draft"))
    draft = before or _opened(request, subject)
    if not form.has("confirmed"):
        draft = read_fields(form, draft)
    if before is None:
        theirs = {name: (None, draft.base[name]) for name in draft.touched if name in draft.base}
        return await _form(
            request, subject, draft, problems={"": TOO_OLD}, status=409, meanwhile=Meanwhile(theirs, [])
        )
    if draft.mark != mark_of(subject.destination.spec):
        return await _told(request, subject, draft)
    if form.has("edit"):
        return await _form(request, subject, draft)
    return await _review_or_save(request, subject, draft, save=form.has("save"), anyway=form.has("anyway"))


@post(DESTINATION + "/delete", status_code=303)
async def delete(request: AnyRequest, destination_id: FromPath[str]) -> Response[Any]:
    """Delete the destination, if its name was typed."""
    control, visit = control_of(request), visit_of(request)
    subject = await overview.read_one(control, visit.caller, destination_id)
    if form_of(request).one("typed") != subject.standing.name:
        raise Conflict(
            f"the typed name is not {subject.standing.name!r}, so nothing was deleted: go back and type it exactly"
        )
    await destinations.delete(control, visit.caller, destination_id)
    return done(request, base_of(visit.org_id), f"{subject.standing.name} is deleted.")


async def _review_or_save(
    request: AnyRequest, subject: Subject, draft: SettingsDraft, *, save: bool, anyway: bool
) -> Response[Any]:
    control, caller, dst_id = control_of(request), visit_of(request).caller, subject.destination.dst_id
    spec, patch = subject.destination.spec, None
    try:
        patch = patch_of_draft(draft, spec)
        draft = masked(draft, spec, patch)
        found = await destinations.review(control, caller, dst_id, patch)
        changes = changes_of(found.before, found.after, shown_url(subject))
        if not changes:
            return await _form(request, subject, draft, problems={"": SAME}, status=422)
        if not (save or anyway):
            return await _review(request, subject, draft, found)
        if save and is_tested(found.before, found.after):
            try:
                told = await send_changed_test(control, caller, dst_id, patch)
            except Limited as error:
                return await _review(request, subject, draft, found, untested=problems_of(error)[""])
            if told.error is not None:
                return await _review(request, subject, draft, found, told)
        await destinations.change(control, caller, dst_id, patch, revision=subject.destination.revision)
    except (Invalid, Limited) as error:
        return await _refused(request, subject, masked(draft, spec, patch), error)
    except Conflict:
        return await _told(request, await overview.read_one(control, caller, dst_id), draft)
    here = path_of(visit_of(request).org_id, dst_id)
    return done(request, here, "The change is saved. A test shows whether the destination takes events now.")


async def _review(
    request: AnyRequest,
    subject: Subject,
    draft: SettingsDraft,
    found: destinations.Review,
    told: SentTest | None = None,
    untested: str = "",
) -> Response[str]:
    """Show what would change, with the buttons that save it and that lead back.

    Args:
        told: what a test of the change told, if one has failed.
        untested: why it could not be tested; "" where it was, or is still to be.
    """
    dropped = found.before.auth_header_value is not None and found.after.auth_header_value is None
    return await destination_page(
        request,
        "settings_review.html",
        "Settings",
        subject,
        changes=changes_of(found.before, found.after, shown_url(subject)),
        is_tested=is_tested(found.before, found.after),
        told=told_of(told, trap_of(found.after)) if told is not None else None,
        untested=untested,
        is_dropped=dropped and "auth_header_name" not in draft.touched,
        sealed=_sealed(request, draft),
    )


async def _refused(
    request: AnyRequest, subject: Subject, draft: SettingsDraft, error: AegisError
) -> Response[str]:
    """Show the form again with what is wrong at its fields."""
    problems: dict[str, str] = {}
    for name, message in problems_of(error).items():
        problems.setdefault(field_of(draft, name), message)
    answer = await _form(
        request, subject, draft, problems=problems, status=429 if isinstance(error, Limited) else 422
    )
    if isinstance(error, Limited):
        answer.headers["retry-after"] = str(max(1, error.retry_after_s))
    return answer


async def _told(request: AnyRequest, subject: Subject, draft: SettingsDraft) -> Response[str]:
    """Tell a second editor who was faster; all that was typed stays, and stands beside what is stored now."""
    actions = await _actions_since(request, subject, Micros(draft.opened_s * SECOND))
    url = shown_url(subject)
    theirs = differences(draft.base, shown_fields(subject.destination.spec, url))
    again = rebased(draft, subject.destination.spec, url, _now_s(request))
    return await _form(
        request, subject, again, problems={"": MEANWHILE}, status=409, meanwhile=Meanwhile(theirs, actions)
    )


async def _actions_since(request: AnyRequest, subject: Subject, since: Micros) -> list[ShownAction]:
    """Return the newest actions on the destination since a time, as the audit trail has them; none when it is off."""
    visit = visit_of(request)
    query = EventQuery(
        Wanted("", "", subject.destination.dst_id).as_filter(),
        since=since,
        limit=DEEDS_MAX,
        newest_first=True,
    )
    found = await event_search.list_of(control_of(request), visit.caller, query)
    return [shown_action(one, base_of(visit.org_id)) for one in found.found]


async def _form(
    request: AnyRequest,
    subject: Subject,
    draft: SettingsDraft,
    *,
    problems: dict[str, str] | None = None,
    status: int = 200,
    meanwhile: Meanwhile | None = None,
) -> Response[str]:
    spec, typed = subject.destination.spec, draft.typed
    stored = {name.lower() for name in spec.header_names}
    rows = [row for row in ROWS if typed[f"h_name_{row}"] or f"h_value_{row}" in draft.secrets]
    answer = await destination_page(
        request,
        "settings.html",
        "Settings",
        subject,
        typed=typed | ({"url": draft.url_mask} if draft.url_mask else {}),
        stored=shown_fields(spec, shown_url(subject)),
        touched=draft.touched,
        problems=problems or {},
        theirs=meanwhile.theirs if meanwhile is not None else {},
        actions=meanwhile.actions if meanwhile is not None else [],
        sealed=_sealed(request, draft),
        labels=LABELS,
        formats=FORMATS,
        compressions=COMPRESSIONS,
        decisions=DECISIONS,
        rows=[*rows, *(row for row in ROWS if row not in rows)][: len(rows) + 2],
        stored_headers=stored,
        header_fields=sorted(HEADERS),
        has_secret=spec.auth_header_value is not None,
        has_oauth2=spec.oauth2 is not None,
    )
    answer.status_code = status
    return answer


def _opened(request: AnyRequest, subject: Subject) -> SettingsDraft:
    """Return the draft of a page that is opened now."""
    shown, now_s = shown_fields(subject.destination.spec, shown_url(subject)), _now_s(request)
    holder, mark = visit_of(request).session.holder, mark_of(subject.destination.spec)
    return SettingsDraft(subject.destination.dst_id, holder, now_s, now_s, mark, shown, dict(shown))


def _kept(request: AnyRequest, subject: Subject, text: str) -> SettingsDraft | None:
    """Return the draft of a form, if it is this person's, of this destination, and not too old."""
    draft = seals_of(service_of(request)).open("settings", text, SettingsDraft, DRAFT_CHARACTERS_MAX)
    if (
        draft is None
        or draft.holder != visit_of(request).session.holder
        or draft.dst_id != subject.destination.dst_id
        or _now_s(request) - draft.made_s > DRAFT_S
    ):
        return None
    return draft


def _sealed(request: AnyRequest, draft: SettingsDraft) -> str:
    fresh = msgspec.structs.replace(draft, made_s=_now_s(request))
    return seals_of(service_of(request)).seal("settings", fresh)


def _now_s(request: AnyRequest) -> int:
    return control_of(request).clock.now() // SECOND


HANDLERS = [show_settings, change_settings, delete]
