"""Keys of an organization: who sends, with which key, since when; make, rotate and revoke them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from aegis_stream.api.requests import read_id_cursor
from aegis_stream.api.service import control_of
from aegis_stream.control import keys
from aegis_stream.control.keys import Issued, ListedKey, NewKey
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.domain.organization import ApiKey, KeyUsage, Scope
from aegis_stream.errors import Conflict, FieldProblem, Invalid, NotFound

from .commands import ShownCall, quoted, shown_call
from .forms import Form
from .gate import form_of, origin_of, visit_of
from .page import base_of, done, page, path_part, problems_of
from .rights import KEY, KEYS
from .snippets import snippets
from .words import DAY_S, HOUR_S, ago, counted

AnyRequest = Request[Any, Any, Any]
SHOWN_MAX = 100
"""Keys on one page."""
REVOKE_WORD = "revoke"
"""What must be typed before a key is revoked: that cannot be undone."""


class Choice(NamedTuple):
    """One value of a field, and its words."""

    value: str
    words: str


SCOPES = (
    Choice("ingest", "ingest: send events, and nothing else"),
    Choice("read", "read: see everything, change nothing"),
    Choice("admin", "admin: everything in this organization"),
)
EXPIRIES = (
    Choice("", "never"),
    Choice("30", "in 30 days"),
    Choice("90", "in 90 days"),
    Choice("365", "in a year"),
)
OVERLAPS = (
    Choice("0", "at once"),
    Choice(str(HOUR_S), "in an hour"),
    Choice(str(DAY_S), "in a day"),
    Choice(str(7 * DAY_S), "in 7 days"),
    Choice(str(30 * DAY_S), "in 30 days"),
)


@get(KEYS)
async def show_keys(request: AnyRequest, after: FromQuery[str] = "") -> Response[str]:
    """List the keys, and show the form for a new one."""
    return await _list_page(request, read_id_cursor(after or None) or "", {}, Form({}))


@post(KEYS)
async def create_key(request: AnyRequest) -> Response[str]:
    """Make a key and show its text, this once."""
    visit, form = visit_of(request), form_of(request)
    try:
        new = _new_key(form, control_of(request).clock.now())
        made = await keys.create(control_of(request), visit.caller, visit.org_id, new)
    except (Invalid, Conflict) as error:
        status = 409 if isinstance(error, Conflict) else 422
        return await _list_page(request, "", problems_of(error), form, status)
    return await _made_page(request, made, f"{made.key.scope.value.capitalize()} key made", "")


@get(KEY)
async def show_key(request: AnyRequest, key_id: FromPath[str]) -> Response[str]:
    """Show one key, with what can be done to it."""
    return await _key_page(request, key_id, {})


@post(KEY + "/rotate")
async def rotate_key(request: AnyRequest, key_id: FromPath[str]) -> Response[str]:
    """Make a new key like this one, and let this one end."""
    visit, form, deps = visit_of(request), form_of(request), control_of(request)
    try:
        overlap_s = int(_chosen(form, "overlap", OVERLAPS))
        made = await keys.rotate(
            deps, visit.caller, visit.org_id, key_id, overlap_s=overlap_s, check=_as_seen(form)
        )
    except Invalid as error:
        return await _key_page(request, key_id, problems_of(error), 422)
    except NotFound as error:
        raise _gone() from error
    ends = next(one.words for one in OVERLAPS if one.value == str(overlap_s))
    until = "The old key is rejected from now on." if not overlap_s else f"The old key ends {ends}."
    return await _made_page(request, made, "New key made", until)


@post(KEY + "/revoke", status_code=303)
async def revoke_key(request: AnyRequest, key_id: FromPath[str]) -> Response[Any]:
    """Revoke a key, after its word was typed."""
    visit, form = visit_of(request), form_of(request)
    if form.one("word").lower() != REVOKE_WORD:
        message = f"must be the word {REVOKE_WORD}: a revoked key cannot be brought back"
        return await _key_page(request, key_id, {"word": message}, 422)
    try:
        await keys.revoke(control_of(request), visit.caller, visit.org_id, key_id, check=_as_seen(form))
    except NotFound as error:
        raise _gone() from error
    return done(request, f"{base_of(visit.org_id)}/keys", "The key was revoked; it opens nothing any more.")


def use_of(usage: KeyUsage, now: Micros) -> str:
    """Say when a key was used last: what somebody must know who revokes it."""
    if usage.last_used_at is None:
        return "It was never used."
    place = f" by {usage.last_used_from}" if usage.last_used_from else ""
    when = ago(usage.last_used_at, now)
    sent = f", and recorded {counted(usage.events_last_hour, 'event')} in the last hour"
    return f"It was used {when}{place}{sent if usage.events_last_hour else ''}."


def state_of(key: ApiKey) -> str:
    """Return what a form says about the key that it was made for."""
    return f"{key.name} {key.expires_at or 'never'}"


async def _list_page(
    request: AnyRequest, after: str, problems: dict[str, str], form: Form, status: int = 200
) -> Response[str]:
    visit, deps = visit_of(request), control_of(request)
    found: list[ListedKey] = []
    if visit.may_write or visit.is_operator:
        uses = deps.access.uses
        found = await keys.list_of(deps, visit.org_id, after, SHOWN_MAX + 1, unwritten=uses)
    shown = found[:SHOWN_MAX]
    return await page(
        request,
        "keys.html",
        title="Keys",
        status=status,
        keys=shown,
        own_id=visit.caller.actor.id,
        following=shown[-1].key.key_id if len(found) > SHOWN_MAX else "",
        after=after,
        problems=problems,
        form=form,
        scopes=SCOPES,
        expiries=EXPIRIES,
        call=_create_call(request),
    )


async def _key_page(
    request: AnyRequest, key_id: str, problems: dict[str, str], status: int = 200
) -> Response[str]:
    visit, deps = visit_of(request), control_of(request)
    key, usage = await keys.find(deps, visit.org_id, key_id, unwritten=deps.access.uses)
    return await page(
        request,
        "key.html",
        title=f"Key {key.name or key.key_id}",
        status=status,
        key=key,
        state=state_of(key),
        use=use_of(usage, deps.clock.now()),
        usage=usage,
        is_own=visit.caller.actor.id == key.key_id,
        problems=problems,
        overlaps=OVERLAPS,
        word=REVOKE_WORD,
        rotate_call=_key_call(request, key, "rotate"),
        revoke_call=_key_call(request, key, "revoke"),
    )


async def _made_page(request: AnyRequest, made: Issued, heading: str, until: str) -> Response[str]:
    visit = visit_of(request)
    return await page(
        request,
        "key_made.html",
        title=heading,
        status=201,
        heading=heading,
        until=until,
        key=made.key,
        text=made.text,
        snippets=snippets(origin_of(request), visit.org_id) if made.key.scope is not Scope.READ else (),
    )


def _new_key(form: Form, now: Micros) -> NewKey:
    """Read the form of a new key. Raises: Invalid."""
    scope, days = _chosen(form, "scope", SCOPES), _chosen(form, "expires", EXPIRIES)
    expires_at = Micros(now + int(days) * DAY_S * SECOND) if days else None
    return NewKey(form.one("name"), Scope(scope), expires_at)


def _chosen(form: Form, field: str, choices: tuple[Choice, ...]) -> str:
    """Return the value of a field that offers some. Raises: Invalid for another one."""
    value = form.one(field, choices[0].value)
    if all(value != one.value for one in choices):
        message = f"must be one of: {', '.join(one.words for one in choices)}"
        raise Invalid(f"{field} {message}", problems=(FieldProblem(field, message),))
    return value


def _as_seen(form: Form) -> Callable[[ApiKey], None]:
    """Return what raises Conflict when a key is no longer as the form shows it."""

    def check(key: ApiKey) -> None:
        if state_of(key) != form.one("state"):
            raise Conflict(
                "this key was changed after the page was opened, so nothing was done: open it again"
            )

    return check


def _gone() -> Conflict:
    return Conflict("this key was revoked after the page was opened, so nothing was done")


def _create_call(request: AnyRequest) -> ShownCall:
    org_id = visit_of(request).org_id
    return shown_call(
        origin_of(request),
        "POST",
        f"/api/orgs/{org_id}/api-keys",
        {"name": "collector", "scope": "ingest"},
        aegis=f"aegis key create --org {quoted(org_id)} --name collector --scope ingest",
    )


def _key_call(request: AnyRequest, key: ApiKey, what: str) -> ShownCall:
    path = f"/api/orgs/{key.org_id}/api-keys/{path_part(key.key_id)}"
    command = f"aegis key {what} {quoted(key.key_id)} --org {quoted(key.org_id)}"
    if what == "revoke":
        return shown_call(origin_of(request), "DELETE", path, aegis=command)
    return shown_call(
        origin_of(request),
        "POST",
        path + "/rotate",
        {"overlap_seconds": HOUR_S},
        aegis=f"{command} --overlap {HOUR_S}",
    )


HANDLERS = [show_keys, create_key, show_key, rotate_key, revoke_key]
