"""Destinations of a running service, made and read by the API."""

from typing import Any

import httpx

from support.service import CERTIFICATES, Organization, RunningService


def make_destination(service: RunningService, organization: Organization, url: str, **more: Any) -> str:
    """Create a destination by the API; returns its id."""
    answer = httpx.post(
        f"{service.url}/api/orgs/{organization.org_id}/forwarding-destinations",
        json={"url": url, "name": "Elastic prod", **more},
        headers={"Authorization": f"Bearer {organization.key}"},
        trust_env=False,
        verify=CERTIFICATES,
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def read(service: RunningService, organization: Organization, dst_id: str) -> Any:
    """Read a destination by the API."""
    path = f"{service.url}/api/orgs/{organization.org_id}/forwarding-destinations/{dst_id}"
    headers = {"Authorization": f"Bearer {organization.key}"}
    return httpx.get(path, headers=headers, trust_env=False, verify=CERTIFICATES, timeout=30).json()


class OrganizationApi:
    """The API of an organization, with its key."""

    def __init__(self, service: RunningService, organization: Organization) -> None:
        self._base = f"{service.url}/api/orgs/{organization.org_id}"
        self._headers = {"Authorization": f"Bearer {organization.key}"}

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Make one call; return its JSON."""
        answer = httpx.request(
            method,
            self._base + path,
            headers=self._headers,
            trust_env=False,
            verify=CERTIFICATES,
            timeout=30,
            **options,
        )
        assert answer.is_success, answer.text
        return answer.json()
