"""The audit trail: what was done in an organization, by whom; the newest first."""

from typing import Any, NamedTuple
from urllib.parse import urlencode

from litestar import Request, Response, get
from litestar.params import FromQuery

from aegis_stream.api.requests import read_cursor
from aegis_stream.api.service import control_of
from aegis_stream.control import event_search
from aegis_stream.control.event_search import EventQuery
from aegis_stream.domain.audit import ACTIONS, ADMIN_DATASET
from aegis_stream.domain.event_filter import CONDITION_CHARACTERS_MAX, EventFilter

from .actions import shown_action
from .commands import quoted, shown_call
from .gate import origin_of, visit_of
from .page import base_of, page
from .rights import ORGANIZATION

AnyRequest = Request[Any, Any, Any]
SHOWN_MAX = 50
"""Actions on one page."""


class Wanted(NamedTuple):
    """Which actions to show, "" for all.

    Args:
        actor: id or name of who did it.
        target: id or name of what it was done to.
    """

    actor: str
    action: str
    target: str

    def as_query(self, **more: str) -> str:
        """Return this as the query of a link; `more` are further parameters, or other values of these."""
        given = {name: value for name, value in (self._asdict() | more).items() if value}
        return f"?{urlencode(given)}" if given else ""

    def as_filter(self) -> EventFilter:
        """Return which events of the log these are."""
        fields = []
        if self.actor:
            fields.append(("user.id" if _is_actor_id(self.actor) else "user.name", self.actor))
        if self.action:
            fields.append(("event.action", self.action))
        if self.target:
            place = "id" if _is_id(self.target) else "name"
            fields.append((f"aegis.audit.target.{place}", self.target))
        return EventFilter(ADMIN_DATASET, None, (), tuple(fields))


@get(ORGANIZATION + "/audit")
async def show_audit(
    request: AnyRequest,
    actor: FromQuery[str] = "",
    action: FromQuery[str] = "",
    target: FromQuery[str] = "",
    before: FromQuery[str] = "",
) -> Response[str]:
    """Show what was done, the newest first."""
    visit, wanted = visit_of(request), Wanted(*(one.strip() for one in (actor, action, target)))
    (reached,) = read_cursor(before or None, (0,))
    too_long = any(len(one) > CONDITION_CHARACTERS_MAX for one in wanted)
    query = EventQuery(wanted.as_filter(), before=reached or None, limit=SHOWN_MAX, newest_first=True)
    found = (
        event_search.EventPage([], None)
        if too_long
        else await event_search.list_of(control_of(request), visit.caller, query)
    )
    base = base_of(visit.org_id)
    here = f"{base}/audit"
    following = str(found.following) if found.following is not None else ""
    return await page(
        request,
        "audit.html",
        title="Audit trail",
        actions=[shown_action(one, base) for one in found.found],
        wanted=wanted,
        here=here,
        first=here + wanted.as_query() if before else "",
        following=here + wanted.as_query(before=following) if following else "",
        scanned=found.scanned,
        too_long=CONDITION_CHARACTERS_MAX if too_long else 0,
        kinds={name: words for name, (_, _, words) in ACTIONS.items()},
        dataset=ADMIN_DATASET,
        is_recorded=control_of(request).audit_actions,
        call=shown_call(
            origin_of(request),
            "GET",
            f"/api/orgs/{visit.org_id}/events?order=desc&dataset={ADMIN_DATASET}",
            aegis=f"aegis event tail --org {quoted(visit.org_id)} --dataset {ADMIN_DATASET}",
        ),
    )


def _is_actor_id(text: str) -> bool:
    return text in ("operator", "command_line") or text.startswith("key_")


def _is_id(text: str) -> bool:
    return text[:4] in ("dst_", "key_", "org_")


HANDLERS = [show_audit]
