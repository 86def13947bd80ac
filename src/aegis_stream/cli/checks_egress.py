"""The checks of `aegis doctor` beyond this machine: certificate authorities, addresses of destinations, connections.

Host names are resolved and the guard checks every address, as before each delivery. Connections are made only on request
and only to addresses that the guard allows; they are closed without sending a request.
"""

import asyncio
import contextlib
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from aegis_stream.domain.destination import Destination
from aegis_stream.domain.endpoint import Endpoint
from aegis_stream.domain.url import parse_url
from aegis_stream.errors import AegisError, Invalid, Misconfigured
from aegis_stream.sender import DnsResolver, LookUps, TrustStore
from aegis_stream.settings import Settings
from aegis_stream.wiring.outbound import make_guard

from .checks import Finding, listed

RESOLVE_TIMEOUT_S = 5.0
AT_ONCE_MAX = 16
"""Destinations that are checked at the same time."""
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
"""OpenSSL's reasons when the answer to a handshake is not TLS."""


class _Target(NamedTuple):
    """Where destinations send; destinations that share it are checked once."""

    endpoint: Endpoint
    ca_certificate: str | None


def check_trust(settings: Settings) -> Iterator[Finding]:
    """Check that there are trusted certificate authorities."""
    source = (
        str(settings.egress.ca_bundle)
        if settings.egress.ca_bundle
        else "the system's certificate authorities"
    )
    try:
        context = TrustStore(str(settings.egress.ca_bundle) if settings.egress.ca_bundle else None).context(
            None
        )
    except Misconfigured as error:
        yield Finding(
            "TLS", "problem", error.message, "set AEGIS_CA_BUNDLE to a PEM file of certificate authorities"
        )
        return
    count = context.cert_store_stats()["x509_ca"]
    if count or (settings.egress.ca_bundle is None and _has_folder_of_authorities()):
        yield Finding("TLS", "ok", f"{source} can be read{f': {count} of them' if count else ''}")
    else:
        remedy = "install the package ca-certificates, or set AEGIS_CA_BUNDLE to a PEM file"
        yield Finding("TLS", "problem", f"{source}: there are none, so every https destination fails", remedy)


async def check_destinations(
    settings: Settings, destinations: list[Destination], *, connect: bool
) -> list[Finding]:
    """Check every destination and its token endpoint with the guard, and connect to them if asked to."""
    targets, refused, findings = dict[_Target, list[str]](), dict[str, list[str]](), list[Finding]()
    for one in destinations:
        oauth2 = one.spec.oauth2
        for url in (one.spec.url, *([oauth2.token_url] if oauth2 is not None else [])):
            try:
                endpoint = parse_url(url, allow_http=settings.egress.allow_http)
                targets.setdefault(_Target(endpoint, one.spec.ca_certificate), []).append(one.dst_id)
            except Invalid as error:
                refused.setdefault(error.message, []).append(one.dst_id)
    findings += [
        _bad(listed(ids), "", text, "change the URL of the destination") for text, ids in refused.items()
    ]
    checker = _TargetChecker(settings, connect=connect)
    gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def judge(target: _Target) -> tuple[str, str] | None:
        async with gate:
            return await checker.fault(target)

    faults = await asyncio.gather(*(judge(one) for one in targets))
    for (target, ids), fault in zip(targets.items(), faults, strict=True):
        if fault is not None:
            findings.append(_bad(listed(ids), f" at {target.endpoint.host}", *fault))
    reached = "accept connections" if connect else "have allowed addresses"
    if not findings:
        findings.append(Finding("egress", "ok", f"all {len(destinations)} destinations {reached}"))
    if not connect and targets:
        findings.append(
            Finding(
                "egress",
                "note",
                "connections to destinations were not tested",
                "run `aegis doctor --egress` to connect to each of them",
            )
        )
    return findings


class _TargetChecker:
    """Checks one target after the other, with the guard and the trusted authorities of deliveries."""

    def __init__(self, settings: Settings, *, connect: bool) -> None:
        self._guard = make_guard(settings)
        self._resolver = LookUps(DnsResolver()).of("")
        self._trust = TrustStore(str(settings.egress.ca_bundle) if settings.egress.ca_bundle else None)
        self._timeout_s = settings.delivery.request_timeout_seconds
        self._connect = connect

    async def fault(self, target: _Target) -> tuple[str, str] | None:
        """Return what is wrong with a target and what to do, or None."""
        endpoint = target.endpoint
        refusal = self._guard.check_host(endpoint)
        addresses = [endpoint.host]
        if refusal is None and not endpoint.is_address:
            try:
                async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                    addresses = await self._resolver.resolve(endpoint.host, endpoint.port)
            except (OSError, ValueError, TimeoutError):
                return "the host name does not resolve", "check the name, and the name server of this machine"
            refusal = self._guard.check_all(addresses)
        if refusal is not None:
            return (
                refusal,
                "change the URL, or AEGIS_ALLOWED_NETWORKS if the message names it",
            )
        return await self._fault_of_connection(target, addresses) if self._connect else None

    async def _fault_of_connection(self, target: _Target, addresses: list[str]) -> tuple[str, str] | None:
        fault: tuple[str, str] | None = None
        for address in addresses:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._open(target, address)
            except TimeoutError:
                fault = (
                    f"no connection within {self._timeout_s:g} s",
                    "look for a firewall between this machine and the receiver",
                )
            except ssl.SSLCertVerificationError as error:
                fault = (
                    f"its certificate is not trusted: {error.verify_message}",
                    "set ca_certificate to the certificate of its authority",
                )
            except ssl.SSLError as error:
                fault = _fault_of_tls(error)
            except OSError as error:
                text = os.strerror(error.errno).lower() if error.errno else "the connection was lost"
                fault = (
                    f"no connection: {text}",
                    "check that the receiver is running, and that no firewall blocks it",
                )
            except AegisError as error:
                fault = error.message, "change the destination"
            else:
                return None
        return fault

    async def _open(self, target: _Target, address: str) -> None:
        """Connect and close. Raises: OSError, ssl.SSLError, AegisError."""
        endpoint = target.endpoint
        tls = endpoint.scheme == "https"
        _, writer = await asyncio.open_connection(
            address,
            endpoint.port,
            ssl=self._trust.context(target.ca_certificate) if tls else None,
            server_hostname=endpoint.host if tls else None,
        )
        writer.close()
        with contextlib.suppress(OSError):  # the connection was open: how it closes does not matter
            await writer.wait_closed()


def _fault_of_tls(error: ssl.SSLError) -> tuple[str, str]:
    if error.reason in _NOT_TLS:
        return (
            "no TLS session: the receiver speaks http, not https",
            "check the port, or the scheme of the URL",
        )
    return (
        f"no TLS session: {error.reason or 'the handshake failed'}",
        "check the port, and the certificate of the receiver",
    )


def _bad(ids: str, where: str, detail: str, remedy: str) -> Finding:
    return Finding("egress", "problem", f"{ids}{where}: {detail}", remedy)


def _has_folder_of_authorities() -> bool:
    """Whether the system has a directory of authorities, which are read one by one when they are needed."""
    folder = ssl.get_default_verify_paths().capath
    return bool(folder) and any(Path(folder).iterdir())
