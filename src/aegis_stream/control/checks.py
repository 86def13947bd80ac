"""Is a destination's configuration acceptable? All fields are checked at once."""

import asyncio
import socket
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

RESOLVE_TIMEOUT_S = 2.0
"""Longest wait for a name when a destination is saved; one of which nobody tells now may resolve later."""
NOWHERE = (
    "the host does not resolve, or points to a forbidden address: check the name; a destination must be public, or in a "
    "network that the operator has allowed (AEGIS_ALLOWED_NETWORKS)"
)

_LOCALHOST = "; localhost also stands for ::1: write 127.0.0.1, or allow ::1/128 as well"


async def check_spec(
    deps: ControlDeps, caller: Caller, spec: DestinationSpec, before: DestinationSpec | None = None
) -> None:
    """Check a destination's configuration.

    Args:
        before: what it was; host names of URLs that do not change are not looked up, since another field must be changeable
            although the name has ceased to exist.
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
    urls, known = _urls_of(spec), _urls_of(before) if before is not None else {}
    for field, url in urls.items():
        try:
            await _check_url(deps, caller, url, known.get(field))
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


def _urls_of(spec: DestinationSpec) -> dict[str, str]:
    return {"url": spec.url} | (
        {"oauth2.token_url": spec.oauth2.token_url} if spec.oauth2 is not None else {}
    )


async def _check_url(deps: ControlDeps, caller: Caller, url: str, known: str | None) -> None:
    """Check how a URL is written and where it leads now. Raises: Invalid."""
    endpoint = parse_url(url, allow_http=deps.settings.egress.allow_http)
    refusal = deps.guard.check_host(endpoint)
    if refusal is None and not endpoint.is_address and url != known:
        refusal = await _refuse_name(deps, caller, endpoint)
    if refusal is not None:
        raise Invalid(refusal, code="forbidden-address", problems=(FieldProblem("url", refusal),))


async def _refuse_name(deps: ControlDeps, caller: Caller, endpoint: Endpoint) -> str | None:
    """Look a name up. One that leads to a forbidden address gets the answer of one that does not exist.

    Otherwise a tenant could find out which names there are in the service's network. Where no name server answers, nobody
    knows what exists, and all are accepted: the guard checks again at every connection.
    """
    assert caller.principal is not None, "only keys of an organization may call this"
    deps.access.require_probes(caller.principal)
    addresses = await _addresses(deps, caller, endpoint.host, endpoint.port)
    if addresses and deps.guard.check_all(addresses) is None:
        return None
    deps.access.count_probe(caller.principal, endpoint.host)
    if addresses and endpoint.host == "localhost":
        return f"{NOWHERE}{_LOCALHOST}"
    if addresses:
        label = deps.random.random_bytes(8).hex()
        beside = f"{label}.{endpoint.host.partition('.')[2]}"
        addresses = await _addresses(deps, caller, beside, endpoint.port)
    return NOWHERE if addresses is not None else None


async def _addresses(deps: ControlDeps, caller: Caller, host: str, port: int) -> list[str] | None:
    """Return the addresses of a name, none if it has none; None if nobody tells now."""
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            return await deps.look_ups.of(caller.org_id).resolve(host, port)
    except socket.gaierror as error:
        return [] if error.errno == socket.EAI_NONAME else None
    except (OSError, ValueError, TimeoutError):
        return None
