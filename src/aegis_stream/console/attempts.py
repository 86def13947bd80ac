"""The attempts at a destination: a list with filters, and one attempt in full with a page of its own."""

from typing import Any, NamedTuple

from litestar import Request, Response, get, post
from litestar.params import FromPath

from aegis_stream.api.service import control_of
from aegis_stream.control import deliveries, one_delivery, overview, resending
from aegis_stream.control.deliveries import Delivery, DeliveryPage, Label, labels_of
from aegis_stream.control.one_delivery import FullDelivery, response_headers
from aegis_stream.errors import Conflict, NotFound

from .attempt_filters import ANSWERS, ANY, RANGES, RESULTS, AttemptsAsked, asked_of
from .commands import ShownCall, quoted, shown_call
from .curl import curl_of, variables_of
from .destination import destination_page, path_of
from .event_tree import pretty
from .gate import form_of, origin_of, visit_of
from .page import done, path_part
from .rights import DESTINATION

AnyRequest = Request[Any, Any, Any]
TAB = "Attempts"
HERE = DESTINATION + "/attempts"
ONE = HERE + "/{delivery_id:str}"


class Row(NamedTuple):
    """One line of a list of attempts.

    Args:
        label: dataset and decision of the event; None when it is gone.
    """

    one: Delivery
    label: Label | None


class Listed(NamedTuple):
    """A page of attempts.

    Args:
        following: cursor of the next page; "" after the last one.
    """

    rows: list[Row]
    following: str
    page: DeliveryPage


@get(HERE)
async def show_attempts(request: AnyRequest, destination_id: FromPath[str]) -> Response[str]:
    """Show the attempts at a destination."""
    asked = asked_of(dict(request.query_params), ANY, control_of(request).clock.now())
    subject = await overview.read_one(control_of(request), visit_of(request).caller, destination_id)
    listed = await listed_of(request, destination_id, asked)
    path = f"/forwarding-destinations/{destination_id}/deliveries"
    answer = await destination_page(
        request,
        "attempts.html",
        TAB,
        subject,
        attempts_max=subject.destination.spec.retry.max_attempts,
        listed=listed,
        shown=list_call(request, path, asked, f" --destination {destination_id}"),
        **context_of(asked),
    )
    answer.status_code = 422 if asked.problems else 200
    return answer


@get(ONE)
async def show_attempt(
    request: AnyRequest, destination_id: FromPath[str], delivery_id: FromPath[str]
) -> Response[str]:
    """Show one attempt in full."""
    found = await one_delivery.read(
        control_of(request), visit_of(request).caller, destination_id, delivery_id
    )
    return await destination_page(request, "attempt.html", TAB, **attempt_context(request, found))


@post(ONE + "/send", status_code=303)
async def send_again(
    request: AnyRequest, destination_id: FromPath[str], delivery_id: FromPath[str]
) -> Response[bytes]:
    """Send the event of an attempt again to this destination, if nothing has been attempted since the page was shown."""
    deps, visit = control_of(request), visit_of(request)
    found = await one_delivery.read(deps, visit.caller, destination_id, delivery_id)
    event_id = found.delivery.event_id
    if event_id is None:
        raise NotFound("the event is no longer in the log, so it cannot be sent again")
    if form_of(request).one("newest") != found.attempts[0].id:
        raise Conflict(
            "this event was attempted again after the page was shown, so nothing was done: open the page again"
        )
    [result] = await resending.send_again(deps, visit.caller, event_id, [destination_id])
    here = f"{path_of(visit.org_id, destination_id)}/attempts"
    text = f"Event {event_id} goes again to this destination, with all its attempts."
    if not result.queued:
        text = f"Event {event_id} waits here for its first attempt already, so nothing was to be done."
    return done(request, f"{here}?event_id={path_part(event_id)}", text)


async def listed_of(request: AnyRequest, dst_id: str | None, asked: AttemptsAsked) -> Listed:
    """Return what a list shows; nothing when something is wrong with its filters.

    Args:
        dst_id: None for all destinations.
    Raises: NotFound, Unavailable.
    """
    if asked.query is None:
        return Listed([], "", DeliveryPage([], None))
    deps, caller = control_of(request), visit_of(request).caller
    page = await deliveries.list_of(deps, caller, dst_id, asked.query)
    labels = await labels_of(deps, caller, [one.sequence for one in page.found])
    following = ".".join(str(one) for one in page.following) if page.following is not None else ""
    return Listed([Row(one, labels.get(one.sequence)) for one in page.found], following, page)


def context_of(asked: AttemptsAsked) -> dict[str, Any]:
    """Return what the filters above a list need."""
    return {"asked": asked, "results": RESULTS, "answers": ANSWERS, "ranges": RANGES}


def list_call(request: AnyRequest, path: str, asked: AttemptsAsked, options: str = "") -> ShownCall:
    """Return the call behind a list of attempts."""
    named = {
        "state": asked.state if asked.state != ANY else "",
        **{name: getattr(asked, name) for name in ("status_class", "error", "event_id", "since", "until")},
    }
    given = {name: value for name, value in named.items() if value}
    spelled = {"event_id": "event", "status_class": "status-class"}
    options += "".join(f" --{spelled.get(name, name)} {quoted(value)}" for name, value in given.items())
    query = AttemptsAsked(**{"state": "", **given}).link()
    whole = f"/api/orgs/{visit_of(request).org_id}{path}{query if given else ''}"
    return shown_call(origin_of(request), "GET", whole, aegis=f"aegis delivery list{options}")


def attempt_context(request: AnyRequest, found: FullDelivery) -> dict[str, Any]:
    """Return what the page of one attempt shows."""
    sent, one = found.request, found.delivery
    path = f"/api/orgs/{visit_of(request).org_id}/forwarding-destinations/{one.dst_id}/deliveries/{one.id}"
    body = sent.body.decode("utf-8", "replace") if sent.body is not None else None
    waited_us = found.timing.began_at - (found.timing.recorded_at or found.timing.began_at)
    return {
        "found": found,
        "one": one,
        "sent": sent,
        "body": body,
        "pretty": pretty(body),
        "curl": curl_of(sent) if body is not None and sent.url else "",
        "answer": found.answer,
        "answer_headers": response_headers(found.answer),
        "variables": variables_of(sent),
        "waited_ms": max(0.0, waited_us / 1000),
        "latency_ms": one.row.latency_us / 1000,
        "sends": send_call(request, one) if one.event_id is not None else None,
        "read": shown_call(
            origin_of(request), "GET", path, aegis=f"aegis delivery show {one.dst_id} {one.id}"
        ),
    }


def send_call(request: AnyRequest, one: Delivery) -> ShownCall:
    """Return the call behind the button that sends the event of an attempt again."""
    event_id = one.event_id or ""
    path = f"/api/orgs/{visit_of(request).org_id}/events/{path_part(event_id)}/send"
    body = {"destination_ids": [one.dst_id]}
    aegis = f"aegis event resend {quoted(event_id)} --destination {one.dst_id}"
    return shown_call(origin_of(request), "POST", path, body, aegis=aegis)


HANDLERS = [show_attempts, show_attempt, send_again]
