"""Tests of destinations: JSON shapes."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from aegis_stream.control.stages import Certificate
from aegis_stream.control.tested import SentTest
from aegis_stream.domain.times import to_text

from .deliveries import HeaderBody, RequestBody, request_body

StageName = Literal["token", "resolve", "guard", "connect", "tls", "send", "answer"]
"""The stages of aegis_stream.domain.trace.Stage, written out so that the API's document names them."""


class StageBody(msgspec.Struct):
    """One stage of a test. `ok` is null for one that was not reached, `ms` where no time is told."""

    name: StageName
    ok: bool | None
    ms: float | None
    detail: str


class CertificateBody(msgspec.Struct):
    """The certificate of a destination that was trusted: who signed it, when it ends, and how many whole days are left."""

    issuer: str
    expires_at: str
    days_left: int


class TestBody(msgspec.Struct, omit_defaults=True):
    """The result of a test event: whether it was taken, and the stages that it went through.

    `request` is what was sent; `error`, `response_excerpt` and `response_headers` are there when it failed, `warning` when it was
    taken although something is wrong.
    """

    ok: bool
    status_code: int | None
    latency_ms: float
    stages: list[StageBody]
    certificate: CertificateBody | None
    request: RequestBody
    error: str | UnsetType = UNSET
    response_excerpt: str | UnsetType = UNSET
    response_headers: list[HeaderBody] | UnsetType = UNSET
    warning: str | UnsetType = UNSET


def tested_body(sent: SentTest) -> TestBody:
    """Show what became of a test event."""
    ok = sent.error is None
    return TestBody(
        ok,
        sent.status_code,
        sent.latency_ms,
        [StageBody(one.name.value, one.ok, one.ms, one.detail) for one in sent.stages],
        _certificate_body(sent.certificate),
        request_body(sent.request),
        UNSET if sent.error is None else sent.error,
        UNSET if ok else sent.excerpt,
        UNSET if ok else [HeaderBody(*one) for one in sent.response_headers],
        sent.warning or UNSET,
    )


def _certificate_body(found: Certificate | None) -> CertificateBody | None:
    if found is None:
        return None
    return CertificateBody(found.issuer, to_text(found.expires_at), found.days_left)
