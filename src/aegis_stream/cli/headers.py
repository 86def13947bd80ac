"""Headers of a destination, from options, a file or the environment, and which of them is the auth header.

Options and files take precedence over the environment. No message repeats a value.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from .files import read_text

AUTH_NAME = "Authorization"
"""Default name of the auth header."""
VARIABLE = "AEGIS_HEADERS"
FILE_CHARACTERS_MAX = 1 << 20
"""A longer file is not a file of headers."""


class GivenHeaders(NamedTuple):
    """The headers of a destination: the auth header, or None twice, and the others by name."""

    auth_name: str | None
    auth_value: str | None
    others: dict[str, str]


def find_headers(context: click.Context, options: Mapping[str, Any]) -> GivenHeaders:
    """Collect the headers; one that has the auth header's name is the auth header.

    Args:
        options: `header`, `header_file`, `auth_header_name`, `auth_header_value`, `auth_header_value_stdin`.
    Raises: click.UsageError when a header is given twice or has no value.
    """
    auth_name = options["auth_header_name"] or AUTH_NAME
    typed = _by_name([*_parsed(options["header"], "--header"), *_from_file(options)])
    auth_name, in_header = typed.pop(auth_name.lower(), (auth_name, None))
    value = _auth_value(context, options, in_header)
    from_variable = _by_name(_parsed(os.environ.get(VARIABLE, "").splitlines(), VARIABLE))
    _, in_variable = from_variable.pop(auth_name.lower(), ("", None))
    value = value or in_variable
    if not value and (options["auth_header_name"] or options["auth_header_value_stdin"]):
        raise click.UsageError(
            "the auth header has no value: set AEGIS_AUTH_HEADER_VALUE, or give --auth-header-value"
        )
    others = dict((from_variable | typed).values())
    return GivenHeaders(auth_name, value, others) if value else GivenHeaders(None, None, others)


def _auth_value(context: click.Context, options: Mapping[str, Any], in_header: str | None) -> str | None:
    """Return the auth header's value, which may come from one source only."""
    value, from_stdin = options["auth_header_value"], options["auth_header_value_stdin"]
    if context.get_parameter_source("auth_header_value") is ParameterSource.ENVIRONMENT and (
        in_header or from_stdin
    ):
        value = None
    if sum(bool(one) for one in (in_header, value, from_stdin)) > 1:
        raise click.UsageError(
            "the auth header is given more than once: keep one of --header, --header-file, --auth-header-value and --auth-header-value-stdin"
        )
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return in_header or value


def _from_file(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    path = options["header_file"]
    if path is None:
        return []
    if path == "-" and options["auth_header_value_stdin"]:
        raise click.UsageError(
            "standard input can be read only once: give either --header-file - or --auth-header-value-stdin"
        )
    text = read_text(path, "--header-file", FILE_CHARACTERS_MAX)
    return list(_parsed(text.splitlines(), "--header-file"))


def _parsed(lines: Iterable[str], source: str) -> Iterator[tuple[str, str]]:
    """Read lines like 'X-Scope-OrgID: tenant-1'; blank lines are skipped."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon or not value.strip():
            what = "colon" if not colon else "value"
            raise click.UsageError(
                f"{source} number {number} has no {what}: write it like 'X-Scope-OrgID: tenant-1'"
            )
        yield name.strip(), value.strip()


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for name, value in headers:
        if name.lower() in found:
            raise click.UsageError(f"the header {name} is given twice: remove one")
        found[name.lower()] = (name, value)
    return found
