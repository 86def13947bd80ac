"""A person looks at how the log is sealed, seals it, hands an auditor the evidence, and checks an event in the browser."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from aegis_stream.domain.note import Kind, VerifierKey
from support.browser import LOOKS

SEALED = "are sealed: export up to there."


def record(call, *names: str) -> None:
    """Record events."""
    call("POST", "/events", json=[{"event": {"id": name}, "message": f"event {name}"} for name in names])


def seal(visitor, organization) -> None:
    """Open the page Proof and press Seal now."""
    visitor.open(f"/console/o/{organization.org_id}/proof")
    visitor.page.get_by_role("button", name="Seal now").click()
    visitor.page.get_by_text(SEALED).wait_for()


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_from_the_first_event_to_the_evidence(visitor, organization, call, tmp_path):
    """The log is put into the mode stream, sealed, and handed over; what was downloaded verifies what was exported."""
    page = visitor.page
    visitor.open(f"/console/o/{organization.org_id}")
    page.get_by_role("link", name="Proof", exact=True).click()
    page.get_by_text("so there is nothing to seal").wait_for()
    visitor.look_over("proof-empty")
    page.get_by_label("stream").check()
    page.get_by_role("button", name="Change the mode").click()
    page.get_by_role("heading", name="Change the mode from sealed to stream?").wait_for()
    visitor.look_over("proof-mode")
    page.get_by_role("button", name="Change to stream").click()
    page.get_by_text("The mode is stream from now on.").wait_for()
    record(call, *(f"evt-{number}" for number in range(1, 101)))
    seal(visitor, organization)
    seal(visitor, organization)  # the checkpoint events of the first seal too
    visitor.look_over("proof")
    with page.expect_download() as bundle:
        page.get_by_role("button", name="Download the evidence bundle").click()
    with zipfile.ZipFile(io.BytesIO(Path(bundle.value.path()).read_bytes())) as archive:
        archive.extractall(tmp_path)
    (folder,) = tmp_path.glob("proof-*")
    answer = visitor.context.request.get(f"{visitor.url}/console/o/{organization.org_id}/export")
    (folder / "export.ndjson").write_bytes(answer.body())
    command = [sys.executable, "-I", "-S", "aegis-verify.pyz", "export.ndjson", "--key", "keys.txt"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)

    assert bundle.value.suggested_filename == f"{folder.name}.zip"
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_an_event_is_checked_in_the_browser(visitor, organization, call):
    """The check says what it checked and with which key; another key, other bytes and another log are found out."""
    page = visitor.page
    record(call, *(f"evt-{number}" for number in range(1, 12)))
    seal(visitor, organization)
    visitor.open(f"/console/o/{organization.org_id}/events/evt-7")
    told, field = page.locator("[data-proof] [role=status]"), page.get_by_label("Key to check with")
    button = page.get_by_role("button", name="Check in this browser")
    button.click()
    expect(told).to_contain_text("stored bytes lead to the root of the checkpoint")
    expect(told).to_contain_text("✓")
    expect(told).to_contain_text("That is the key that this service names")
    page.get_by_text("Path to the root").click()
    visitor.look_over("event-proof")

    own = field.input_value()
    name = own.split("+")[0]
    for key, says in (
        (VerifierKey(name, Kind.PLAIN, bytes(32)).text, "the checkpoint is not signed by this key"),
        (
            VerifierKey("another.example/log", Kind.PLAIN, bytes(32)).text,
            "the key is of the log another.example/log",
        ),
        (own[:-4] + "AAA=", "the key is no Ed25519 key of the form"),
        ("nonsense", "the key is no Ed25519 key of the form"),
        (f"{name}+00000000+!", "the key or the proof cannot be read"),
    ):
        field.fill(key)
        button.click()
        expect(told).to_contain_text(f"✗ {says}")
    field.fill(own)

    def altered(route) -> None:
        route.fulfill(body=route.fetch().body().replace(b"evt-7", b"evt-8"))

    page.route("**/event-bytes/*", altered)
    button.click()
    expect(told).to_contain_text("✗ the stored bytes do not lead to the root")
    page.unroute("**/event-bytes/*", altered)
    button.click()
    expect(told).to_contain_text("✓")


def test_every_place_in_logs_of_many_sizes(visitor, organization, call):
    """The script follows the path of the first, a middle and the last event, in logs whose trees have every shape."""
    page = visitor.page
    known = []
    for count in (1, 1, 3, 8):
        names = [f"evt-{len(known) + number}" for number in range(count)]
        record(call, *names)
        known += names
        seal(visitor, organization)
        for name in {known[0], known[len(known) // 2], known[-1]}:
            visitor.open(f"/console/o/{organization.org_id}/events/{name}")
            page.get_by_role("button", name="Check in this browser").click()
            expect(page.locator("[data-proof] [role=status]")).to_contain_text("✓")


def test_proof_without_scripts(open_window, organization, call):
    """Sealing, the mode, the downloads and the page of an event need no JavaScript; the check is not offered."""
    record(call, "evt-1")
    visitor = open_window(scripts=False)
    visitor.sign_in(organization.key)
    page = visitor.page
    seal(visitor, organization)
    with page.expect_download() as file:
        page.get_by_role("link", name="Download the checkpoint").click()
    assert file.value.suggested_filename.startswith(f"checkpoint-{organization.org_id}-")
    page.get_by_label("Size of a checkpoint that you kept").fill("999")
    visitor.expected.append("422")
    page.get_by_role("button", name="Download the evidence bundle").click()
    page.get_by_text("must be 1 to").first.wait_for()
    page.get_by_label("off", exact=True).check()
    page.get_by_role("button", name="Change the mode").click()
    page.get_by_role("button", name="Change to off").click()
    page.get_by_text("The mode is off from now on.").wait_for()
    visitor.open(f"/console/o/{organization.org_id}/events/evt-1")
    page.get_by_role("link", name="Download the proof").wait_for()
    assert page.get_by_role("button", name="Check in this browser").is_hidden()
