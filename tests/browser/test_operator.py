"""The operator looks after all organizations."""

import pytest

from support.browser import LOOKS


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_operator_enters_an_organization(service, open_window, organization):
    """The page shows all organizations; one is entered to read, and changed only after its id was typed."""
    visitor = open_window()
    page = visitor.page
    visitor.sign_in(service.environment["AEGIS_OPERATOR_KEY"])
    page.get_by_role("heading", name="Organizations, the worst first").wait_for()
    visitor.look_over("operator")
    page.get_by_role("button", name=f"Enter {organization.org_id}").click()
    page.get_by_text("You look at this organization, read only").wait_for()
    assert page.get_by_role("button", name="Send one for me").count() == 0
    page.get_by_role("link", name="Read only: change…").click()
    visitor.look_over("operator-write")
    page.get_by_label(f"Type {organization.org_id}").fill(organization.org_id)
    page.get_by_role("button", name="Allow changes").click()
    page.get_by_role("button", name="Send one for me").wait_for()
    visitor.open(f"/console/o/{organization.org_id}/audit")
    page.get_by_text("asked to make changes in organization").last.wait_for()


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_operator_gives_somebody_a_link(service, open_window):
    """After an organization was made, a link to its console can be made, and opens it for somebody else."""
    visitor, guest = open_window(), open_window()
    page = visitor.page
    visitor.sign_in(service.environment["AEGIS_OPERATOR_KEY"])
    page.get_by_label("Name").fill("Given away")
    page.get_by_role("button", name="Make an organization").click()
    page.get_by_role("button", name="Make a link").click()
    page.get_by_role("heading", name="Link made").wait_for()
    visitor.look_over("operator-link")
    url = page.get_by_text("/console/link#aegis_cl_").inner_text()
    guest.open("/console/link#" + url.partition("#")[2])
    guest.page.get_by_role("button", name="Open the console").click()
    guest.page.get_by_role("heading", name="Three steps").wait_for()
