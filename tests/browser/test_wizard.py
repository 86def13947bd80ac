"""A person makes a destination, from the overview to the query that finds the first event there."""

import html

import pytest

from support.browser import LOOKS


@pytest.mark.stores
@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_elastic_in_seven_clicks(open_window, organization, receiver, scripts):
    """Four values and six clicks after the sign-in, an event is delivered, and the query for Kibana holds its id."""
    visitor = open_window(scripts=scripts)
    visitor.sign_in(organization.key)
    page, clicks = visitor.page, []

    def click(role: str, name: str) -> None:
        clicks.append(name)
        page.get_by_role(role, name=name, exact=True).first.click()

    click("link", "Elasticsearch")
    if scripts:
        visitor.look_over("wizard")
    for label, value in (
        ("Elasticsearch URL", receiver.url.rstrip("/")),
        ("Data stream", "logs-aegis.preflight-default"),
        ("API key, encoded", "bm90LWEta2V5LWF0LWFsbA"),
        ("Name optional", "Elastic prod"),
    ):
        page.get_by_label(label).fill(value)
    click("button", "Test")
    page.get_by_role("heading", name="The test event was taken").wait_for()
    if scripts:
        visitor.look_over("wizard-tested")
    assert "bm90LWEta2V5" not in html.unescape(page.content())
    click("button", "Save")
    page.get_by_text("Elastic prod is saved").wait_for()
    click("button", "Send a sample event")
    page.get_by_role("heading", name="First event at Elastic prod").wait_for()
    page.get_by_role("heading", name="Where to look").wait_for()
    if scripts:
        visitor.look_over("first-event")

    assert 'event.id : "pflt_' in page.locator("pre").inner_text()
    assert len(clicks) <= 6


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_a_wrong_field(visitor, organization):
    """A private address is refused at its field; everything typed is still there, the secret too, and never in the page."""
    page = visitor.page
    visitor.expected.append("422")
    visitor.open(f"/console/o/{organization.org_id}/new?kind=generic-https")
    page.get_by_label("URL").fill("https://10.0.0.5/audit")
    page.get_by_label("Bearer token").fill("not-a-token-at-all")
    page.get_by_label("Datasets optional").fill("my.app")
    page.get_by_role("button", name="Test", exact=True).click()
    page.get_by_role("alert").get_by_text("AEGIS_ALLOWED_NETWORKS").wait_for()
    visitor.look_over("wizard-refused")

    assert page.get_by_label("URL").input_value() == "https://10.0.0.5/audit"
    assert page.get_by_label("Datasets optional").input_value() == "my.app"
    assert "It is kept" in page.content()
    assert "not-a-token-at-all" not in page.content()


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_a_field_is_checked_when_it_is_left(visitor, organization):
    """The message stands at the field before anything is sent, is told to screen readers, and goes away when the field is mended."""
    page = visitor.page
    visitor.open(f"/console/o/{organization.org_id}/new?kind=generic-https")
    page.get_by_label("URL").fill("https://10.0.0.5/audit")
    page.get_by_label("Bearer token").focus()
    told = page.locator("#p-v-url")
    told.filter(has_text="AEGIS_ALLOWED_NETWORKS").wait_for()
    visitor.look_over("wizard-field")

    assert page.get_by_label("URL").get_attribute("aria-invalid") == "true"
    assert "AEGIS_ALLOWED_NETWORKS" in page.locator("[data-announce]").text_content()
    page.get_by_label("URL").fill("")
    page.get_by_label("Bearer token").focus()
    told.filter(has_not_text="AEGIS").wait_for(state="attached")
    assert page.get_by_label("URL").get_attribute("aria-invalid") == "false"
