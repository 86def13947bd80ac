"""What the routes stand on, and the few things that several of them do."""

import asyncio
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec
from litestar import Request

from aegis_stream.access import Access, Issuer, Principal
from aegis_stream.domain.destination import (
    Destination,
    DestinationSpec,
    auth_header_problems,
    header_problems,
    policy_problems,
)
from aegis_stream.domain.endpoint import Endpoint, Route
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.oauth2 import TOKEN_HEADER, oauth2_problems
from aegis_stream.domain.times import MICROS_MAX, from_datetime
from aegis_stream.domain.url import parse_url
from aegis_stream.errors import FieldProblem, Invalid, Malformed, Unsupported
from aegis_stream.netguard import NetGuard
from aegis_stream.pipeline.ingest import Ingest
from aegis_stream.pipeline.route import compression_problems, route_of
from aegis_stream.ports import Clock, Notifier, Random, Sender
from aegis_stream.settings import Settings
from aegis_stream.store.directory import StoredDirectory
from aegis_stream.store.log import StoredLog
from aegis_stream.telemetry import Log

from .counts import IngestCounts
from .schemas import Moment

RESOLVE_TIMEOUT_S = 2.0
"""Longest wait for a name when a destination is written; one that does not resolve now may do so later."""
PAGE_MAX = 200
_ID = re.compile(r"[a-z]{3}_[0-9A-Za-z_-]{1,60}")
PAGE_DEFAULT = 50


class Resolver(Protocol):
    """Looks up names."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name. Raises: OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """Everything a route may use."""

    access: Access
    issuer: Issuer
    ingest: Ingest
    counts: IngestCounts
    log: StoredLog
    directory: StoredDirectory
    sender: Sender
    resolver: Resolver
    guard: NetGuard
    clock: Clock
    random: Random
    notifier: Notifier
    telemetry: Log
    settings: Settings

    async def check_spec(self, spec: DestinationSpec) -> None:
        """Judge what a user wrote, all fields at once.

        Raises: Invalid with a problem per field.
        """
        auth_header_name = spec.auth_header_name if spec.oauth2 is None else TOKEN_HEADER
        problems = [
            *auth_header_problems(spec.auth_header_name, spec.auth_header_value),
            *header_problems(spec.headers, auth_header_name),
            *oauth2_problems(spec.oauth2, spec.auth_header_name),
            *policy_problems(spec),
            *compression_problems(spec),
        ]
        code = None  # of the kind of error; one of its own where the URL is all that is wrong
        urls = {"url": spec.url}
        if spec.oauth2 is not None:
            urls["oauth2.token_url"] = spec.oauth2.token_url
        for field, url in urls.items():
            try:
                await self._check_url(url)
            except Invalid as error:
                code = None if problems else error.code
                problems = [*(replace(one, field=field) for one in error.problems), *problems]
        if not problems:
            try:
                self.sender.open(self.route_of(spec)).close()
            except Invalid as error:
                problems = list(error.problems) or [FieldProblem("", error.message)]
        if problems:
            detail = "; ".join(f"{one.field}: {one.message}" for one in problems)
            raise Invalid(detail, code=code, problems=tuple(problems))

    def route_of(self, spec: DestinationSpec, org_id: str = "") -> Route:
        """Return where requests to a destination go. Raises: Invalid."""
        return route_of(spec, self.settings, org_id)

    async def destination(
        self, principal: Principal, destination_id: str, *, damaged_too: bool = False
    ) -> Destination:
        """Return a destination of the caller's organization.

        Args:
            damaged_too: without its secrets, too, when they do not open.
        Raises: NotFound. Unavailable when its secrets do not open.
        """
        return await self.directory.destination_of(
            principal.organization_no, destination_id, damaged_too=damaged_too
        )

    async def _check_url(self, url: str) -> None:
        """Judge how a URL is written and where it leads at present. Raises: Invalid."""
        endpoint = parse_url(url, allow_http=self.settings.egress.allow_http)
        refusal = self.guard.check_host(endpoint) or await self._refuse_addresses(endpoint)
        if refusal is not None:
            raise Invalid(refusal, code="forbidden-address", problems=(FieldProblem("url", refusal),))

    async def _refuse_addresses(self, endpoint: Endpoint) -> str | None:
        if endpoint.is_address:
            return None
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                addresses = await self.resolver.resolve(endpoint.host, endpoint.port)
        except (OSError, TimeoutError):
            return None  # not known (yet); every connection asks again before it is made
        return self.guard.check_all(addresses)


T = TypeVar("T")


async def decode_strict(request: Request[Any, Any, Any], data: T) -> T:
    """Decode a body once more, strictly: the framework takes "5" for 5 and 1 for true, and other media types.

    Raises: Unsupported, Malformed, Invalid with the field.
    """
    media = (request.headers.get("content-type") or "application/json").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Unsupported(f"Content-Type {media[:100]!r} is not taken: send application/json")
    body = await request.body()
    if data is None or not body:
        return data
    try:
        return msgspec.json.decode(body, type=type(data))
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        field = place.rstrip("`").lstrip(".")
        message = message.replace("`", "").replace("Expected", "expected")
        raise Invalid(f"{field} {message}", problems=(FieldProblem(field, message),)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"the body cannot be read: {error}") from error


def moment(value: datetime | str | None, field: str) -> Micros | None:
    """Turn a time from a request into microseconds. Raises: Invalid when it has no time zone or lies off the scale."""
    if value is None:
        return None
    message = "must be an RFC 3339 time with a time zone, from 1970 to 9999, such as 2026-05-15T10:33:21Z"
    try:
        at = from_datetime(value if isinstance(value, datetime) else msgspec.convert(value, Moment))
    except (msgspec.ValidationError, OverflowError):
        at = Micros(-1)
    if not 0 <= at <= MICROS_MAX:
        raise Invalid(f"{field} {message}", problems=(FieldProblem(field, message),))
    return at


def service_of(request: Request[Any, Any, Any]) -> Service:
    """Return the service that the application was made with."""
    service = request.app.state.service
    assert isinstance(service, Service), "create_app puts it there"
    return service


def read_limit(limit: int) -> int:
    """Check the query parameter `limit`. Raises: Invalid."""
    if not 1 <= limit <= PAGE_MAX:
        raise Invalid(
            f"limit must be 1 to {PAGE_MAX}", problems=(FieldProblem("limit", f"must be 1 to {PAGE_MAX}"),)
        )
    return limit


def read_id_cursor(cursor: str | None) -> str | None:
    """Check a query parameter `cursor` that is an identifier. Raises: Invalid."""
    if cursor is not None and not _ID.fullmatch(cursor):
        message = "must be the next_cursor of an earlier answer, unchanged"
        raise Invalid(f"cursor {message}", problems=(FieldProblem("cursor", message),))
    return cursor


def read_cursor(cursor: str | None, start: tuple[int, ...]) -> tuple[int, ...]:
    """Read the query parameter `cursor`: numbers with points between, as many as `start` has. Raises: Invalid."""
    if cursor is None:
        return start
    parts = cursor.split(".")
    if len(parts) != len(start) or not all(
        part.isascii() and part.isdecimal() and len(part) <= 18 for part in parts
    ):
        message = "must be the next_cursor of an earlier answer, unchanged"
        raise Invalid(f"cursor {message}", problems=(FieldProblem("cursor", message),))
    return tuple(int(part) for part in parts)
