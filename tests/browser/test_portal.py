"""The console inside a page of another product, in a frame."""

import html
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from playwright.sync_api import expect

from support.browser import LOOKS, Visitor, visiting
from support.serving import serving
from support.stored import Services


@dataclass
class Product:
    """A web site of its own origin, whose one page shows an address in a frame."""

    server: ThreadingHTTPServer
    shown: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address. By name: to the service at 127.0.0.1 that is another site."""
        return f"http://localhost:{self.server.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers every request with the page."""

    product: Product

    def do_GET(self):
        """Send the page."""
        self.product.asked.append(self.path)
        source = html.escape(self.product.shown)
        body = f'<!doctype html><html lang="en"><title>Product</title><link rel="icon" href="data:,"><h1>Product</h1><iframe title="Audit" width="100%" height="700" src="{source}"></iframe>'
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        """Log nothing."""


@contextmanager
def running_product() -> Iterator[Product]:
    """Run a product until the block ends."""
    handler = type("One", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.product = product = Product(server)
    with serving(server):
        yield product


@pytest.fixture(scope="module")
def product():
    """Run a product that may show the console."""
    with running_product() as product:
        yield product


@pytest.fixture(scope="module")
def stranger():
    """Run another one, which may not."""
    with running_product() as product:
        yield product


@pytest.fixture(scope="module")
def services(tmp_path_factory, product):
    """Run services that one product may show, with a brand."""
    with ExitStack() as stack:
        yield Services(
            stack,
            tmp_path_factory,
            AEGIS_CONSOLE_FRAME_ANCESTORS=product.url,
            AEGIS_CONSOLE_BRAND_NAME="Acme Audit",
            AEGIS_CONSOLE_BRAND_COLOUR="#b4236a",
        )


@pytest.fixture
def link(service, organization, product):
    """Return a function that makes a link."""

    def make(**body) -> str:
        answer = httpx.post(
            f"{service.url}/api/orgs/{organization.org_id}/console-links",
            json={"return_url": product.url + "/back"} | body,
            headers={"Authorization": f"Bearer {organization.key}"},
            trust_env=False,
            timeout=30,
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["url"]

    return make


def show(visitor: Visitor, product: Product, url: str):
    """Open the product's page with an address in its frame; return the frame."""
    visitor.expected.append(f"a request to another origin: {product.url}")
    product.shown = url
    visitor.page.goto(product.url)
    return visitor.page.frame_locator("iframe")


@pytest.mark.stores
def test_a_link_opens_the_console_in_the_product(open_window, organization, service, product, link):
    """In a frame of an allowed site the whole console works; it stays in its organization, and leads back out of the frame."""
    other = service.make_organization()
    visitor = open_window()
    frame = show(visitor, product, link(scope="admin"))
    frame.get_by_role("button", name="Open the console").click()
    frame.get_by_role("button", name="Send one for me").click()
    frame.get_by_text("A sample event was recorded").wait_for()
    frame.get_by_role("link", name="Events", exact=True).click()
    frame.get_by_role("heading", name="Events").first.wait_for()
    expect(frame.get_by_role("link", name="Acme Audit")).to_be_visible()
    assert frame.get_by_role("link", name="Operator").count() == 0
    visitor.page.screenshot(path="build/screenshots/portal-in-a-frame.png")
    for path, says in (
        (f"/console/o/{other.org_id}", "does not exist, or this session belongs to another one"),
        ("/console/operator", "this page is the operator's"),
    ):
        visitor.expected.append("the server responded with a status of 40")
        visitor.page.locator("iframe").evaluate("(frame, url) => { frame.src = url }", service.url + path)
        frame.get_by_text(says).wait_for()
    visitor.page.locator("iframe").evaluate(
        "(frame, url) => { frame.src = url }", f"{service.url}/console/o/{organization.org_id}"
    )
    frame.get_by_role("link", name="Back to localhost").click()
    visitor.page.wait_for_url(product.url + "/back")


def test_another_site_shows_nothing(open_window, stranger, service, link):
    """In a frame of a site that the settings do not name there is no page and no button; the link stays unused."""
    visitor = open_window()
    url = link()
    visitor.expected += ["frame-ancestors", "chrome-error"]
    show(visitor, stranger, url)
    visitor.page.wait_for_load_state("networkidle")
    inner = [one for one in visitor.page.frames if one != visitor.page.main_frame]

    assert [one.get_by_role("button").count() for one in inner] == [0]
    assert service.url not in inner[0].url
    visitor.open("/console/link#" + url.rpartition("#")[2])
    visitor.page.get_by_role("button", name="Open the console").click()
    visitor.page.get_by_role("button", name="Sign out").wait_for()


def test_a_key_opens_no_frame(open_window, organization, service, product):
    """The page where a key is typed stands in no frame, and neither do the pages of its session."""
    visitor = open_window()
    visitor.sign_in(organization.key)
    visitor.expected += ["frame-ancestors", "chrome-error"]
    for path in ("/console", f"/console/o/{organization.org_id}"):
        show(visitor, product, service.url + path)
        visitor.page.wait_for_load_state("networkidle")
        [inner] = [one for one in visitor.page.frames if one != visitor.page.main_frame]
        # Without a session in the frame, the page of an organization leads to the one that asks for a link.
        assert inner.get_by_label("API key or operator key").count() == 0
        assert inner.get_by_role("button", name="Send one for me").count() == 0


def test_signing_out_and_a_new_link(open_window, product, link):
    """After signing out the frame asks for a link, and a new one opens it again."""
    visitor = open_window()
    frame = show(visitor, product, link())
    frame.get_by_role("button", name="Open the console").click()
    frame.get_by_role("button", name="Sign out").click()
    frame.get_by_label("Console link").wait_for()
    frame = show(visitor, product, link())
    frame.get_by_role("button", name="Open the console").click()
    frame.get_by_role("button", name="Sign out").wait_for()


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_portal_reads_well(open_window, organization, link):
    """A read-only session has the brand, the way back, and no control that changes anything."""
    visitor = open_window()
    visitor.open("/console/link#" + link().rpartition("#")[2])
    visitor.look_over("portal-link")
    visitor.page.get_by_role("button", name="Open the console").click()
    visitor.page.get_by_role("link", name="Back to localhost").wait_for()
    visitor.look_over("portal-overview")

    assert visitor.page.get_by_role("button", name="Send one for me").count() == 0
    assert visitor.page.title().startswith("Overview · Acme Audit")


def test_a_frame_works_without_javascript(browser, service, product, link, look):
    """The link is pasted in the frame as well."""
    with visiting(browser, service.url, look, scripts=False) as visitor:
        url = link()
        frame = show(visitor, product, url)
        frame.get_by_label("Console link").fill(url)
        frame.get_by_role("button", name="Open the console").click()
        frame.get_by_role("button", name="Sign out").wait_for()
