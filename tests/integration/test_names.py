"""Names that tenants choose: what their name servers may cost the others, and what must go on working."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from aegis_stream.sender import DnsResolver, LookUps
from aegis_stream.sender.look_ups import ADDRESSES_MAX, LOOK_UP_S, TooManyAddresses
from support.name_server import NameServer, serving_names

SOON_S = 2.0
"""Much longer than an answer takes, much shorter than the wait for a silent name server."""


@asynccontextmanager
async def resolving(
    script: Callable[[str], list[str] | None], *domains: str
) -> AsyncIterator[tuple[DnsResolver, NameServer]]:
    """Make a resolver that asks a name server with this script."""
    async with serving_names(script) as server:
        resolver = DnsResolver((f"127.0.0.1:{server.port}",), domains)
        try:
            yield resolver, server
        finally:
            resolver.close()


async def test_both_families_in_turn():
    """A name's IPv6 and IPv4 addresses are returned in turn, each once."""
    answer = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "192.0.2.1"]
    async with resolving(lambda _: answer) as (resolver, _):
        found = await resolver.resolve("siem.example", 443)

    assert sorted(found) == sorted(set(answer))
    assert found[0] == "2001:db8::1"


async def test_hosts_file_is_read():
    """Names of the hosts file resolve without a name server."""
    resolver = DnsResolver(("127.0.0.1:9",))

    found = await resolver.resolve("localhost", 443)
    resolver.close()

    assert "127.0.0.1" in found


async def test_search_domains_are_tried():
    """A short name resolves within the search domains of the machine."""
    script = {"siem.corp.example": ["192.0.2.9"]}
    async with resolving(lambda name: script.get(name, []), "corp.example") as (
        resolver,
        _,
    ):
        assert await resolver.resolve("siem", 443) == ["192.0.2.9"]


@pytest.mark.parametrize("host", ["gone.example", "a..b", f"{'a' * 64}.example"])
async def test_a_name_that_does_not_exist(host):
    """A name that does not exist, or is not a name, is told apart from a name server that does not answer."""
    async with resolving(lambda _: []) as (resolver, _):
        with pytest.raises(socket.gaierror) as caught:
            await resolver.resolve(host, 443)

    assert caught.value.errno == socket.EAI_NONAME


async def test_a_silent_name_server_is_given_up():
    """A look-up ends although the name server never answers."""
    async with resolving(lambda _: None) as (resolver, _):
        began = time.monotonic()
        with pytest.raises(socket.gaierror) as caught:
            await LookUps(resolver).of("org_a").resolve("siem.example", 443)

    assert caught.value.errno == socket.EAI_AGAIN
    assert time.monotonic() - began < LOOK_UP_S + SOON_S


@pytest.mark.parametrize("organizations", [1, 3])
async def test_dead_names_delay_nobody_else(organizations):
    """Hundreds of names without an answer do not delay the look-ups of another organization."""

    def script(name: str) -> list[str] | None:
        return None if "dead" in name else ["192.0.2.1"]

    async with resolving(script) as (resolver, _):
        look_ups = LookUps(resolver)
        await look_ups.of("org_good").resolve("first.example", 443)
        dead = [
            asyncio.ensure_future(look_ups.of(f"org_{i % organizations}").resolve(f"h{i}.dead.example", 443))
            for i in range(400)
        ]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        for i in range(10):
            await look_ups.of("org_good").resolve(f"siem{i}.example", 443)
        took_s = time.monotonic() - began
        look_ups.close()
        await asyncio.gather(*dead, return_exceptions=True)

    assert took_s < SOON_S


@pytest.mark.parametrize("count", [ADDRESSES_MAX + 1, 4000])
async def test_too_many_addresses_are_a_failure(count):
    """A name with too many addresses does not resolve, and the reason names the limit; with as many as allowed it does."""
    answer = [f"10.{i // 250}.{i % 250}.1" for i in range(count)]
    async with resolving(lambda _: answer) as (resolver, _):
        look_ups = LookUps(resolver)
        with pytest.raises(TooManyAddresses, match="the limit is 64"):
            await look_ups.of("org_a").resolve("many.example", 443)
        del answer[ADDRESSES_MAX:]
        found = await look_ups.of("org_b").resolve("fewer.example", 443)

    assert found == answer
