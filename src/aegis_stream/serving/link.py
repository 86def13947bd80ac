"""The link that `aegis serve` prints for whoever started it, so that nobody types a key to see the console."""

import sys
from typing import TextIO

from aegis_stream.control import console_links
from aegis_stream.control.deps import StoreDeps
from aegis_stream.domain.console_link import SECONDS_DEFAULT, console_url
from aegis_stream.errors import AegisError

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here
"""Addresses to listen on that no browser can open, and which one leads there from this machine."""


def wants_link(*, asked: bool | None, log_format: str, output: TextIO) -> bool:
    """Tell whether to print a link: as asked, else on a terminal alone, unless the log is JSON all the same.

    Elsewhere the output ends in a journal or is shipped to a SIEM, and whoever reads it there could open the console. Containers
    are given a terminal too, but whoever ships their output sets the log's format.

    Args:
        asked: None when nobody said.
        log_format: the setting.
        output: where it would be printed.
    """
    return (output.isatty() and log_format != "json") if asked is None else asked


async def print_link(deps: StoreDeps, host: str, port: int) -> None:
    """Print a link that opens the operator's pages once, on standard error: it is no line of the log.

    Args:
        host: the address that the service listens on.
    """
    try:
        made = await console_links.create_for_operator(deps)
    except AegisError as error:
        told = f"no link to the console: {error.message}"
    else:
        url = console_url(origin_for(host, port), made.token)
        told = f"open the console, once, within {SECONDS_DEFAULT // 60} minutes: {url}"
    sys.stderr.write(f"  {told}\n")
    sys.stderr.flush()


def origin_for(host: str, port: int) -> str:
    """Return the address at which a browser on this machine reaches the service."""
    name = _ANY.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
