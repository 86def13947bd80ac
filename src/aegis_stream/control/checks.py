"""Is a destination's configuration acceptable? All fields are checked at once."""

import asyncio
from dataclasses import replace

from aegis_stream.domain.destination import (
    DestinationSpec,
    auth_header_problems,
    header_problems,
    policy_problems,
)
from aegis_stream.domain.endpoint import Endpoint
from aegis_stream.domain.oauth2 import TOKEN_HEADER, oauth2_problems
from aegis_stream.domain.url import parse_url
from aegis_stream.errors import FieldProblem, Invalid
from aegis_stream.pipeline.route import compression_problems, route_of

from .caller import Caller
from .deps import ControlDeps
from .redaction import FORBIDDEN

RESOLVE_TIMEOUT_S = 2.0
"""Longest wait for a name when a destination is saved; one that does not resolve now may do so later."""

_LOCALHOST = "; localhost also stands for ::1: write 127.0.0.1, or allow ::1/128 as well"


async def check_spec(deps: ControlDeps, caller: Caller, spec: DestinationSpec) -> None:
    """Check a destination's configuration.

    Raises: Invalid with a problem for each field.
    """
    auth_header_name = spec.auth_header_name if spec.oauth2 is None else TOKEN_HEADER
    problems = [
        *auth_header_problems(spec.auth_header_name, spec.auth_header_value),
        *header_problems(spec.headers, auth_header_name),
        *oauth2_problems(spec.oauth2, spec.auth_header_name),
        *policy_problems(spec),
        *compression_problems(spec),
    ]
    code = None  # that of Invalid; a more specific one where the URL is the only problem
    urls = {"url": spec.url}
    if spec.oauth2 is not None:
        urls["oauth2.token_url"] = spec.oauth2.token_url
    for field, url in urls.items():
        try:
            await _check_url(deps, caller, url)
        except Invalid as error:
            code = None if problems else error.code
            problems = [*(replace(one, field=field) for one in error.problems), *problems]
    if not problems:
        try:
            deps.sender.open(route_of(spec, deps.settings)).close()
        except Invalid as error:
            problems = list(error.problems) or [FieldProblem("", error.message)]
    if problems:
        detail = "; ".join(f"{one.field}: {one.message}" for one in problems)
        raise Invalid(detail, code=code, problems=tuple(problems))


async def _check_url(deps: ControlDeps, caller: Caller, url: str) -> None:
    """Check how a URL is written and where it leads now. Raises: Invalid."""
    endpoint = parse_url(url, allow_http=deps.settings.egress.allow_http)
    refusal = deps.guard.check_host(endpoint) or await _refuse_addresses(deps, caller, endpoint)
    if refusal is not None:
        raise Invalid(refusal, code="forbidden-address", problems=(FieldProblem("url", refusal),))


async def _refuse_addresses(deps: ControlDeps, caller: Caller, endpoint: Endpoint) -> str | None:
    if endpoint.is_address:
        return None
    assert caller.principal is not None, "only keys of an organization may call this"
    deps.access.require_probes(caller.principal)
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            addresses = await deps.look_ups.of(caller.org_id).resolve(endpoint.host, endpoint.port)
    except (OSError, ValueError, TimeoutError):
        deps.access.count_probe(caller.principal, endpoint.host)
        return None  # unknown for now; the guard checks again at every connection
    if deps.guard.check_all(addresses) is None:
        return None
    # One text for all: tenants must not learn in which network an internal name is.
    deps.access.count_probe(caller.principal, endpoint.host, forbidden=True)
    return f"{FORBIDDEN}{_LOCALHOST if endpoint.host == 'localhost' else ''}"
