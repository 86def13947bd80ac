"""What holds for every page of the console in a real browser, walked from its table of rights: a new page is part of it without a word."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from aegis_stream.console.rights import Need
from support.browser import LOOKS
from support.service import wait_until
from support.serving import serving
from support.stored import Services, console_services
from support.walk import HIDDEN, HOSTILE, filled, pages

pytestmark = pytest.mark.timeout(900)
CREDENTIAL = "Bearer c4n4ry-of-the-walk"
TEXT = f"{HOSTILE} {HIDDEN}"
NO_PAGES = ("/static/", "{job_id}", "/live")
"""Parts of paths that are not walked here: scripts read a job and the stream."""
ZOOMED = {"width": 640, "height": 400}
"""A window of 1280 by 800 at 200 %."""


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[Services]:
    """Run services of this file alone: its four tests look at the answer of one failure each, and a worker keeps eight at once."""
    with console_services(tmp_path_factory) as services:
        yield services


class _Hostile(BaseHTTPRequestHandler):
    """Rejects every event, with an answer that would run in a page."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = f"{TEXT} {self.headers['authorization']}".encode()
        self.send_response(422)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hostile_url():
    """Run a receiver that rejects events with hostile answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hostile)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/in"


@pytest.fixture
def objects(service, organization, hostile_url):
    """Make an object of every kind whose texts are hostile; return their ids by the names that paths have for them."""
    base = f"{service.url}/api/orgs/{organization.org_id}"
    headers = {"Authorization": f"Bearer {organization.key}"}
    with httpx.Client(headers=headers, trust_env=False, timeout=30) as client:

        def call(method, path, **options):
            answer = client.request(method, base + path, **options)
            assert answer.is_success, answer.text
            return answer.json()

        key = call("POST", "/api-keys", json={"name": HOSTILE, "scope": "ingest"})
        destination = {
            "url": hostile_url,
            "name": HOSTILE,
            "format": "json",
            "auth_header_name": "Authorization",
            "auth_header_value": CREDENTIAL,
            "retry": {"max_attempts": 1},
        }
        path = f"/forwarding-destinations/{call('POST', '/forwarding-destinations', json=destination)['id']}"
        event = {
            "event": {"id": "evt-1", "dataset": HOSTILE},
            "message": TEXT,
            "user": {"name": TEXT},
            TEXT: [TEXT],
        }
        call("POST", "/events", json=[event, {"event": {"id": "evt-2"}, "message": TEXT}])
        wait_until(lambda: call("GET", path)["stats"]["dead_letters"] >= 2)
        delivery = call("GET", f"{path}/deliveries")["data"][0]["id"]
        wait_until(
            lambda: HOSTILE in (call("GET", f"{path}/deliveries/{delivery}")["response_excerpt"] or "")
        )
        replay = call("POST", f"{path}/replay", json={"from_sequence": 1})["replay_id"]
        wait_until(lambda: client.get(f"{base}/proof/events/evt-2").is_success)
        link = call("POST", "/console-links", json={"return_url": "https://app.example.com/"})["id"]
        yield {
            "link_id": link,
            "org_id": organization.org_id,
            "destination_id": path.rpartition("/")[2],
            "event_id": "evt-1",
            "key_id": key["id"],
            "delivery_id": delivery,
            "replay_id": replay,
            "edition": "x",
            "name": "style.css",
        }


def places(objects, *needs):
    """Return every path of the console that needs one of these, and an address of it."""
    for path in pages(*needs):
        if not any(part in path for part in NO_PAGES) and path != "/":
            where = filled(path, objects)
            yield (
                path,
                where
                + {"/new": "?kind=generic-https", "/search": "?q=zzz", "/mode": "?to=stream"}.get(
                    path[path.rfind("/") :], ""
                ),
            )


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_every_page(organization, objects, visitor):
    """Whatever events, names and receivers' answers hold, each page shows it as text and runs nothing; it is accessible, holds no secret, and fits without scrolling sideways, at 200 % as well."""
    seen = walk(visitor, places(objects, Need.OPEN, Need.READ, Need.WRITE), (CREDENTIAL, organization.key))

    assert len(seen) >= 10, seen


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_every_page_of_the_operator(service, open_window):
    """The operator's pages hold the same, with an organization of a hostile name entered."""
    key, visitor = service.environment["AEGIS_OPERATOR_KEY"], open_window()
    visitor.sign_in(key)
    page = visitor.page
    page.get_by_label("Name").fill(HOSTILE)
    page.get_by_role("button", name="Make an organization").click()
    page.get_by_role("heading", name="Organization made").wait_for()
    visitor.look_over("walk-organization-made")
    org_id = page.locator("input[name=org_id]").first.input_value()
    visitor.open("/console/operator")
    page.get_by_role("button", name=f"Enter {org_id}").click()
    page.get_by_text("You look at this organization, read only").wait_for()
    walked = list(places({"org_id": org_id}, Need.OPERATOR))
    seen = walk(visitor, walked, (key,))

    assert len(walked) == len(pages(Need.OPERATOR)) >= 2
    assert "/console/operator" in seen


def walk(visitor, walked, secrets):
    """Look over each page, also at 200 %; return the paths of those that show a hostile text."""
    page, seen = visitor.page, []
    page.on("dialog", lambda dialog: visitor.faults.append(f"a dialog: {dialog.message}"))
    whole = page.viewport_size
    for path, where in walked:
        answer = visitor.context.request.get(visitor.url + where)
        if not answer.ok or not answer.headers["content-type"].startswith("text/html"):
            assert answer.ok, f"{where}: {answer.status}"
            continue
        visitor.open(where)
        name = path.replace("/console", "").replace("/o/{org_id}", "").strip("/") or "overview"
        visitor.look_over("walk-" + name.replace("/", "-").replace("{", "").replace("}", ""))
        content = page.content()
        for secret in secrets:
            assert secret not in content, where
        assert not {one for one in HIDDEN if not one.isprintable()} & set(content), where
        if HOSTILE in page.locator("main").inner_text():
            seen.append(path)
        page.set_viewport_size(ZOOMED)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= ZOOMED["width"], f"{where} at 200 %: {width} pixels wide"
        page.set_viewport_size(whole)
    return seen
