"""Promises of OAuth2, with Microsoft Sentinel configured as on its page: tokens are fetched, and nothing is lost when one is revoked or unavailable."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest

from support.arrival import QUICK, audit_events, forward
from support.pages import calls_of, read_page, sections_of
from support.processes import Client
from support.service import running_service, wait_until
from support.stubs import Sentinel, serving
from support.stubs.frame import Received, Reply, Stub, as_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ASKED = {
    "grant_type": ["client_credentials"],
    "client_id": ["value-of-AZURE_CLIENT_ID"],
    "client_secret": ["value-of-AZURE_CLIENT_SECRET"],
    "scope": ["https://monitor.azure.com/.default"],
}
"""The values of the page, as a token endpoint gets them."""


@dataclass
class Entra(Stub):
    """Microsoft Entra's token endpoint: returns a token that Sentinel then accepts, and no other."""

    sentinel: Sentinel = field(default_factory=Sentinel)

    name = "entra"
    paths = "/value-of-AZURE_TENANT_ID/oauth2/v2.0/token"
    target = "/value-of-AZURE_TENANT_ID/oauth2/v2.0/token"
    media_types = frozenset({"application/x-www-form-urlencoded"})
    faults = frozenset({"refuse"})

    def take(self, request: Received) -> Reply:
        if parse_qs(request.body.decode()) != ASKED or self.has("refuse"):
            return as_json(401, {"error": "invalid_client", "error_description": "AADSTS7000215"})
        self.stored.append(f"token-{len(self.stored) + 1}")
        self.sentinel.token = self.stored[-1]
        return as_json(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": self.stored[-1]})


@dataclass
class RevokingSentinel(Sentinel):
    """Sentinel, which revokes the first token after a number of requests."""

    revoke_after: int = 0

    def take(self, request: Received) -> Reply:
        if len(self.requests) == self.revoke_after:
            self.token = "none yet"
        return super().take(request)


def configured(entra: Entra) -> dict[str, Any]:
    """Return the destination of the page, with the stub of the token endpoint instead of the real one."""
    sent = calls_of(sections_of(read_page("microsoft-sentinel"))["What to POST here"])[0].sent()
    assert sent["oauth2"]["token_url"] == f"https://login.microsoftonline.com{entra.target}"
    return {"oauth2": sent["oauth2"] | {"token_url": entra.url}}


def test_every_event_arrives_although_a_token_is_revoked(tmp_path):
    """All events arrive once, with tokens that the service fetched; the 401 of a revoked token does not count as an attempt."""
    sentinel = RevokingSentinel(revoke_after=3)
    entra = Entra(sentinel=sentinel)
    with serving(sentinel, entra), running_service(tmp_path, **QUICK) as service:
        client = Client(service.url, service.make_organization())
        events = audit_events(client.organization.org_id)
        done = forward(client, events, sentinel.url, batch={"max_events": 50}, **configured(entra))

    assert (done["stats"]["delivered"], done["stats"]["failed_attempts"]) == (len(events), 0)
    assert sorted(sentinel.ids()) == sorted(events)
    assert entra.stored == ["token-1", "token-2"]
    assert {one.headers["authorization"] for one in sentinel.requests} == {"Bearer token-1", "Bearer token-2"}


def test_no_token_for_a_while_loses_nothing(tmp_path):
    """While the client is rejected, the destination says so and events wait; the test button says the same; later all events arrive."""
    sentinel = Sentinel()
    entra = Entra(sentinel=sentinel)
    entra.fail("refuse")
    retry = {"max_attempts": 2, "base_seconds": 0.2, "multiplier": 1, "max_seconds": 1}
    with serving(sentinel, entra), running_service(tmp_path) as service:
        client = Client(service.url, service.make_organization())
        events = audit_events(client.organization.org_id)
        dst_id = client.add_destination(sentinel.url, retry=retry, **configured(entra))
        bodies = list(events.values())
        for first in range(0, len(bodies), 200):
            client.record(bodies[first : first + 200])

        def destination() -> dict[str, Any]:
            return client.request("GET", f"/forwarding-destinations/{dst_id}")

        failing = wait_until(lambda: found if (found := destination())["status"] == "failing" else None)
        tested = client.request("POST", f"/forwarding-destinations/{dst_id}/test")
        entra.mend()
        wait_until(lambda: destination()["stats"]["delivered"] >= len(events), seconds=90)
        well = client.request("POST", f"/forwarding-destinations/{dst_id}/test")

    message = "the token endpoint answered 401: check client_id and client_secret"
    assert (failing["last_error"]["message"], tested["error"], tested["ok"]) == (message, message, False)
    assert well["ok"] is True
    assert set(sentinel.ids()) >= set(events)
    assert "AADSTS" not in str([failing, tested])
