"""A person opens the console of an organization that has nothing yet."""

import pytest

from support.browser import LOOKS


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_signing_in(open_window, organization):
    """The sign-in page refuses a wrong key in words, takes a right one, and signing out closes the pages."""
    visitor = open_window()
    visitor.expected.append("401")
    visitor.open(f"/console/o/{organization.org_id}")
    visitor.look_over("sign-in")
    visitor.page.get_by_label("API key or operator key").fill("aegis_sk_wrong")
    visitor.page.get_by_role("button", name="Sign in").click()
    visitor.page.get_by_text("unknown API key").wait_for()
    visitor.look_over("sign-in-refused")
    visitor.page.get_by_label("API key or operator key").fill(organization.key)
    visitor.page.get_by_role("button", name="Sign in").click()
    visitor.page.get_by_role("heading", name="Three steps").wait_for()

    assert visitor.page.url.endswith(f"/console/o/{organization.org_id}")
    assert organization.key not in visitor.page.content()
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.page.get_by_label("API key or operator key").wait_for()
    visitor.open(f"/console/o/{organization.org_id}")
    assert "/console?next_path=" in visitor.page.url


@pytest.mark.stores
@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_the_sample_event(open_window, organization, scripts):
    """The button records an event, and the first step is done, with and without JavaScript."""
    visitor = open_window(scripts=scripts)
    visitor.sign_in(organization.key)
    if scripts:
        visitor.look_over("overview-empty")
    visitor.page.get_by_role("button", name="Send one for me").click()
    visitor.page.get_by_text("A sample event was recorded as sequence 1.").wait_for()

    assert visitor.page.get_by_text("done:").count() == 1


def test_the_page_says_what_its_script_may_not(visitor):
    """The policy holds in the browser: a script from elsewhere, or in the page, does not run."""
    visitor.expected.append("Content Security Policy")
    visitor.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.broken = true";
            document.body.append(script);
        }"""
    )

    assert visitor.page.evaluate("window.broken") is None
    assert any("Content Security Policy" in one for one in visitor.faults)
