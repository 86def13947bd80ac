"""The destination that the options of `destination add` describe, as the API takes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .headers import find_headers
from .oauth2 import find_oauth2


def body_of(context: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of the request: only fields that were given, so that the service fills in the others.

    Raises: click.UsageError.
    """
    if (options["target"] is None) == (options["to"] is None):
        raise click.UsageError("give the destination's URL once: as the argument or as --to")
    headers, oauth2 = find_headers(context, options), find_oauth2(options)
    body = {
        "url": options["target"] or options["to"],
        "auth_header_name": headers.auth_name,
        "auth_header_value": headers.auth_value,
        "headers": headers.others or None,
        "oauth2": oauth2,
        "name": options["name"],
        "enabled": False if options["disabled"] else None,
        "format": options["format_name"],
        "compression": options["compression"],
        "ca_certificate": _read_certificate(options["ca_certificate"]),
        "filter": _given(options, {"datasets": "datasets", "decisions": "decisions"}),
        "batch": _given(options, {one: f"batch_{one}" for one in ("max_events", "max_bytes", "max_wait_ms")}),
        "retry": _given(
            options,
            {one: f"retry_{one}" for one in ("max_attempts", "base_seconds", "multiplier", "max_seconds")},
        ),
    }
    return {field: value for field, value in body.items() if value is not None}


def _given(options: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the options that were given, by the names of their fields; None if there are none."""
    given = {field: options[option] for field, option in names.items() if options[option] not in (None, ())}
    return given or None


def _read_certificate(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(
            f"{path} is not a readable PEM file", param_hint="--ca-certificate"
        ) from error
