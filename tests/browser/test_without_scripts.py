"""A person whose browser runs no scripts does everything: add, test, list, open, redrive, replay, and sign out."""

from support.picky import picky_receiver
from support.service import wait_until


def test_a_day_without_scripts(service, organization, open_window):
    """From the sign-in to the sign-out every task works by forms and links alone, and the receiver has what was sent again."""
    visitor = open_window(scripts=False)
    page, home = visitor.page, f"/console/o/{organization.org_id}"
    with picky_receiver(lambda one: 422 if one.startswith("pflt_") else 202) as receiver:
        visitor.sign_in(organization.key)
        visitor.open(f"{home}/new?kind=generic-https")
        page.get_by_label("URL", exact=True).fill(receiver.url)
        page.get_by_label("Bearer token").fill("not-a-token-at-all")
        page.get_by_label("Name optional").first.fill("Without scripts")
        page.get_by_role("button", name="Test", exact=True).click()
        page.get_by_role("heading", name="The test event was taken").wait_for()
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("Without scripts is saved").wait_for()
        page.get_by_role("button", name="Send a sample event").click()
        visitor.open(home)
        row = page.get_by_role("row", name="Without scripts")
        row.get_by_role("link", name="Without scripts").first.click()
        page.get_by_role("heading", name="Without scripts").first.wait_for()
        page.get_by_role("link", name="Dead letters").click()
        here = page.url

        def is_dead():
            page.goto(here)
            return page.get_by_role("link", name="Redrive").count()

        wait_until(is_dead, seconds=60)
        receiver.judge = lambda _: 202
        page.get_by_role("link", name="Redrive").first.click()
        page.get_by_role("button", name="Redrive 1").click()
        page.get_by_text("on its way again").wait_for()
        wait_until(lambda: any(one.startswith("pflt_") for one in receiver.accepted), seconds=60)
        (event_id,) = [one for one in receiver.accepted if one.startswith("pflt_")]
        page.get_by_role("link", name="Replays").click()
        page.get_by_role("button", name="Preview").click()
        page.get_by_role("button", name="again").click()
        wait_until(lambda: receiver.accepted[event_id] >= 2, seconds=60)
        page.get_by_role("link", name="Attempts").click()
        page.get_by_role("row", name=event_id).first.wait_for()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("API key or operator key").wait_for()
        visitor.open(home)
        page.get_by_label("API key or operator key").wait_for()
