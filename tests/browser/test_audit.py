"""A person looks who changed what."""

import pytest

from support.browser import LOOKS


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_trail_of_a_key(visitor, organization):
    """What is done appears as a sentence; its values open; filters are in the URL, and Back restores what was shown."""
    page, trail = visitor.page, f"/console/o/{organization.org_id}/audit"
    for name in ("first", "second"):
        visitor.open(f"/console/o/{organization.org_id}/keys")
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Make a key").click()
        page.get_by_text("shown this once").wait_for()
    visitor.open(trail)
    page.get_by_text("created key second").wait_for()
    page.locator("summary", has_text="values").first.click()
    visitor.look_over("audit")
    page.get_by_label("To what").fill("first")
    page.get_by_label("What", exact=True).select_option("created key")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("created key second").wait_for(state="detached")
    assert "target=first" in page.url
    assert "action=key_create" in page.url
    visitor.look_over("audit-filtered")
    page.go_back()
    page.get_by_text("created key second").wait_for()
