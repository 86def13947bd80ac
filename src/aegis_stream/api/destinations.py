"""Forwarding destinations: made, read, changed, tested, paused, replayed; and what was attempted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from litestar import Request, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from aegis_stream.domain.audit import AdminAction, destination_action, destination_change, destination_view
from aegis_stream.domain.destination import MASK, Destination, DestinationSpec
from aegis_stream.domain.ids import RANDOM_BYTES, DestinationId, ReplayId, new_id
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.domain.times import to_text
from aegis_stream.domain.url import parse_url
from aegis_stream.errors import FieldProblem, Invalid
from aegis_stream.pipeline.redrive import range_by_sequence, range_by_time
from aegis_stream.store.around import with_before
from aegis_stream.store.attempts import AttemptRow
from aegis_stream.store.quotas import refuse_many_replays

from .audit import recorded_before, recorded_by
from .docs import errors
from .schemas import (
    DAMAGED,
    DeliveryBody,
    DeliveryList,
    DestinationBody,
    DestinationList,
    DestinationPatch,
    DestinationWrite,
    OAuth2Write,
    ReplayAccepted,
    ReplayBody,
    ReplayList,
    ReplayWrite,
    batch_of,
    destination_body,
    filter_of,
    headers_of,
    oauth2_of,
    retry_of,
    spec_of,
    time_text,
)
from .scopes import caller_of
from .service import (
    PAGE_DEFAULT,
    Service,
    decode_strict,
    moment,
    read_cursor,
    read_id_cursor,
    read_limit,
    service_of,
)

BASE = "/api/orgs/{org_id:str}/forwarding-destinations"
ONE = BASE + "/{destination_id:str}"
TAGS = ["Forwarding destinations"]

AnyRequest = Request[Any, Any, Any]


@post(BASE, tags=TAGS, responses=errors(403, 409))
async def create_destination(request: AnyRequest, data: JSONBody[DestinationWrite]) -> DestinationBody:
    """Make a destination; it receives events recorded from now on."""
    service = service_of(request)
    data = await decode_strict(request, data)
    principal = caller_of(request)
    spec = spec_of(data, service.settings)
    await service.check_spec(spec)
    now = service.clock.now()
    dst_id = DestinationId(new_id("dst", now, service.random.random_bytes(RANDOM_BYTES)))
    admin_action = AdminAction(
        "destination_create", "destination", dst_id, spec.name, after=destination_view(spec)
    )
    made = await recorded_before(request, admin_action).add_destination(
        principal.organization_no, dst_id, spec, now, service.settings.organization.destinations_max
    )
    service.notifier.notify_changes()
    return await _shown(service, made)


@get(BASE, tags=TAGS, responses=errors(403))
async def list_destinations(
    request: AnyRequest,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> DestinationList:
    """List destinations, oldest first."""
    service = service_of(request)
    principal = caller_of(request)
    count, after = read_limit(limit), read_id_cursor(cursor)
    found = await service.directory.destinations_of(principal.organization_no, after or "", count + 1)
    shown = [await _shown(service, one) for one in found[:count]]
    return DestinationList(shown, found[count - 1].dst_id if len(found) > count else None)


@get(ONE, tags=TAGS, responses=errors(403))
async def read_destination(request: AnyRequest, destination_id: FromPath[str]) -> DestinationBody:
    """Read a destination: its configuration without the credential, its state and its counts."""
    service, destination = await _find(request, destination_id, damaged_too=True)
    return await _shown(service, destination)


@patch(ONE, tags=TAGS, responses=errors(403))
async def change_destination(
    request: AnyRequest,
    destination_id: FromPath[str],
    data: JSONBody[DestinationPatch],
) -> DestinationBody:
    """Change some fields of a destination. Another host needs auth header, headers and oauth2 anew, or they are dropped."""
    service, destination = await _find(request, destination_id, damaged_too=True)
    data = await decode_strict(request, data)
    if destination.damaged and data.url is UNSET:
        raise Invalid(f"url is needed: {DAMAGED}", problems=(FieldProblem("url", f"is needed: {DAMAGED}"),))
    if data.url is not UNSET and MASK in data.url:
        message = f"contains {MASK}, the mask under which it is shown: send the whole URL, or leave it out to keep it"
        raise Invalid(f"url {message}", problems=(FieldProblem("url", message),))
    await service.check_spec(_changed(destination.spec, data, service))
    return await _change(
        request, "destination_change", destination, lambda spec: _changed(spec, data, service)
    )


@delete(ONE, status_code=204, tags=TAGS, responses=errors(403))
async def delete_destination(request: AnyRequest, destination_id: FromPath[str]) -> None:
    """Delete a destination, its credential, its retries and its dead letters."""
    service, principal = service_of(request), caller_of(request)
    destination = await service.destination(principal, destination_id, damaged_too=True)
    admin_action = destination_action(
        "destination_delete", destination, before=destination_view(destination.spec)
    )
    directory = recorded_by(request, lambda _: admin_action)
    await directory.delete_destination(principal.organization_no, destination_id, service.clock.now())
    service.notifier.notify_changes()


@post(ONE + "/pause", status_code=200, tags=TAGS, responses=errors(403))
async def pause_destination(request: AnyRequest, destination_id: FromPath[str]) -> DestinationBody:
    """Hold everything back until `resume`; nothing is lost, the backlog grows."""
    _, destination = await _find(request, destination_id)
    return await _change(request, "destination_pause", destination, lambda spec: replace(spec, enabled=False))


@post(ONE + "/resume", status_code=200, tags=TAGS, responses=errors(403))
async def resume_destination(request: AnyRequest, destination_id: FromPath[str]) -> DestinationBody:
    """Go on where `pause` stopped."""
    _, destination = await _find(request, destination_id)
    return await _change(request, "destination_resume", destination, lambda spec: replace(spec, enabled=True))


@post(ONE + "/replay", status_code=202, tags=TAGS, responses=errors(403, 409))
async def start_replay(
    request: AnyRequest, org_id: FromPath[str], destination_id: FromPath[str], data: JSONBody[ReplayWrite]
) -> ReplayAccepted:
    """Send a range of the log once more, beside the new events."""
    service, destination = await _find(request, destination_id)
    data = await decode_strict(request, data)
    organization, oldest = await service.directory.organization(org_id)
    stretch = (oldest, organization.head)
    if (data.from_ is UNSET) == (data.from_sequence is UNSET):
        message = "give either from (and to) as times, or from_sequence (and to_sequence)"
        raise Invalid(message, problems=(FieldProblem("from", message),))
    if data.from_ is not UNSET:
        if data.to_sequence is not UNSET:
            raise Invalid(
                "to_sequence does not go with from",
                problems=(FieldProblem("to_sequence", "does not go with from: use to"),),
            )
        until = moment(data.to, "to") if data.to is not UNSET else None
        since = moment(data.from_, "from")
        assert since is not None, "it was given, as checked above"
        first, last = await range_by_time(service.log, organization.no, stretch, since, until)
    else:
        if data.to is not UNSET:
            raise Invalid(
                "to does not go with from_sequence",
                problems=(FieldProblem("to", "does not go with from_sequence: use to_sequence"),),
            )
        assert not isinstance(data.from_sequence, UnsetType), "one of the two is set, as checked above"
        to_sequence = data.to_sequence if data.to_sequence is not UNSET else None
        first, last = range_by_sequence(stretch, data.from_sequence, to_sequence)
    if last < first:
        return ReplayAccepted(0, None)
    now = service.clock.now()
    replay_id = ReplayId(new_id("rpl", now, service.random.random_bytes(RANDOM_BYTES)))
    stretch_view = {"replay_id": replay_id, "from_sequence": first, "to_sequence": last}
    directory = recorded_by(
        request,
        lambda count: destination_action("replay_start", destination, after=stretch_view, count=count),
    )
    directory = with_before(
        directory,
        lambda unit: refuse_many_replays(unit, destination, service.settings.organization.replays_max),
    )
    count = await directory.add_replay(destination, replay_id, first, last, now)
    service.notifier.notify_changes()
    return ReplayAccepted(count, replay_id if count else None)


@get(ONE + "/replays", tags=TAGS, responses=errors(403))
async def list_replays(
    request: AnyRequest,
    destination_id: FromPath[str],
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> ReplayList:
    """List replays, newest first, with how far each has come."""
    service, destination = await _find(request, destination_id)
    count, before = read_limit(limit), read_id_cursor(cursor)
    rows = await service.directory.replays_of(destination, before or "~", count + 1)
    shown = [
        ReplayBody(
            row.replay_id,
            row.first,
            row.last,
            row.cursor,
            "running" if row.finished_at is None else "done" if row.cursor >= row.last else "cancelled",
            to_text(row.created_at),
            time_text(row.finished_at),
        )
        for row in rows[:count]
    ]
    return ReplayList(shown, shown[-1].id if len(rows) > count else None)


@delete(ONE + "/replays/{replay_id:str}", status_code=204, tags=TAGS, responses=errors(403))
async def cancel_replay(request: AnyRequest, destination_id: FromPath[str], replay_id: FromPath[str]) -> None:
    """Stop a replay where it is."""
    service, destination = await _find(request, destination_id)
    admin_action = destination_action("replay_cancel", destination, before={"replay_id": replay_id})
    directory = recorded_by(request, lambda _: admin_action)
    await directory.cancel_replay(destination, replay_id, service.clock.now())
    service.notifier.notify_changes()


@get(ONE + "/deliveries", tags=TAGS, responses=errors(403))
async def list_deliveries(
    request: AnyRequest,
    destination_id: FromPath[str],
    wanted: Annotated[str | None, QueryParameter(name="state")] = None,
    event_id: FromQuery[str | None] = None,
    limit: FromQuery[int] = PAGE_DEFAULT,
    cursor: FromQuery[str | None] = None,
) -> DeliveryList:
    """List attempts, newest first. The latency of first attempts that succeeded together is their mean."""
    service, destination = await _find(request, destination_id)
    if wanted not in (None, "delivered", "failed"):
        raise Invalid(
            "state must be delivered or failed",
            problems=(FieldProblem("state", "must be delivered or failed"),),
        )
    count, (before, below) = read_limit(limit), read_cursor(cursor, (2**62, 2**40))
    sequence = None
    if event_id is not None:
        entry = await service.log.entry(destination.organization_no, event_id)
        if entry is None:
            return DeliveryList([], None)
        sequence = entry.sequence
    rows = await service.directory.attempts(
        destination, state=wanted, sequence=sequence, before=before, limit=count + 1
    )
    return await _expand(service, destination, rows, (before, below, count, sequence))


async def _expand(
    service: Service,
    destination: Destination,
    rows: list[AttemptRow],
    window: tuple[int, int, int, int | None],
) -> DeliveryList:
    """Turn rows of the attempt log into single attempts: a run of alike successes stands in one row."""
    before, below, count, only = window
    shown: list[DeliveryBody] = []
    for row in rows:
        last = min(row.last, below - 1) if row.attempt_no == before else row.last
        first = row.first
        if only is not None:
            first = last = only
            if row.attempt_no == before and only >= below:
                continue
        lowest = max(first, last - (count - len(shown)) + 1)
        if last < lowest:
            if last >= first:
                return DeliveryList(shown, f"{row.attempt_no}.{last + 1}")
            continue
        names = await service.log.event_ids(destination.organization_no, lowest, last)
        shown.extend(
            _delivery(row, sequence, names.get(sequence)) for sequence in range(last, lowest - 1, -1)
        )
        if lowest > first:
            return DeliveryList(shown, f"{row.attempt_no}.{lowest}")
    return DeliveryList(shown, None)


def _delivery(row: AttemptRow, sequence: int, event_id: str | None) -> DeliveryBody:
    return DeliveryBody(
        id=f"{row.attempt_no}.{sequence}",
        event_id=event_id,
        sequence=sequence,
        attempt=row.attempt,
        state="delivered" if row.state == "delivered" else "failed",
        status_code=row.status_code,
        error=row.message,
        latency_ms=round(row.latency_us / 1000, 2),
        at=to_text(row.at),
    )


async def _find(
    request: AnyRequest, destination_id: str, *, damaged_too: bool = False
) -> tuple[Service, Destination]:
    service = service_of(request)
    return service, await service.destination(caller_of(request), destination_id, damaged_too=damaged_too)


async def _shown(service: Service, destination: Destination) -> DestinationBody:
    return destination_body(destination, await service.directory.progress(destination))


async def _change(
    request: AnyRequest,
    action: str,
    destination: Destination,
    change: Callable[[DestinationSpec], DestinationSpec],
) -> DestinationBody:
    """Change a destination in one transaction, together with the event that tells of it."""
    service, before = service_of(request), [destination.spec]

    def note_and_change(spec: DestinationSpec) -> DestinationSpec:
        before[0] = spec  # as it was in this transaction, not when it was looked up
        return change(spec)

    def describe(after: Destination) -> AdminAction:
        return destination_change(action, before[0], after)

    directory = recorded_by(request, describe)
    changed = await directory.change_destination(
        destination.organization_no,
        destination.dst_id,
        note_and_change,
        service.clock.now(),
        probe=service.settings.delivery.auto_redrive,
    )
    service.notifier.notify_changes()
    return await _shown(service, changed)


def _changed(spec: DestinationSpec, data: DestinationPatch, service: Service) -> DestinationSpec:
    """Apply a patch: what is left out stays, null goes back to the default."""
    changes: dict[str, Any] = {}
    for name in (
        "url",
        "auth_header_name",
        "auth_header_value",
        "name",
        "enabled",
        "format",
        "ca_certificate",
        "compression",
    ):
        if (value := getattr(data, name)) is not UNSET:
            changes[name] = value
    if data.filter is not UNSET:
        changes["filter"] = filter_of(data.filter)
    if data.batch is not UNSET:
        changes["batch"] = batch_of(data.batch)
    if data.retry is not UNSET:
        changes["retry"] = retry_of(data.retry, service.settings.retry.policy)
    if data.headers is not UNSET:
        changes["headers"] = headers_of(data.headers)
    moved = "url" in changes and not _same_origin(changes["url"], spec.url, service)
    if data.oauth2 is not UNSET:
        kept = "" if moved else _kept_secret(spec.oauth2, data.oauth2, service)
        changes["oauth2"] = oauth2_of(data.oauth2, kept)
    if moved:
        # A stored credential never follows to another host: whoever changes the URL may not know it.
        if "auth_header_value" not in changes:
            changes |= {"auth_header_name": None, "auth_header_value": None}
        changes.setdefault("headers", ())
        changes.setdefault("oauth2", None)
    return replace(spec, **changes)


def _kept_secret(stored: OAuth2 | None, patch: OAuth2Write | None, service: Service) -> str:
    """Return the client's secret where it may stay: it never follows to another token endpoint's host either."""
    if stored is None or patch is None or not _same_origin(patch.token_url, stored.token_url, service):
        return ""
    return stored.client_secret


def _same_origin(url: str, stored: str, service: Service) -> bool:
    try:
        new, old = (parse_url(one, allow_http=service.settings.egress.allow_http) for one in (url, stored))
    except Invalid:
        return False  # the check that follows says what is wrong with it
    return (new.scheme, new.host, new.port) == (old.scheme, old.host, old.port)


HANDLERS = [
    create_destination,
    list_destinations,
    read_destination,
    change_destination,
    delete_destination,
    pause_destination,
    resume_destination,
    start_replay,
    list_replays,
    cancel_replay,
    list_deliveries,
]
