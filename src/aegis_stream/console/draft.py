"""A destination that somebody is about to make: what was typed, what is wrong with it, and what it would be; pure.

Nothing typed is lost between two requests, and no secret comes back in plain text: the draft travels sealed in a hidden field, and a
secret's own field stays empty, which keeps what was typed before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from aegis_stream.control.destination_types import DestinationType, FieldKind, TypeField, check_values, fill
from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.domain.destination import HEADER_VALUE_CHARACTERS_MAX, DestinationSpec, Filter
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.preflight import Decision
from aegis_stream.domain.times import MICROS_MAX, from_text
from aegis_stream.errors import FieldProblem

from .forms import Form

DRAFT_S = 4 * 3600
"""How long a draft is kept, seconds."""
DRAFT_CHARACTERS_MAX = 200_000
"""Longest sealed draft, characters: a certificate has at most 64 KiB."""
SECRET_KINDS = (FieldKind.SECRET, FieldKind.SECRET_URL)
DECISIONS: tuple[Decision, ...] = ("ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED")
LIST_MAX = 50
HEADER_ROWS = range(3)
"""Rows for further headers; more are added in the settings."""


class Draft(msgspec.Struct, frozen=True):
    """What was typed so far.

    Args:
        type_id: kind of the destination.
        holder: whose it is: the key that its author signed in with.
        made_s: when it was sealed, seconds since 1970.
        values: of the type's fields.
        headers: name and value of each row for a further header, "" where nothing was typed.
        since: also send what was recorded since then, as it was typed; "" for new events only.
    """

    type_id: str
    holder: str = ""
    made_s: int = 0
    name: str = ""
    values: dict[str, str] = {}
    ca_certificate: str = ""
    datasets: list[str] = []
    decisions: list[str] = []
    since: str = ""
    headers: list[tuple[str, str]] = []

    @property
    def has_headers(self) -> bool:
        """Whether anything was typed into the rows of further headers."""
        return any(name or value for name, value in self.headers)

    def has_header_value(self, row: int) -> bool:
        """Tell whether a value was typed in a row."""
        return row < len(self.headers) and bool(self.headers[row][1])


def draft_of(one: DestinationType, form: Form, before: Draft | None) -> Draft:
    """Return what a form says, with the secrets of the draft before where their fields were left empty."""
    kept = before.values if before is not None and before.type_id == one.id else {}
    values = {}
    for field in one.fields:
        typed = form.one(f"v-{field.name}")
        if field.kind is FieldKind.HOST:
            typed = typed.rstrip("/")
        values[field.name] = typed or (kept.get(field.name, "") if field.kind in SECRET_KINDS else "")
    return Draft(
        one.id,
        name=form.one("name")[:200],
        values=values,
        ca_certificate=form.raw("ca_certificate").strip(),
        datasets=[name for name in form.one("datasets").replace(",", " ").split() if name][:LIST_MAX],
        decisions=[one for one in DECISIONS if one in form.all("decisions")],
        since=form.one("since") if form.one("start") == "since" else "",
        headers=_headers_of(form, before if kept else None),
    )


def _headers_of(form: Form, before: Draft | None) -> list[tuple[str, str]]:
    """Return the rows of further headers; an empty value keeps what was typed before."""
    kept = dict(enumerate(before.headers)) if before is not None else {}
    return [
        (
            form.one(f"h_name_{row}")[:200],
            form.one(f"h_value_{row}")[: HEADER_VALUE_CHARACTERS_MAX + 1] or kept.get(row, ("", ""))[1],
        )
        for row in HEADER_ROWS
    ]


def spec_of_draft(one: DestinationType, draft: Draft, default_retry: RetryPolicy) -> DestinationSpec:
    """Return the destination that a draft would make; its values must have passed `problems_of_draft`."""
    filled = fill(one, draft.values, default_retry)
    return replace(
        filled,
        headers=(*filled.headers, *((name, value) for name, value in draft.headers if name)),
        name=draft.name or one.name,
        ca_certificate=draft.ca_certificate or None,
        filter=filter_of_draft(draft),
    )


def filter_of_draft(draft: Draft) -> Filter:
    """Return which events a draft wants."""
    return Filter(tuple(draft.datasets), tuple(draft.decisions))


def since_of(draft: Draft) -> Micros | None:
    """Return since when events are sent again; None for new ones only, or a time that cannot be read."""
    if not draft.since:
        return None
    text = draft.since if draft.since.endswith("Z") or "+" in draft.since else f"{draft.since}:00Z"
    at = from_text(text if text.count(":") > 1 else f"{text[:-1]}:00Z")
    return at if at is not None and 0 <= at <= MICROS_MAX else None


def problems_of_draft(one: DestinationType, draft: Draft) -> list[FieldProblem]:
    """Say what is wrong with a draft as far as it can be told without a look at the network."""
    found = [FieldProblem(f"v-{each.field}", each.message) for each in check_values(one, draft.values)]
    if draft.since and since_of(draft) is None:
        found.append(FieldProblem("since", "must be a time such as 2026-05-15T10:33, in UTC"))
    found += [
        FieldProblem(f"h_name_{row}", "is required: the value beside it needs a name")
        for row, (name, value) in enumerate(draft.headers)
        if value and not name
    ]
    return found


def renamed(one: DestinationType, draft: Draft, problems: Sequence[FieldProblem]) -> dict[str, str]:
    """Return problems that the checks of a destination found, by the fields of the form that caused them."""
    found: dict[str, str] = {}
    for problem in problems:
        found.setdefault(_field_of(one, draft, problem.field), problem.message)
    return found


def shown_values(one: DestinationType, draft: Draft) -> Mapping[str, str]:
    """Return what the fields of the form show: no secrets."""
    return {
        field.name: "" if field.kind in SECRET_KINDS else draft.values.get(field.name, "")
        for field in one.fields
    }


def _field_of(one: DestinationType, draft: Draft, field: str) -> str:
    if field in ("name", "ca_certificate") or field.startswith(("v-", "since", "h_")):
        return field
    for row, (name, _) in enumerate(draft.headers):
        if name and field == f"headers.{name}":
            return f"h_value_{row}" if draft.has_header_value(row) else f"h_name_{row}"
    if field == "headers" and any(name for name, _ in draft.headers):
        return "h_name_0"
    if field.startswith("filter"):
        return "datasets"
    secrets, places = _fields_of(one, SECRET_KINDS), _fields_of(one, tuple(FieldKind))
    if field.startswith(("url", "oauth2.token_url")):
        return f"v-{places[0].name}"
    if field.startswith(("auth_header", "headers", "oauth2")) and secrets:
        return f"v-{secrets[0].name}"
    return ""


def _fields_of(one: DestinationType, kinds: tuple[FieldKind, ...]) -> list[TypeField]:
    return [field for field in one.fields if field.kind in kinds]
