"""Headers of a destination as a person gives them: typed, in a file, in the environment; and which one is the auth header.

What was typed goes before the environment. No message repeats a value.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from .files import read_text

AUTH_NAME = "Authorization"
"""Name of the auth header where no other is given."""
VARIABLE = "AEGIS_HEADERS"
FILE_CHARACTERS_MAX = 1 << 20
"""A file beyond is no file of headers."""


class GivenHeaders(NamedTuple):
    """What a destination is to be given: the auth header or two times None, and the others by name."""

    auth_name: str | None
    auth_value: str | None
    others: dict[str, str]


def find_headers(context: click.Context, options: Mapping[str, Any]) -> GivenHeaders:
    """Put together what was given; a header of the auth header's name is the auth header.

    Args:
        options: `header`, `header_file`, `auth_header_name`, `auth_header_value`, `auth_header_value_stdin`.
    Raises: click.UsageError when something is given twice or without a value.
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
            "the auth header has no value: --auth-header-value, or AEGIS_AUTH_HEADER_VALUE"
        )
    others = dict((from_variable | typed).values())
    return GivenHeaders(auth_name, value, others) if value else GivenHeaders(None, None, others)


def _auth_value(context: click.Context, options: Mapping[str, Any], in_header: str | None) -> str | None:
    """Find the auth header's value, from one source only."""
    value, from_stdin = options["auth_header_value"], options["auth_header_value_stdin"]
    if context.get_parameter_source("auth_header_value") is ParameterSource.ENVIRONMENT and (
        in_header or from_stdin
    ):
        value = None
    if sum(bool(one) for one in (in_header, value, from_stdin)) > 1:
        raise click.UsageError("give the auth header in one way only")
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return in_header or value


def _from_file(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    path = options["header_file"]
    if path is None:
        return []
    if path == "-" and options["auth_header_value_stdin"]:
        raise click.UsageError("standard input is read once: --header-file - or --auth-header-value-stdin")
    text = read_text(path, "--header-file", FILE_CHARACTERS_MAX)
    return list(_parsed(text.splitlines(), "--header-file"))


def _parsed(lines: Iterable[str], source: str) -> Iterator[tuple[str, str]]:
    """Read lines like 'X-Scope-OrgID: tenant-1'; empty ones are nothing."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon or not value.strip():
            what = "there is no colon in" if not colon else "there is no value in"
            raise click.UsageError(f"{source} must be like 'X-Scope-OrgID: tenant-1': {what} number {number}")
        yield name.strip(), value.strip()


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for name, value in headers:
        if name.lower() in found:
            raise click.UsageError(f"the header {name} is given twice")
        found[name.lower()] = (name, value)
    return found
