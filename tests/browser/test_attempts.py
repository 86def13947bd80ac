"""A person looks for what went wrong: from the list of failures to the request that was sent, and sends it again."""

import gzip
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aegis_stream.domain.destination import MASK
from support.browser import LOOKS
from support.destinations import OrganizationApi
from support.service import wait_until
from support.serving import serving
from support.stored import Services, console_services

SECRET = "Splunk c4n4ry-0f-the-attempts"
EVENT = '{"event":{"id":"evt/1","dataset":"app.login"},"message":"it\'s <b>5 o\'clock</b>\\n$SECRET `id` ü"}'


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[Services]:
    """Run services of this file alone: its eight tests look at the answer of one failure each, and a worker keeps eight at once."""
    with console_services(tmp_path_factory) as services:
        yield services


class Scripted:
    """A receiver that records each request as it came, and answers what it is told to.

    Attributes:
        requests: headers in their order, and the body.
        status: of the next answers.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[list[tuple[str, str]], bytes]] = []
        self.status = 503
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests.append((list(self.headers.items()), body))
                said = f"too busy for {self.headers['authorization']}".encode()
                self.send_response(outer.status)
                self.send_header("X-Echo", self.headers["x-scope-orgid"])
                self.send_header("Set-Cookie", "session=of-the-peer")
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/collector"


@contextmanager
def scripted() -> Iterator[Scripted]:
    """Run such a receiver until the block ends."""
    one = Scripted()
    with serving(one.server):
        yield one


class Api(OrganizationApi):
    """The organization's API, and what these tests do by it."""

    def fail_one(self, receiver: Scripted, **changes) -> str:
        """Make a destination and an event that becomes a dead letter there, its answer kept; return the destination's id."""
        body = {
            "url": receiver.url,
            "name": "Splunk prod",
            "auth_header_name": "Authorization",
            "auth_header_value": SECRET,
            "headers": {"X-Scope-OrgID": "tenant c4n4ry"},
            "format": "json",
            # Events of the audit trail, as of signing in, are not among what the receiver records.
            "filter": {"datasets": ["app.login"]},
            "retry": {"max_attempts": 2, "base_seconds": 0.05},
            **changes,
        }
        dst_id = self.call("POST", "/forwarding-destinations", json=body)["id"]
        self.call("POST", "/events", json=None, content=EVENT.encode())
        failed = "/deliveries?state=failed&event_id=evt%2F1"
        newest, _ = wait_until(lambda: len(found := self.call("GET", failed)["data"]) == 2 and found)
        # The answer is stored apart, when secrets are cut out of it.
        one = f"/forwarding-destinations/{dst_id}/deliveries/{newest['id']}"
        wait_until(lambda: self.call("GET", one)["response_excerpt"])
        return dst_id


def decoded(headers: list[tuple[str, str]], body: bytes) -> bytes:
    """Return a body as it was before it was compressed."""
    return gzip.decompress(body) if dict(headers).get("Content-Encoding") == "gzip" else body


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_from_the_failures_to_one_attempt(service, organization, visitor):
    """The page of failures leads to the attempt; filters stand in the URL, and reload and Back restore them."""
    with scripted() as receiver:
        dst_id = Api(service, organization).fail_one(receiver)
        visitor.open(f"/console/o/{organization.org_id}/deliveries")
        visitor.look_over("deliveries")
        visitor.page.get_by_label("Answer").select_option("5xx")
        visitor.page.get_by_label("Error contains").fill("503")
        visitor.page.get_by_role("button", name="Show", exact=True).click()
        visitor.page.wait_for_url("**status_class=5xx**")
        filtered = visitor.page.url
        visitor.page.reload()
        assert visitor.page.get_by_label("Answer").input_value() == "5xx"
        visitor.page.get_by_role("link", name="evt/1").first.click()
        visitor.page.get_by_role("heading", name="Attempt 2 of 2").wait_for()
        visitor.look_over("attempt")
        visitor.page.go_back()
        assert visitor.page.url == filtered
        assert visitor.page.get_by_label("Error contains").input_value() == "503"
        visitor.open(f"/console/o/{organization.org_id}/d/{dst_id}/attempts")
        visitor.look_over("attempts")
        visitor.page.get_by_label("Event id").fill("none")
        visitor.page.get_by_role("button", name="Show", exact=True).click()
        visitor.page.get_by_text("No attempt matches").wait_for()
        visitor.look_over("attempts-none")


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_one_attempt_is_what_the_receiver_got(service, organization, open_window, scripts, compression):
    """Body and headers are those that the receiver recorded, but for the masked ones.

    The command sends the same request, and the button sends the event again, which then is delivered.
    """
    with scripted() as receiver:
        api = Api(service, organization)
        dst_id = api.fail_one(receiver, compression=compression)
        visitor = open_window(scripts=scripts)
        visitor.sign_in(organization.key)
        visitor.open(f"/console/o/{organization.org_id}/d/{dst_id}/attempts")
        visitor.page.get_by_role("link", name="evt/1").first.click()
        visitor.page.get_by_role("heading", name="Attempt 2 of 2").wait_for()
        address = visitor.page.url
        answer = visitor.page.locator("[data-answer]").text_content()
        body = visitor.page.locator("[data-body]").text_content()
        shown = dict(
            [cell.inner_text() for cell in row.locator("th, td").all()]
            for row in visitor.page.get_by_role("table", name="Headers", exact=True).locator("tbody tr").all()
        )
        command = visitor.page.locator("[data-curl]").text_content()
        text = visitor.page.content()

        sent, raw = receiver.requests[1]
        received = dict(sent)
        assert body.encode() == decoded(sent, raw)
        assert list(shown) == list(received)
        masked = {"Authorization": MASK, "X-Scope-OrgID": MASK}
        assert shown == received | masked
        assert "c4n4ry" not in text
        assert "of-the-peer" not in text
        assert answer.startswith("too busy for ")

        subprocess.run(
            ["/bin/sh", "-c", command],
            env={"PATH": os.environ["PATH"], "SECRET": SECRET, "SECRET_2": "tenant c4n4ry"},
            check=True,
            capture_output=True,
            timeout=30,
        )
        again, raw_again = receiver.requests[2]
        own = {"Content-Length"}  # another program compresses otherwise
        assert {name: value for name, value in again if name not in own} == {
            name: value for name, value in sent if name not in own
        }
        assert decoded(again, raw_again) == decoded(sent, raw)
        assert compression != "none" or raw_again == raw

        receiver.status = 202
        visitor.open(address.removeprefix(visitor.url))
        assert visitor.page.locator("[data-body]").text_content() == body
        visitor.page.get_by_role("button", name="Send again").click()
        visitor.page.get_by_text("Event evt/1 goes again to this destination").wait_for()
        wait_until(lambda: len(api.call("GET", "/deliveries?state=delivered&event_id=evt%2F1")["data"]) == 1)
        assert decoded(*receiver.requests[3]) == decoded(sent, raw)
