"""A person makes, rotates and revokes keys."""

import re

import pytest

from support.browser import LOOKS


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_life_of_a_key(visitor, organization):
    """A key is made, shown once, rotated with an overlap, and revoked by its word."""
    page = visitor.page
    visitor.open(f"/console/o/{organization.org_id}/keys")
    visitor.look_over("keys")
    page.get_by_label("Name").fill("collector")
    page.get_by_role("button", name="Make a key").click()
    page.get_by_text("shown this once").wait_for()
    visitor.look_over("key-made")
    assert re.search(r"aegis_sk_[\w-]{43}", page.content())
    page.get_by_role("link", name="All keys").click()
    page.get_by_role("link", name="collector").click()
    visitor.look_over("key")
    page.get_by_label("This key ends").select_option("in a day")
    page.get_by_role("button", name="Make the new key").click()
    page.get_by_text("The old key ends in a day.").wait_for()
    page.get_by_role("link", name="All keys").click()
    page.get_by_role("link", name="collector").first.click()
    page.get_by_label("Type revoke").fill("no")
    visitor.expected.append("422")
    page.get_by_role("button", name="Revoke this key").click()
    page.get_by_text("must be the word revoke").first.wait_for()
    visitor.look_over("key-refused")
    page.get_by_label("Type revoke").fill("revoke")
    page.get_by_role("button", name="Revoke this key").click()
    page.get_by_text("The key was revoked").wait_for()
    assert page.get_by_role("link", name="collector").count() == 1


def test_keys_without_scripts(open_window, organization):
    """Making and revoking a key needs no JavaScript."""
    visitor = open_window(scripts=False)
    visitor.sign_in(organization.key)
    page = visitor.page
    visitor.open(f"/console/o/{organization.org_id}/keys")
    page.get_by_label("Name").fill("collector")
    page.get_by_role("button", name="Make a key").click()
    page.get_by_role("link", name="All keys").click()
    page.get_by_role("link", name="collector").click()
    page.get_by_label("Type revoke").fill("revoke")
    page.get_by_role("button", name="Revoke this key").click()
    page.get_by_text("The key was revoked").wait_for()
    assert page.get_by_role("link", name="collector").count() == 0
