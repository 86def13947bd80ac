"""A person finds out why events do not arrive."""

import httpx
import pytest

from support.browser import LOOKS


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_why_events_do_not_arrive(service, visitor, organization):
    """The page shows how to send, and after a look at a key each request with the reason why it was refused."""
    page, sources = visitor.page, f"/console/o/{organization.org_id}/sources"
    visitor.open(sources)
    visitor.look_over("sources")
    page.get_by_role("link", name="Look at requests of first admin key").click()
    page.get_by_text("No request of this key since you began to look").wait_for()
    for body in ({"event": {"id": 5}}, {"event": {"id": "e1", "dataset": "my.app"}}):
        httpx.post(
            f"{service.url}/api/orgs/{organization.org_id}/events",
            json=body,
            headers={"Authorization": f"Bearer {organization.key}"},
            trust_env=False,
        )
    page.get_by_role("link", name="Look again").click()
    page.get_by_role("cell", name="422").wait_for()
    assert page.get_by_role("cell", name="202").count() == 1
    visitor.look_over("sources-requests")
