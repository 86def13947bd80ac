"""What is wrong with one field of the form for a new destination, told when somebody leaves it; nothing is sent to the receiver."""

import math
from typing import Any

import msgspec
from litestar import Request, Response, post

from aegis_stream.api.service import control_of
from aegis_stream.control.caller import Caller
from aegis_stream.control.checks import check_spec
from aegis_stream.control.deps import ControlDeps
from aegis_stream.control.destination_types import DestinationType
from aegis_stream.domain.ids import SECOND
from aegis_stream.domain.rate import Buckets, Rate
from aegis_stream.errors import FieldProblem, Invalid, Limited

from .draft import Draft, draft_of, problems_of_draft, renamed, spec_of_draft
from .gate import form_of, visit_of
from .rights import ORGANIZATION
from .wizard import opened, type_in

AnyRequest = Request[Any, Any, Any]
CHECKS = Rate(60, 60)
"""Checks of one session: more than anybody types, and few names to look up."""
STAND_IN = "stand-in"
"""For fields that nobody has filled yet, and that have no example: a value that nothing is wrong with."""


def new_limits() -> Buckets:
    """Return what counts the checks of each session, for one application."""
    return Buckets(CHECKS)


@post(ORGANIZATION + "/new/check", status_code=200)
async def check_field(request: AnyRequest) -> Response[bytes]:
    """Return `{"problem": …}` for the field that the form names in `field`: the words of a test, "" for nothing wrong.

    Raises: NotFound for another kind. Limited after too many checks of the session, or of names that lead nowhere.
    """
    form, visit, deps = form_of(request), visit_of(request), control_of(request)
    one = type_in(form)
    limits: Buckets = request.app.state.field_checks
    wait_us = limits.take(visit.session.csrf, deps.clock.now())
    if wait_us:
        raise Limited(
            f"too many checks of fields in this session; the limit is {CHECKS.count} in {CHECKS.per_s:g} s: "
            "go on typing, a test checks all fields",
            retry_after_s=math.ceil(wait_us / SECOND),
            code="rate-limited",
        )
    draft = draft_of(one, form, opened(request, form.raw("draft")))
    problem = await problem_of(deps, visit.caller, one, draft, form.one("field"))
    return Response(msgspec.json.encode({"problem": problem}), media_type="application/json")


async def problem_of(
    deps: ControlDeps, caller: Caller, one: DestinationType, draft: Draft, field: str
) -> str:
    """Return what is wrong with a field of the form, "" for nothing.

    Fields that are not filled yet do not matter: values that are right stand in for them. Its host's name is looked up only for
    the field in which it is typed.
    Raises: Limited, Unavailable.
    """
    problems = renamed(one, draft, problems_of_draft(one, draft))
    if field in problems:
        return problems[field]
    spec = spec_of_draft(one, _completed(one, draft, problems), deps.settings.retry.policy)
    is_place = field in renamed(one, draft, [FieldProblem("url", "")])
    try:
        await check_spec(deps, caller, spec, before=None if is_place else spec)
    except Invalid as error:
        return renamed(one, draft, error.problems).get(field, "")
    return ""


def _completed(one: DestinationType, draft: Draft, problems: dict[str, str]) -> Draft:
    """Return a draft in which nothing is wrong that can be told without a look at the network."""
    values = {
        each.name: draft.values[each.name]
        if f"v-{each.name}" not in problems
        else each.example or (each.choices[0] if each.choices else STAND_IN)
        for each in one.fields
    }
    for each in one.fields:
        if f"v-{each.name}" in problems and "url" in each.kind and not each.example:
            values[each.name] = f"https://{STAND_IN}.example.com/"
    headers = [(name, value or STAND_IN) for name, value in draft.headers if name]
    since = "" if "since" in problems else draft.since
    return msgspec.structs.replace(draft, values=values, headers=headers, since=since)


HANDLERS = [check_field]
