"""Lines, strips and charts of pages that stay open change by themselves."""

import pytest

from support.processes import Client
from support.service import wait_until
from support.switch import switch

from .test_destination import make_destination, read
from .test_live import SOON_MS, event, live


@pytest.fixture
def receiver():
    """Run a receiver whose answers the test changes."""
    with switch() as receiver:
        yield receiver


@pytest.mark.stores
def test_drawings_move(service, organization, visitor, receiver):
    """The strip of the overview and the chart of a destination show, while somebody looks, what was delivered since the page was opened."""
    client = Client(service.url, organization)
    retry = {"max_attempts": 20, "base_seconds": 0.05, "max_seconds": 1}
    dst_id = make_destination(service, organization, receiver.url, retry=retry)
    visitor.open(f"/console/o/{organization.org_id}")
    live(visitor)
    page = visitor.page
    page.evaluate("window.same = true")
    cells = page.locator(".strip a:not(.none)")
    assert cells.count() == 0
    client.record([event("one")])
    page.get_by_text("1 delivered, 0 failed", exact=True).wait_for(timeout=SOON_MS)
    assert cells.last.get_attribute("class") == "ok"
    assert "all taken: 1 delivered" in cells.last.text_content()
    assert cells.last.get_attribute("href").startswith(f"/console/o/{organization.org_id}/d/{dst_id}?from=")
    assert page.evaluate("window.same"), "the page was not loaded again"
    wait_until(lambda: read(service, organization, dst_id)["stats"]["delivered"] == 1)

    visitor.open(f"/console/o/{organization.org_id}/d/{dst_id}?range=1h")
    live(visitor)
    page.evaluate("window.same = true")
    bars = page.locator(".bars .good").first
    before = bars.get_attribute("d")
    receiver.status = 503
    client.record([event("two")])
    page.locator("[data-total=c5xx]").wait_for(timeout=SOON_MS)
    receiver.status = 202
    client.record([event("three")])
    page.locator("[data-total=good]", has_text="3").wait_for(timeout=SOON_MS)
    visitor.look_over("health-live")

    assert bars.get_attribute("d") != before
    assert page.locator(".bars .c5xx").first.get_attribute("d") != ""
    assert page.locator("[data-total-row] td").first.text_content() == "1", "the table stays"
    assert page.evaluate("window.same"), "the page was not loaded again"
