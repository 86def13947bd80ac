"""Where the requests of a destination go, and with which headers: pure, used by workers and by the test button.

What is allowed may have changed since the destination was stored, so its URL is checked again for every route.
"""

from dataclasses import replace

from aegis_stream.domain.destination import DestinationSpec, Headers
from aegis_stream.domain.endpoint import Grant, Route
from aegis_stream.domain.url import parse_url
from aegis_stream.errors import FieldProblem, Invalid
from aegis_stream.formats import compression_problem, resolve, with_query
from aegis_stream.settings import Settings


def route_of(spec: DestinationSpec, settings: Settings, org_id: str = "") -> Route:
    """Return where requests to a destination go, and with which headers.

    Args:
        org_id: the organization whose connections these are; "" where nothing is sent.
    Raises: Invalid when the URL is no longer allowed, or its format does not support the compression.
    """
    endpoint = parse_url(spec.url, allow_http=settings.egress.allow_http)
    if problems := compression_problems(spec):
        raise Invalid(f"compression {problems[0].message}", problems=tuple(problems))
    headers: Headers = ()
    if spec.auth_header_name is not None and spec.auth_header_value is not None:
        headers = ((spec.auth_header_name, spec.auth_header_value),)
    headers += spec.headers
    if spec.compression != "none":
        headers += (("Content-Encoding", spec.compression),)
    format_ = resolve(spec.format, spec.url)
    return Route(
        replace(endpoint, target=with_query(format_, endpoint.target)),
        headers,
        spec.ca_certificate,
        settings.delivery.request_timeout_seconds,
        format_.answer_bytes_max,
        org_id,
        _grant_of(spec, settings, org_id),
    )


def compression_problems(spec: DestinationSpec) -> list[FieldProblem]:
    """Return why a destination's requests cannot be compressed as it wants; empty when they can."""
    problem = compression_problem(resolve(spec.format, spec.url), spec.compression)
    return [FieldProblem("compression", problem)] if problem is not None else []


def _grant_of(spec: DestinationSpec, settings: Settings, org_id: str) -> Grant | None:
    """Return how to ask for tokens; the destination's own authorities are trusted there as well. Raises: Invalid."""
    if spec.oauth2 is None:
        return None
    endpoint = parse_url(spec.oauth2.token_url, allow_http=settings.egress.allow_http)
    route = Route(endpoint, (), spec.ca_certificate, settings.delivery.request_timeout_seconds, org_id=org_id)
    return Grant(route, spec.oauth2.form())
