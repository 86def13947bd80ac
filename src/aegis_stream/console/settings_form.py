"""The form of a destination's settings: its fields, and what was typed into them; pure.

Nothing typed is lost between two requests, and no secret comes back in plain text: the draft travels sealed in a hidden field. It
also holds what the page showed when it was opened, so that a change by somebody else is told apart from one of one's own.
"""

import hashlib
from collections.abc import Mapping

import msgspec

from aegis_stream.domain.destination import HEADERS_MAX, DestinationSpec
from aegis_stream.formats import AUTO, REGISTRY

from .draft import DECISIONS
from .forms import Form

DRAFT_S = 4 * 3600
"""How long a draft is kept, seconds."""
DRAFT_CHARACTERS_MAX = 800_000
"""Longest sealed draft, characters: it holds a certificate of at most 64 KiB twice."""
FIELD_CHARACTERS_MAX = 100_000
"""Most characters of a field that a draft keeps; a certificate has at most 64 KiB."""
ROWS = range(HEADERS_MAX)
FORMATS = (AUTO, *REGISTRY)
COMPRESSIONS = ("none", "gzip", "zstd")

LABELS = {
    "name": "Name",
    "url": "URL",
    "auth_header_name": "Name of the auth header",
    "auth_header_value": "Credential",
    "datasets": "Datasets",
    "decisions": "Decisions",
    "format": "Format",
    "compression": "Compression",
    "max_events": "Most events in a request",
    "max_bytes": "Most bytes in a request",
    "max_wait_ms": "Longest wait for a full batch, ms",
    "max_attempts": "Attempts before the dead letter",
    "base_seconds": "Delay before the second attempt, s",
    "multiplier": "Growth of the delay",
    "max_seconds": "Longest delay, s",
    "ca_certificate": "Certificate of the authority",
    "token_url": "Token URL",
    "client_id": "Client id",
    "client_secret": "Client secret",
    "oauth_scope": "Scope",
} | {
    f"{what}{row}": f"{label} of header {row + 1}"
    for row in ROWS
    for what, label in (("h_name_", "Name"), ("h_value_", "Value"))
}
"""Every field of the form, in its words."""
SECRETS = ("auth_header_value", "client_secret", *(f"h_value_{row}" for row in ROWS))
"""Fields whose value is never shown; empty keeps what is stored."""
SHOWN = tuple(name for name in LABELS if name not in SECRETS)
HEADER_NAMES = tuple(f"h_name_{row}" for row in ROWS)
BATCH, RETRY = (
    ("max_events", "max_bytes", "max_wait_ms"),
    ("max_attempts", "base_seconds", "multiplier", "max_seconds"),
)
HEADERS = {*HEADER_NAMES, *(one for one in SECRETS if one.startswith("h_"))}
"""Fields of further headers: a row each."""


class SettingsDraft(msgspec.Struct, frozen=True):
    """What somebody is changing.

    Args:
        holder: who; another person's draft does not open.
        made_s, opened_s: when it was sealed, and when the page was opened, seconds since 1970.
        mark: what was stored then: `mark_of`.
        base: what the fields showed then.
        typed: what they hold now.
        secrets: secrets that were typed.
        url_mask: what the URL's field shows in place of a typed URL that is a credential; "" when it shows it.
    """

    dst_id: str
    holder: str
    made_s: int
    opened_s: int
    mark: str
    base: dict[str, str]
    typed: dict[str, str]
    secrets: dict[str, str] = {}
    url_mask: str = ""

    @property
    def touched(self) -> set[str]:
        """Names of the fields that differ from what the page showed, and of the secrets that were typed."""
        return {name for name in SHOWN if self.typed[name] != self.base[name]} | set(self.secrets)


def shown_fields(spec: DestinationSpec, url: str) -> dict[str, str]:
    """Return what the fields show of a stored configuration: no secrets.

    Args:
        url: the URL as it may be shown.
    """
    oauth2, names = spec.oauth2, spec.header_names
    shown = {
        "name": spec.name,
        "url": url,
        "auth_header_name": spec.auth_header_name or "",
        "datasets": "\n".join(spec.filter.datasets),
        "decisions": ",".join(one for one in DECISIONS if one in spec.filter.decisions),
        "format": spec.format,
        "compression": spec.compression,
        "ca_certificate": (spec.ca_certificate or "").strip(),
        "token_url": oauth2.token_url if oauth2 is not None else "",
        "client_id": oauth2.client_id if oauth2 is not None else "",
        "oauth_scope": oauth2.scope if oauth2 is not None else "",
    }
    shown |= {name: _plain(getattr(spec.batch, name)) for name in BATCH}
    shown |= {name: _plain(getattr(spec.retry, name)) for name in RETRY}
    shown |= {f"h_name_{row}": names[row] if row < len(names) else "" for row in ROWS}
    return {name: value.strip() for name, value in shown.items()}  # as a form returns them


def mark_of(spec: DestinationSpec) -> str:
    """Return by what a stored configuration is known again, secrets included; it is only ever kept sealed."""
    return hashlib.sha256(msgspec.json.encode(spec)).hexdigest()


def read_fields(form: Form, before: SettingsDraft) -> SettingsDraft:
    """Return the draft with what a form says; a secret that was typed before stays where its field is empty."""
    typed = {}
    for name in SHOWN:
        if name == "decisions":
            typed[name] = ",".join(one for one in DECISIONS if one in form.all(name))
        else:
            typed[name] = form.one(name, before.typed[name])[:FIELD_CHARACTERS_MAX]
    if before.url_mask and typed["url"] == before.url_mask:
        typed["url"] = before.typed["url"]
    secrets = {
        name: value
        for name in SECRETS
        if (value := form.one(name)[:FIELD_CHARACTERS_MAX] or before.secrets.get(name, ""))
    }
    return msgspec.structs.replace(before, typed=typed, secrets=secrets, url_mask="")


def rebased(draft: SettingsDraft, spec: DestinationSpec, url: str, now_s: int) -> SettingsDraft:
    """Return a draft of what is stored now: fields that were changed keep what was typed, all others show what is stored."""
    base, touched = shown_fields(spec, url), draft.touched
    if touched & HEADERS:
        touched |= set(HEADER_NAMES)  # rows belong together: theirs would stand beside values of ours
    typed = {name: draft.typed[name] if name in touched else base[name] for name in SHOWN}
    return msgspec.structs.replace(draft, base=base, typed=typed, mark=mark_of(spec), opened_s=now_s)


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the shown fields that differ, by name."""
    return {name: (before[name], after[name]) for name in SHOWN if before[name] != after[name]}


def field_of(draft: SettingsDraft, field: str) -> str:
    """Return the field of the form to which a problem of the checks belongs; "" for the whole form."""
    head, _, rest = field.partition(".")
    if head == "headers":
        rows = [row for row in ROWS if draft.typed[f"h_name_{row}"].lower() == rest.lower()]
        return f"h_value_{rows[-1]}" if rest and rows else "h_name_0"
    if head == "oauth2":
        return {"scope": "oauth_scope", "": "client_secret"}.get(rest, rest)
    known = rest if head in ("batch", "retry", "filter") else head
    return known if known in LABELS else ""


def _plain(value: float) -> str:
    """Return a number as one types it: 60, 0.05."""
    return str(int(value)) if float(value).is_integer() else repr(value)
