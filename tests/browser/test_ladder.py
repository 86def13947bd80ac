"""A test shows how far it came: a person sees the stage that failed, why, and what was sent and answered."""

import http.server
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from security.certificates import Authority
from support.browser import LOOKS, SCREENSHOTS, visiting
from support.processes import free_port, hanging_receiver
from support.service import RunningService, running_service
from support.serving import serving
from support.stored import Services

SECRET = "c4n4ry-of-the-ladder"
ITEM = {"create": {"status": 400, "error": {"type": "document_parsing_exception", "reason": "no"}}}


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[Services]:
    """Run services that soon give up waiting for an answer."""
    with ExitStack() as stack:
        yield Services(stack, tmp_path_factory, AEGIS_REQUEST_TIMEOUT_SECONDS="3", AEGIS_AUDIT_ACTIONS="true")


@pytest.fixture(scope="module")
def patient_service(tmp_path_factory) -> Iterator[RunningService]:
    """Run a service that waits long for an answer."""
    with running_service(
        tmp_path_factory.mktemp("patient"), AEGIS_REQUEST_TIMEOUT_SECONDS="60", AEGIS_LEASE_SECONDS="90"
    ) as service:
        yield service


@contextmanager
def receiver(status: int, body: bytes, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Answer every request so; returns the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that refuses the certificate is what we are after."""

    server = Quiet(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield server.server_port


@contextmanager
def broken(how: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Make a destination of each kind of fault; returns its host, with scheme and port, and the kind of destination."""
    plain = "generic-https"
    match how:
        case "no such name":
            yield "https://nothing-like-it.invalid", plain
        case "refused":
            yield f"http://127.0.0.1:{free_port()}", plain
        case "timeout":
            with hanging_receiver() as hanging:
                yield hanging.url.rstrip("/"), plain
        case "self-signed":
            context = Authority(folder, "Nobody").server_context("localhost")
            with receiver(202, b"", context) as port:
                yield f"https://127.0.0.1:{port}", plain
        case "401":
            with receiver(401, f"who is {SECRET}?".encode()) as port:
                yield f"http://127.0.0.1:{port}", plain
        case "stored nothing":
            with receiver(200, json.dumps({"errors": True, "items": [ITEM]}).encode()) as port:
                yield f"http://127.0.0.1:{port}", "elasticsearch"


def fill(page, host: str, kind: str) -> None:
    """Type what the kind needs."""
    if kind == "elasticsearch":
        page.get_by_label("Elasticsearch URL").fill(host)
        page.get_by_label("Data stream").fill("logs-aegis.preflight-default")
        page.get_by_label("API key, encoded").fill(SECRET)
    else:
        page.get_by_label("URL").fill(host + "/in")
        page.get_by_label("Bearer token").fill(SECRET)


@pytest.mark.parametrize(
    ("how", "stage", "says"),
    [
        ("no such name", "Name", "does not resolve"),
        ("refused", "Connected", "connection refused"),
        ("timeout", "Answer", "no answer within 3 s"),
        ("self-signed", "TLS", "certificate is not trusted"),
        ("401", "Answer", "does not accept the credential"),
        ("stored nothing", "Answer", "answered 400"),
    ],
)
def test_the_failing_stage(visitor, organization, tmp_path, how, stage, says):
    """Each fault fails at its stage, with words, and nothing after it; the credential is nowhere on the page."""
    page = visitor.page
    with broken(how, tmp_path) as (host, kind):
        visitor.open(f"/console/o/{organization.org_id}/new?kind={kind}")
        fill(page, host, kind)
        page.get_by_role("button", name="Test", exact=True).click()
        page.get_by_role("heading", name="The test event was not taken").wait_for()
    visitor.look_over(f"ladder-{how.replace(' ', '-')}")

    rungs = page.locator("#test .ladder li")
    states = [one.get_attribute("class") for one in rungs.all()]
    names = [one.get_attribute("data-stage") for one in rungs.all()]
    at = names.index(stage)
    assert states == ["passed"] * at + ["failed"] + ["not-reached"] * (len(states) - at - 1)
    assert says in page.get_by_role("alert").inner_text()
    assert ("≤" in rungs.first.inner_text()) is (how in ("refused", "timeout", "self-signed")), "rounded up"
    trap = "Elasticsearch answers 200 even when it stores nothing"
    assert (trap in page.content()) is (kind == "elasticsearch"), "told where the answer looks like a success"
    assert SECRET not in page.content()
    assert page.get_by_role("button", name="Save without a green test").is_visible()


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_request_and_answer_side_by_side(open_window, organization, scripts, look):
    """What was sent stands beside what was answered, as a command with the secret as a variable."""
    visitor = open_window(scripts=scripts)
    visitor.sign_in(organization.key)
    page = visitor.page
    with receiver(401, f"who is {SECRET}?".encode()) as port:
        visitor.open(f"/console/o/{organization.org_id}/new?kind=splunk")
        page.get_by_label("HTTP Event Collector URL").fill(f"http://127.0.0.1:{port}")
        page.get_by_label("HEC token").fill(SECRET)
        page.get_by_role("button", name="Test", exact=True).click()
        page.get_by_role("heading", name="The test event was not taken").wait_for()
    if scripts:
        visitor.look_over("ladder-side-by-side")
    page.get_by_text("Copy as curl").click()
    told = page.locator("#test").inner_text()

    assert "Authorization: ****" in told
    assert "forwarding_test" in told
    assert "who is****?" in page.locator("[data-answer]").inner_text()
    assert '"$SECRET"' in page.locator("[data-curl]").inner_text()
    assert SECRET not in page.content()


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_a_saved_change_is_tested_first(visitor, organization):
    """A change that the destination does not take shows why, stays unsaved, and can be saved anyway."""
    page = visitor.page
    with receiver(202, b"") as good, receiver(401, b"no") as bad:
        visitor.open(f"/console/o/{organization.org_id}/new?kind=generic-https")
        fill(page, f"http://127.0.0.1:{good}", "generic-https")
        page.get_by_role("button", name="Test", exact=True).click()
        page.get_by_role("heading", name="The test event was taken").wait_for()
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("is saved").wait_for()
        here = page.url.partition("/first")[0]
        page.goto(here + "/settings")
        page.get_by_label("URL", exact=True).fill(f"http://127.0.0.1:{bad}/in")
        page.get_by_label("Name of the auth header").fill("Authorization")
        page.get_by_label("Credential").fill("Bearer " + SECRET)
        page.get_by_role("button", name="Look at the changes").click()
        page.get_by_role("button", name="Test and save").click()
        page.get_by_role("heading", name="The test event was not taken").wait_for()
        visitor.look_over("settings-tested")
        page.get_by_role("button", name="Save anyway").click()
        page.get_by_text("The change is saved").wait_for()
        page.get_by_role("button", name="Test", exact=True).click()
        page.get_by_role("heading", name="The test event was not taken").wait_for()
        visitor.look_over("tested")

    assert f"127.0.0.1:{bad}" in page.content()
    assert SECRET not in page.content()


@contextmanager
def waiting_receiver() -> Iterator[tuple[str, threading.Event]]:
    """Accept connections and read requests, and answer 202 when the event is set; returns the URL and the event."""
    go = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            go.wait(60)
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        try:
            yield f"http://127.0.0.1:{server.server_port}/in", go
        finally:
            go.set()


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_stages_are_seen_while_the_test_goes_on(patient_service, browser, look, scripts):
    """While the receiver has not answered, the stages that are passed are seen, before a destination is saved and after; then the result is in their place."""
    organization = patient_service.make_organization()
    with (
        waiting_receiver() as (url, go),
        visiting(browser, patient_service.url, look, scripts=scripts) as visitor,
    ):
        visitor.sign_in(organization.key)
        page = visitor.page
        visitor.open(f"/console/o/{organization.org_id}/new?kind=generic-https")
        page.get_by_label("URL").fill(url)
        page.get_by_label("Bearer token").fill("not-a-token")
        page.get_by_role("button", name="Test", exact=True).click(no_wait_after=True)
        see_stages(visitor, "new")
        go.set()
        page.get_by_role("heading", name="The test event was taken").wait_for()
        assert not page.get_by_role("heading", name="Testing").is_visible()
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_role("heading", name="First event").wait_for()

        go.clear()
        visitor.open(re.sub("/first.*", "", page.url.removeprefix(patient_service.url)))
        page.get_by_role("button", name="Test", exact=True).click(no_wait_after=True)
        see_stages(visitor, "saved")
        go.set()
        page.get_by_text("Answered 202 in").wait_for()
        if scripts:
            visitor.look_over("ladder-live-result")


def see_stages(visitor, name: str) -> None:
    """Wait until everything before the answer is seen, and nothing after it."""
    page = visitor.page
    page.get_by_role("heading", name="Testing").wait_for()
    page.locator(".testing li", has_text="Sent").wait_for()
    page.screenshot(path=SCREENSHOTS / f"ladder-live-{name}-{visitor.look}.png")
    assert page.locator(".testing strong").all_inner_texts() == [
        "Name",
        "Address allowed",
        "Connected",
        "Sent",
    ]
    assert page.get_by_role("heading", name="The test event").count() == 0
