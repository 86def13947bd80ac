"""What our service sends for events, and how it judges the answer: everything but store and schedule is real.

The route is the one that the service makes of a destination's settings, the sender the one of `wiring`, the body the format's.
"""

import asyncio
import re
from collections.abc import Sequence

from aegis_stream.domain.attempt import Answer, Verdict
from aegis_stream.domain.destination import Compression, DestinationSpec
from aegis_stream.formats import resolve, when_compressed
from aegis_stream.netguard import parse_networks
from aegis_stream.pipeline.compress import compressed
from aegis_stream.pipeline.route import route_of
from aegis_stream.wiring.outbound import make_sender
from support.pages import format_text
from support.settings import make_settings

LOOPBACK = make_settings(allow_http=True, allowed_networks=parse_networks("127.0.0.0/8"))


def credential(name: str, secret: str) -> tuple[str, str]:
    """Return the auth header that a format's page tells a user to set: its name, and the secret behind the scheme named first."""
    row = re.search(r"^\| credential \| `([\w-]+)`: (?:`(\w+) [^`]+`)?", format_text(name), re.MULTILINE)
    assert row is not None, f"the page of {name} says nothing about credentials"
    header, scheme = row.groups()
    return header, f"{scheme} {secret}" if scheme else secret


def path(name: str, pattern: str, **parts: str) -> str:
    """Return a path that a format's page names, with its <parts> filled in."""
    assert re.search(rf"`[^`\n]*{re.escape(pattern)}`", format_text(name)), (
        f"the page of {name} has no {pattern}"
    )
    for part, value in parts.items():
        pattern = pattern.replace(f"<{part}>", value)
    return pattern


def parameter(name: str, parameter_name: str) -> str:
    """Return the value of a parameter that a format's page says is added to the URL."""
    row = re.search(
        rf"^\| added to the URL \| `{re.escape(parameter_name)}=([^`]+)`", format_text(name), re.MULTILINE
    )
    assert row is not None, f"the page of {name} adds no {parameter_name}"
    return row[1]


def send(
    url: str,
    bodies: Sequence[bytes],
    auth: tuple[str, str] | None = None,
    *,
    name: str = "auto",
    compression: Compression = "none",
) -> list[Verdict]:
    """Send stored events as one request; return the verdict on each.

    Args:
        auth: name and value of the auth header.
        name: of the format.
    """
    header, value = auth or (None, None)
    spec = DestinationSpec(url, header, value, format=name, compression=compression)
    format_ = when_compressed(resolve(name, url), compression)
    answer = asyncio.run(_post(spec, bodies))
    verdicts = format_.interpret(answer, len(bodies))
    return verdicts if isinstance(verdicts, list) else [verdicts] * len(bodies)


async def _post(spec: DestinationSpec, bodies: Sequence[bytes]) -> Answer:
    sender = make_sender(LOOPBACK)
    channel = sender.open(route_of(spec, LOOPBACK))
    try:
        return await channel.post(compressed(resolve(spec.format, spec.url).encode(bodies), spec.compression))
    finally:
        channel.close()
        sender.close()
        await asyncio.sleep(0)  # for the loop to drop the socket
