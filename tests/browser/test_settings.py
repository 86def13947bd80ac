"""A person changes the settings of a destination."""

import pytest

from support.browser import LOOKS, Visitor, visiting
from support.destinations import make_destination, read
from support.service import running_service


def change(visitor: Visitor, home: str, dst_id: str) -> None:
    """Change name, filter, retries and a header, with a mistake on the way, and look at what changes."""
    page = visitor.page
    visitor.open(f"{home}/d/{dst_id}/settings")
    page.get_by_label("Name optional").first.fill("Elastic new")
    page.get_by_label("Name of the auth header").fill("Authorization")
    page.get_by_label("Credential").fill("ApiKey c4n4ry-of-the-browser")
    page.get_by_text("Which events it gets").click()
    page.get_by_label("Datasets").fill("my.app\nother.app")
    page.get_by_label("BLOCKED").check()
    page.get_by_text("Retries", exact=True).click()
    page.get_by_label("Attempts before the dead letter").fill("500")
    page.get_by_text("Further headers").click()
    page.get_by_label("Name of header 1").fill("X-Tenant")
    page.get_by_label("Value of header 1").fill("c4n4ry-of-the-header")
    page.get_by_role("button", name="Look at the changes").click()
    page.get_by_role("alert").get_by_text("must be 1 to 20").wait_for()


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_every_kind_of_setting(service, organization, receiver, open_window, scripts):
    """A mistake keeps everything typed, the comparison shows what changes and no secret, and after saving it is so."""
    dst_id = make_destination(service, organization, receiver.url)
    home = f"/console/o/{organization.org_id}"
    visitor = open_window(scripts=scripts)
    visitor.expected.append("422")
    visitor.sign_in(organization.key)
    page = visitor.page
    change(visitor, home, dst_id)
    if scripts:
        visitor.look_over("settings-refused")
    kept = page.get_by_label("Datasets").input_value()
    refused = page.content()
    page.get_by_label("Attempts before the dead letter").fill("5")
    page.get_by_role("button", name="Look at the changes").click()
    page.get_by_role("heading", name="What changes").wait_for()
    if scripts:
        visitor.look_over("settings-review")
    told = page.get_by_role("row").all_inner_texts()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The change is saved").wait_for()
    stored = read(service, organization, dst_id)

    assert kept == "my.app\nother.app"
    assert "c4n4ry" not in refused
    assert any("Elastic prod" in one and "Elastic new" in one for one in told)
    assert any(one.startswith("Header X-Tenant") and one.endswith("set") for one in told)
    assert not any("c4n4ry" in one for one in told)
    assert stored["name"] == "Elastic new"
    assert stored["filter"] == {"datasets": ["my.app", "other.app"], "decisions": ["BLOCKED"]}
    assert stored["retry"]["max_attempts"] == 5
    assert stored["header_names"] == ["X-Tenant"]
    assert stored["auth_header_set"] is True


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_two_editors(service, organization, receiver, visitor, open_window):
    """The second one is told who changed what, sees both versions, and can save without typing anything again."""
    dst_id = make_destination(service, organization, receiver.url)
    where = f"/console/o/{organization.org_id}/d/{dst_id}/settings"
    other = open_window()
    other.sign_in(organization.key)
    visitor.expected.append("409")
    for one, name in ((visitor, "Mine"), (other, "Theirs")):
        one.open(where)
        one.page.get_by_label("Name optional").first.fill(name)
    other.page.get_by_role("button", name="Look at the changes").click()
    other.page.get_by_role("button", name="Save").click()
    other.page.get_by_text("The change is saved").wait_for()
    page = visitor.page
    page.get_by_role("button", name="Look at the changes").click()
    page.get_by_role("heading", name="What changed since you opened the page").wait_for()
    visitor.look_over("settings-conflict")
    told = page.get_by_role("row", name="Name").inner_text()
    page.get_by_role("button", name="Look at the changes").click()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The change is saved").wait_for()

    assert "Theirs" in told
    assert "Mine" in told
    assert read(service, organization, dst_id)["name"] == "Mine"


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_session_that_ends_in_the_middle_of_the_form(service, organization, receiver, open_window, scripts):
    """What was typed survives: sign in again on the page that follows, press a button, and the comparison is there."""
    dst_id = make_destination(service, organization, receiver.url)
    visitor = open_window(scripts=scripts)
    visitor.expected.append("401")
    visitor.sign_in(organization.key)
    page = visitor.page
    visitor.open(f"/console/o/{organization.org_id}/d/{dst_id}/settings")
    page.get_by_label("Name optional").first.fill("Mine")
    page.get_by_label("Name of the auth header").fill("Authorization")
    page.get_by_label("Credential").fill("ApiKey c4n4ry-of-the-browser")
    visitor.context.clear_cookies()
    page.get_by_role("button", name="Look at the changes").click()
    page.get_by_role("heading", name="Sign in again").wait_for()
    if scripts:
        visitor.look_over("sign-in-again")
    seen = page.content()
    page.get_by_label("API key or operator key").fill(organization.key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Signed in again").wait_for()
    if scripts:
        visitor.look_over("signed-in-again")
    seen += page.content()
    page.get_by_role("button", name="Send it now").click()
    page.get_by_role("heading", name="What changes").wait_for()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The change is saved").wait_for()
    stored = read(service, organization, dst_id)

    assert "c4n4ry" not in seen
    assert (stored["name"], stored["auth_header_set"]) == ("Mine", True)


def test_a_limit_counts_down(browser, receiver, tmp_path, storage, look):
    """After too many tests the page says how many seconds to wait, and counts them down."""
    # One test a minute: however slow the machine is, the second one comes too soon.
    with (
        running_service(tmp_path, AEGIS_TESTS_PER_MINUTE="1", **storage) as service,
        visiting(browser, service.url, look) as visitor,
    ):
        organization = service.make_organization()
        dst_id = make_destination(service, organization, receiver.url)
        visitor.sign_in(organization.key)
        visitor.expected.append("429")
        page = visitor.page
        for shown in (page.get_by_text("Answered 202"), page.get_by_role("timer")):
            visitor.open(f"/console/o/{organization.org_id}/d/{dst_id}")
            page.get_by_role("button", name="Test", exact=True).click()
            shown.first.wait_for()
        first = int(page.locator("[data-countdown]").get_attribute("data-countdown"))
        page.wait_for_function(
            "most => Number(document.querySelector('[data-countdown]').textContent) < most", arg=first
        )
        visitor.look_over("limited")
        again = page.get_by_role("button", name="Send it again").count()

    assert first > 1
    assert again == 1
