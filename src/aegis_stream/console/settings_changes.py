"""What the form of a destination's settings would change: as a patch for the use case, and in words for the person; pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.domain.destination import BatchPolicy, DestinationSpec, Filter, mask_url
from aegis_stream.domain.patch import DestinationPatch, HeadersPatch, OAuth2Patch, apply_patch
from aegis_stream.errors import FieldProblem, Invalid

from .settings_form import (
    BATCH,
    HEADER_NAMES,
    HEADERS,
    LABELS,
    RETRY,
    ROWS,
    SettingsDraft,
    differences,
    shown_fields,
)

WHOLE = (*BATCH, "max_attempts")
"""Fields that are whole numbers."""
TESTED = (
    *("url", "auth_header_name", "auth_header_value", "headers", "oauth2"),
    *("format", "compression", "ca_certificate"),
)
"""Fields of a destination on which it depends whether it takes a request."""


class Change(NamedTuple):
    """One field before and after, as it may be shown."""

    label: str
    before: str
    after: str


def patch_of_draft(draft: SettingsDraft, spec: DestinationSpec) -> DestinationPatch:
    """Return the changes of a draft: only what was touched.

    Args:
        spec: what is stored, for policies of which the form shows a part.
    Raises: Invalid with a problem for each field that cannot be read.
    """
    typed, secrets, touched = draft.typed, draft.secrets, draft.touched
    numbers = _numbers(typed, touched)
    header: Any = (typed["auth_header_name"] or None) if "auth_header_name" in touched else UNSET
    secret: Any = secrets.get("auth_header_value") or (None if header is None else UNSET)
    given: dict[str, Any] = {
        name: typed[name] for name in ("name", "url", "format", "compression") if name in touched
    }
    if touched & {"datasets", "decisions"}:
        datasets = tuple(one.strip() for one in typed["datasets"].splitlines() if one.strip())
        given["filter"] = Filter(datasets, tuple(one for one in typed["decisions"].split(",") if one))
    if touched & set(BATCH):
        given["batch"] = BatchPolicy(**{name: numbers.get(name, getattr(spec.batch, name)) for name in BATCH})
    if touched & set(RETRY):
        given["retry"] = _retry(spec.retry, numbers)
    if "ca_certificate" in touched:
        given["ca_certificate"] = typed["ca_certificate"] or None
    if touched & {"token_url", "client_id", "oauth_scope", "client_secret"}:
        given["oauth2"] = _oauth2(typed, secrets)
    if touched & HEADERS:
        given["headers"] = _headers(typed, secrets)
    return DestinationPatch(auth_header_name=header, auth_header_value=secret, **given)


def masked(draft: SettingsDraft, spec: DestinationSpec, patch: DestinationPatch | None) -> SettingsDraft:
    """Return the draft with the mask of its URL, if that was typed and is a credential itself."""
    if draft.typed["url"] == draft.base["url"]:
        return draft
    after = apply_patch(spec, patch) if patch is not None else spec
    has_credential = after.auth_header_value is not None or after.oauth2 is not None
    mask = "" if has_credential else mask_url(draft.typed["url"])
    return msgspec.structs.replace(draft, url_mask=mask if mask != draft.typed["url"] else "")


def changes_of(before: DestinationSpec, after: DestinationSpec, url: str) -> list[Change]:
    """Return what a change would change, as it may be shown: of a secret only whether it is set, replaced or removed.

    Args:
        url: the URL before, as it may be shown.
    """
    has_credential = after.auth_header_value is not None or after.oauth2 is not None
    new_url = url if after.url == before.url else after.url if has_credential else mask_url(after.url)
    was, now = shown_fields(before, url), shown_fields(after, new_url)
    changes = [
        Change(LABELS[name], _one_line(name, one), _one_line(name, other))
        for name, (one, other) in differences(was, now).items()
        if name not in (*HEADER_NAMES, "ca_certificate")
    ]
    if was["url"] == now["url"] and before.url != after.url:
        changes.append(Change(LABELS["url"], url, "replaced"))
    secrets = [
        (LABELS["auth_header_value"], before.auth_header_value, after.auth_header_value),
        (
            LABELS["client_secret"],
            before.oauth2.client_secret if before.oauth2 else None,
            after.oauth2.client_secret if after.oauth2 else None,
        ),
    ]
    old, new = dict(before.headers), dict(after.headers)
    secrets += [(f"Header {name}", old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new])]
    changes += [
        Change(label, "set" if one is not None else "none", _replaced(one, other))
        for label, one, other in secrets
        if one != other
    ]
    if was["ca_certificate"] != now["ca_certificate"]:
        name = "ca_certificate"
        changes.append(Change(LABELS[name], _certificate(was[name]), _certificate(now[name])))
    return changes


def is_tested(before: DestinationSpec, after: DestinationSpec) -> bool:
    """Tell whether a change is tested before it is saved: whether requests go elsewhere, or look otherwise."""
    return any(getattr(before, name) != getattr(after, name) for name in TESTED)


def _one_line(name: str, text: str) -> str:
    return ", ".join(text.splitlines()) or ("all" if name in ("datasets", "decisions") else "none")


def _replaced(before: str | None, after: str | None) -> str:
    if after is None:
        return "removed"
    return "set" if before is None else "replaced"


def _certificate(text: str) -> str:
    """Return a certificate in a few words: by its digest two are told apart."""
    return f"set, SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]}…" if text else "none"


def _numbers(typed: Mapping[str, str], touched: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    problems = []
    for name in (*BATCH, *RETRY):
        if name not in touched:
            continue
        try:
            found[name] = int(typed[name]) if name in WHOLE else float(typed[name])
        except ValueError:
            kind = "a whole number, such as 500" if name in WHOLE else "a number, such as 1.5"
            problems.append(FieldProblem(name, f"must be {kind}"))
    if problems:
        raise Invalid("a number cannot be read", problems=tuple(problems))
    return found


def _retry(stored: RetryPolicy, numbers: Mapping[str, Any]) -> RetryPolicy:
    return replace(stored, **{name: value for name, value in numbers.items() if name in RETRY})


def _oauth2(typed: Mapping[str, str], secrets: Mapping[str, str]) -> OAuth2Patch | None:
    parts = (typed["token_url"], typed["client_id"], typed["oauth_scope"])
    if not any(parts):
        return None
    secret: str | UnsetType = secrets.get("client_secret") or UNSET
    return OAuth2Patch(parts[0], parts[1], secret, parts[2])


def _headers(typed: Mapping[str, str], secrets: Mapping[str, str]) -> HeadersPatch:
    problems = [
        FieldProblem(f"h_name_{row}", "is required: the value beside it needs a name")
        for row in ROWS
        if f"h_value_{row}" in secrets and not typed[f"h_name_{row}"]
    ]
    if problems:
        raise Invalid("a header has no name", problems=tuple(problems))
    return tuple(
        (name, secrets.get(f"h_value_{row}") or UNSET) for row in ROWS if (name := typed[f"h_name_{row}"])
    )
