"""People who have no key open the console with a link."""

import httpx
import pytest
from playwright.sync_api import expect

from support.browser import LOOKS


def make_link(service, organization, **body):
    """Make a link with the admin key; return the API's answer."""
    answer = httpx.post(
        f"{service.url}/api/orgs/{organization.org_id}/console-links",
        json=body,
        headers={"Authorization": f"Bearer {organization.key}"},
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def path_of(link):
    """Return what is behind the address of the service in the URL of a link."""
    return "/console/link#" + link["url"].partition("#")[2]


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_a_link_opens_the_console_once(service, open_window, organization, look):
    """Opening the link shows a button and uses nothing up; the button signs in; the next one says what to do."""
    link = make_link(service, organization)
    sent = []
    first, second = open_window(), open_window()
    for visitor in (first, second):
        visitor.context.on("request", lambda request: sent.append((request.method, request.url)))
        visitor.open(path_of(link))
        visitor.page.get_by_text("It is used up when you press the button.").wait_for()
        expect(visitor.page.get_by_label("Console link")).to_be_hidden()
    first.look_over("link")
    first.page.get_by_role("button", name="Open the console").click()
    first.page.get_by_role("button", name="Sign out").wait_for()
    second.expected.append("401")
    second.page.get_by_role("button", name="Open the console").click()
    second.page.get_by_text("it was used already, has expired, or was deleted").wait_for()
    second.look_over("link-used")

    assert f"/console/o/{organization.org_id}" in first.page.url
    token = path_of(link).partition("#")[2]
    assert not [url for _, url in sent if token in url.partition("#")[0]]
    assert token not in first.page.content()
    first.page.go_back()
    assert token not in first.page.url


def test_a_link_opens_without_javascript(service, open_window, organization):
    """The whole link is pasted into the field of its page."""
    link = make_link(service, organization)
    visitor = open_window(scripts=False)
    visitor.open(path_of(link))
    visitor.page.get_by_label("Console link").fill(service.url + path_of(link))
    visitor.page.get_by_role("button", name="Open the console").click()
    visitor.page.get_by_role("button", name="Sign out").wait_for()


def test_a_second_link_opens_in_the_same_tab(service, open_window, organization):
    """Another link in the address bar of the page replaces the first one."""
    used, good = (make_link(service, organization) for _ in range(2))
    visitor = open_window()
    visitor.open(path_of(used))
    visitor.open(path_of(good))
    visitor.page.get_by_role("button", name="Open the console").click()
    visitor.page.get_by_role("button", name="Sign out").wait_for()
    visitor.expected.append("401")
    visitor.open(path_of(good))
    visitor.page.get_by_role("button", name="Open the console").click()
    visitor.page.get_by_text("it was used already, has expired, or was deleted").wait_for()
