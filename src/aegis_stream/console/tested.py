"""What a test told, as pages show it: the ladder in words, the request and the answer side by side, the request as a command."""

from typing import NamedTuple

from aegis_stream.control.destination_types import type_of
from aegis_stream.control.tested import SentTest
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.trace import Stage

from .curl import curl_of, variables_of
from .event_tree import pretty

WORDS = {
    Stage.TOKEN: "Token",
    Stage.RESOLVE: "Name",
    Stage.GUARD: "Address allowed",
    Stage.CONNECT: "Connected",
    Stage.TLS: "TLS",
    Stage.SEND: "Sent",
    Stage.ANSWER: "Answer",
}
"""A stage as a person reads it."""


_PLACE, _CREDENTIAL = "url", "auth_header_value"
_FIELDS = {
    Stage.TOKEN: "oauth2.client_secret",
    Stage.RESOLVE: _PLACE,
    Stage.GUARD: _PLACE,
    Stage.CONNECT: _PLACE,
    Stage.TLS: "ca_certificate",
}
_FIELD_OF_STATUS = {401: _CREDENTIAL, 403: _CREDENTIAL, 404: _PLACE, 405: _PLACE, 410: _PLACE}


class Rung(NamedTuple):
    """One stage of a test.

    Args:
        state: "passed", "failed" or "not reached".
        ms: None where no time is told.
    """

    name: str
    state: str
    ms: float | None
    detail: str


class Told(NamedTuple):
    """What a page shows of a test.

    Args:
        body: of the request, with indents where it is JSON; "" where it is not shown.
        curl: the request as a command; "" where it cannot be one.
        variables: what has to be set for the command, and what each stands for.
        trap: what an answer of this product does not tell; "" for nothing.
        check: the field that is most likely wrong, as label and link; None where none is.
    """

    sent: SentTest
    rungs: list[Rung]
    body: str
    curl: str
    variables: list[tuple[str, str]]
    trap: str
    check: tuple[str, str] | None

    @property
    def ok(self) -> bool:
        """Whether the event was taken."""
        return self.sent.error is None


def trap_of(spec: DestinationSpec) -> str:
    """Return what an answer of a destination's kind does not tell; "" where its kind is not known."""
    one = type_of(spec)
    return one.trap if one is not None else ""


def wrong_field(sent: SentTest) -> str:
    """Return the field of a destination, as the API calls it, that a failed test makes look wrong; "" for none."""
    failed = next((one.name for one in sent.stages if one.ok is False), None)
    if failed is Stage.ANSWER:
        return _FIELD_OF_STATUS.get(sent.status_code or 0, "")
    return _FIELDS.get(failed, "") if failed is not None else ""


def told_of(sent: SentTest, trap: str = "", check: tuple[str, str] | None = None) -> Told:
    """Return what a page shows of a test.

    Args:
        check: label and link of the field that `wrong_field` names, where the page has one.
    """
    states = {True: "passed", False: "failed", None: "not reached"}
    rungs = [Rung(WORDS[one.name], states[one.ok], one.ms, one.detail) for one in sent.stages]
    request = sent.request
    body = request.body.decode("utf-8", "replace") if request.body is not None else ""
    is_command = bool(body and request.url)
    return Told(
        sent,
        rungs,
        pretty(body) or body,
        curl_of(request) if is_command else "",
        variables_of(request) if is_command else [],
        trap,
        check,
    )
