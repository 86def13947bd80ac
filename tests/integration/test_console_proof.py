"""Promises of the page Proof: how far the log is sealed, what can be done, and what an auditor is handed."""

import base64
import html
import io
import re
import subprocess
import sys
import zipfile

import build_verifier
import pytest

from aegis_stream.control import proof, seal_request
from aegis_stream.control.caller import COMMAND_LINE
from aegis_stream.control.deps import StoreDeps
from aegis_stream.domain.merkle import leaf_hash
from aegis_stream.domain.merkle_proof import continues, includes
from aegis_stream.domain.note import parse_checkpoint, parse_log_proof, parse_note
from aegis_stream.domain.organization import ProofMode
from aegis_stream.store import sealing_state
from support.api import START, make_event, open_world
from support.console import signed_in
from support.seal_now import seal_now, sealer
from support.sql import raw
from support.walk import faults_in

HOME = "/console/o/org_abc"
HERE = f"{HOME}/proof"


@pytest.fixture
async def world(tmp_path):
    """A running application that seals logs, with the audit trail on."""
    async with open_world(
        tmp_path, audit_actions=True, proof=True, proof_origin="audit.example.com"
    ) as world:
        yield world


@pytest.fixture
async def visitor(world, tenant):
    """Somebody who may change things."""
    return await signed_in(world, tenant.admin.key)


def headline(page: str) -> str:
    """Return the first sentence of a page."""
    found = re.search(r'<section class="headline.*?</section>', page, re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", found[0])).split())


def files_of(answer) -> dict[str, bytes]:
    """Return the files of a bundle by their names below its folder."""
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


async def bodies_of(world, tenant) -> list[str]:
    """Return the stored events of an organization, in log order."""
    ids = await world.stores.log.event_ids(tenant.no, 0, 10_000)
    return [one.body for one in await world.stores.log.entries_at(tenant.no, sorted(ids))]


async def test_the_page_tells_how_far_the_log_is_sealed(world, tenant, visitor):
    """Empty, waiting for the first checkpoint, sealed, more waiting, and late: each is told first, with what it means."""
    told = [headline((await visitor.get(HERE)).text)]
    await world.send_events(tenant, 3)
    told.append(headline((await visitor.get(HERE)).text))
    await seal_now(world, tenant)
    world.clock.advance(8)
    told.append(headline((await visitor.get(HERE)).text))
    await world.send_events(tenant, 1, prefix="late")
    told.append(headline((await visitor.get(HERE)).text))
    world.clock.advance(1080)
    told.append(headline((await visitor.get(HERE)).text))

    assert told[0] == "Nothing is recorded yet, so there is nothing to seal. Send an event"
    assert (
        told[1] == "Nothing is sealed yet; 3 events wait for the first checkpoint, which comes within 12 s."
    )
    assert told[2].startswith(
        "All 3 events are sealed. The newest checkpoint was signed 8 s ago. Whoever has the key"
    )
    assert told[3].startswith("Events 1 to 3 of 4 are sealed.")
    assert told[3].endswith("1 event waits for the next checkpoint.")
    assert "(18 min): no sealer runs." in told[4]
    assert told[4].endswith("its log says why it ended.")


async def test_the_checkpoint_itself_does_not_wait(world, tenant, visitor):
    """In the mode stream the events of a seal are no news: after an idle hour they are not late, and neither is the first event then."""
    await proof.set_mode(world.service.control, COMMAND_LINE, tenant.org_id, ProofMode.STREAM)
    await world.send_events(tenant, 3)
    await seal_now(world, tenant)
    world.clock.advance(3600)
    idle = await proof.show(world.service.control, tenant.org_id)
    told = headline((await visitor.get(HERE)).text)
    await world.send_events(tenant, 1, prefix="late")
    found = await proof.show(world.service.control, tenant.org_id)

    assert idle.log is not None
    assert idle.log.own > 0
    assert (idle.waiting, idle.waiting_since) == (0, None)
    assert "the checkpoint itself" in told
    assert (found.waiting, found.waiting_since) == (1, world.clock.now())
    assert 'class="headline good"' in (await visitor.get(HERE)).text


async def test_the_page_has_key_and_checkpoint(world, tenant, visitor):
    """They are those of the API, to copy and to download; the stream leaves the first sentence alone."""
    await world.send_events(tenant, 3)
    await seal_now(world, tenant)
    page = (await visitor.get(HERE)).text
    key = (await tenant.read.get("/proof/keys")).text.splitlines()[0].removeprefix("log ")
    note = (await tenant.read.get("/proof/checkpoint")).text
    downloaded = await visitor.get(f"{HERE}/checkpoint")

    assert f"data-copy>{key}</pre>" in html.unescape(page)
    assert note.strip() in html.unescape(page)
    assert downloaded.text == note
    assert downloaded.headers["content-disposition"] == 'attachment; filename="checkpoint-org_abc-3.txt"'
    assert "data-headline" not in page
    assert faults_in(page) == []


async def test_the_mode_is_changed_after_a_look(world, tenant, visitor):
    """The page says what the mode means, another one what happens; then it is changed, recorded, and shown as a call."""
    page = (await visitor.get(HERE)).text
    asked = (await visitor.get(f"{HERE}/mode?to=stream")).text
    changed = await visitor.post(f"{HERE}/mode", {"to": "stream", "seen": "sealed"})
    after = (await visitor.get(HERE)).text
    audit = (await visitor.get(f"{HOME}/audit")).text

    assert page.count('type="radio"') == 3
    assert "Change the mode from sealed to stream?" in asked
    assert "adds one event of the dataset aegis.audit_stream.checkpoint to the log" in asked
    assert "aegis proof mode --org org_abc stream" in asked
    assert changed.headers["location"] == HERE
    assert "The mode is stream from now on." in after
    assert re.search(r'value="stream" checked', after)
    assert "chose how the log is sealed of" in audit


async def test_the_calls_that_the_page_shows_work(world, tenant, visitor):
    """Mode and bundle by the API are what the page does: each call is taken as it stands there."""
    await world.send_events(tenant, 2)
    await seal_now(world, tenant)
    page = html.unescape((await visitor.get(HERE)).text)
    [(method, path, body)] = re.findall(
        r"-X (PATCH) http://127\.0\.0\.1(\S+) .*?-d '([^']*)'", page, re.DOTALL
    )
    headers = {"authorization": f"Bearer {tenant.admin.key}"}
    changed = await world.client.request(
        method, path, content=body, headers=headers | {"content-type": "application/json"}
    )
    bundles = re.findall(r"curl --fail-with-body -OJ http://127\.0\.0\.1(\S+)", page)

    assert changed.status_code == 200, changed.text
    assert (await proof.show(world.service.control, tenant.org_id)).organization.proof is ProofMode.STREAM
    assert [(await world.client.get(one, headers=headers)).status_code for one in bundles] == [200]


async def test_a_mode_that_somebody_else_chose_is_not_overwritten(world, tenant, visitor):
    """The form carries the mode that it showed; a form without one, or with an unknown one, does nothing."""
    await visitor.get(f"{HERE}/mode?to=off")
    await proof.set_mode(world.service.control, COMMAND_LINE, tenant.org_id, ProofMode.STREAM)
    late = await visitor.post(f"{HERE}/mode", {"to": "off", "seen": "sealed"})
    lacking = await visitor.post(f"{HERE}/mode", {"to": "off"})
    unknown = await visitor.post(f"{HERE}/mode", {"to": "loud", "seen": "stream"})
    nothing = [await visitor.get(f"{HERE}/mode{query}") for query in ("", "?to=stream", "?to=loud")]

    assert (late.status_code, lacking.status_code, unknown.status_code) == (409, 422, 422)
    assert "somebody has chosen the mode stream" in late.text
    assert [(one.status_code, one.headers["location"]) for one in nothing] == [(303, HERE)] * 3
    assert (await proof.show(world.service.control, tenant.org_id)).organization.proof is ProofMode.STREAM


async def test_who_may_only_read_sees_no_control(world, tenant):
    """A read key sees all of the page and the downloads, and nothing that changes anything."""
    await world.send_events(tenant, 1)
    await seal_now(world, tenant)
    reader = await signed_in(world, tenant.read.key)
    page = (await reader.get(HERE)).text
    forms = re.findall(r'<form[^>]*method="post"[^>]*action="([^"]*)"', page)

    assert forms == ["/console/sign-out"]
    assert 'type="radio"' not in page
    assert (await reader.get(f"{HERE}/bundle")).status_code == 200
    assert (await reader.get(f"{HERE}/mode?to=off")).status_code == 403


async def test_seal_now_covers_what_is_recorded(world, tenant, visitor):
    """The button seals everything, and says up to where; the page shows the same as a call and as a command."""
    await world.send_events(tenant, 12)
    page = (await visitor.get(HERE)).text
    async with sealer(world, proof_seconds=3600):
        done = await visitor.post(f"{HERE}/seal")
    after = html.unescape((await visitor.get(HERE)).text)

    assert "aegis proof seal --org org_abc" in page
    assert "-X POST http://127.0.0.1/api/orgs/org_abc/proof/checkpoint" in page
    assert (done.status_code, done.headers["location"]) == (303, HERE)
    assert "The events up to 12 are sealed: export up to there." in after
    assert parse_checkpoint(parse_note((await tenant.read.get("/proof/checkpoint")).text).text).size == 12


async def test_seal_now_without_a_sealer(world, tenant, visitor, monkeypatch):
    """Nobody seals: after the wait the page says so, with the way out, and what can be downloaded is still there."""
    monkeypatch.setattr(seal_request, "WAIT_S", 0.01)
    await world.send_events(tenant, 2)
    await seal_now(world, tenant)
    await world.send_events(tenant, 1, prefix="late")
    answer = await visitor.post(f"{HERE}/seal")

    assert answer.status_code == 503
    assert "Not all is sealed." in answer.text
    assert "no sealer has sealed this log" in answer.text
    assert f'href="{HERE}/checkpoint"' in answer.text


async def test_what_the_sealer_refuses_is_told_first(world, tenant, visitor):
    """The first sentence has the sealer's own reason, and up to where the log is sealed."""
    await world.send_events(tenant, 3)
    await seal_now(world, tenant)
    await world.send_events(tenant, 1, prefix="late")
    await world.stores.db.write(
        lambda unit: sealing_state.refuse(unit, tenant.no, "an older copy was put in place.", START)
    )
    world.clock.advance(180)
    told = headline((await visitor.get(HERE)).text)

    assert "The sealer refuses to seal this log since" in told
    assert "(3 min): an older copy was put in place. Events 1 to 3 of 4 are sealed." in told
    assert "`aegis doctor` says what mends it" in told


async def test_a_log_that_is_off_says_what_that_costs(world, tenant, visitor):
    """Switched off after a seal, the page tells what has no proof, and leads to the mode."""
    await world.send_events(tenant, 2)
    await seal_now(world, tenant)
    await proof.set_mode(world.service.control, COMMAND_LINE, tenant.org_id, ProofMode.OFF)
    await world.send_events(tenant, 3, prefix="later")
    page = (await visitor.get(HERE)).text

    assert "This log is not sealed any more." in headline(page)
    assert "has no proof" in headline(page)
    assert f'href="{HERE}/mode?to=sealed"' in page


def verified(folder, *exports: str) -> subprocess.CompletedProcess[str]:
    """Run the program of an unpacked bundle on exports, as its README says."""
    command = [sys.executable, "-I", "-S", "aegis-verify.pyz", *exports]
    command += ["--key", "keys.txt", "--checkpoint", "checkpoint.txt"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


async def test_the_bundle_of_a_log_without_checkpoint_events(world, tenant, visitor, tmp_path):
    """In the mode sealed it says that hashes are needed too, and verifies an export with them."""
    await world.send_events(tenant, 30)
    await seal_now(world, tenant)
    answer = await visitor.get(f"{HERE}/bundle")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    folder, bodies = tmp_path / "proof-org_abc-30", await bodies_of(world, tenant)
    (folder / "export.ndjson").write_text("".join(f"{one}\n" for one in bodies))
    (folder / "hashes.ndjson").write_text((await tenant.read.get("/proof/hashes")).text)
    alone = verified(folder, "export.ndjson")
    with_hashes = verified(folder, "export.ndjson", "hashes.ndjson")

    assert "export.ndjson hashes.ndjson" in (folder / "README.txt").read_text()
    assert (alone.returncode, with_hashes.returncode) == (1, 0), alone.stdout + with_hashes.stdout


async def test_the_bundle_checks_an_export(world, tenant, visitor, tmp_path):
    """Unpacked, it verifies an export of the organization with nothing installed, and names the event that is missing."""
    await proof.set_mode(world.service.control, COMMAND_LINE, tenant.org_id, ProofMode.STREAM)
    await world.send_events(tenant, 200)
    await seal_now(world, tenant)
    await seal_now(
        world, tenant
    )  # covers the checkpoint events, so that their content digests are vouched for
    answer = await visitor.get(f"{HERE}/bundle")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    (folder,) = tmp_path.glob("proof-org_abc-*")
    bodies = await bodies_of(world, tenant)
    (folder / "export.ndjson").write_text("".join(f"{one}\n" for one in bodies))
    (folder / "less.ndjson").write_text("".join(f"{one}\n" for one in bodies if '"evt_7"' not in one))

    whole, less = verified(folder, "export.ndjson"), verified(folder, "less.ndjson")
    assert (whole.returncode, whole.stderr) == (0, ""), whole.stdout
    assert "PINNED" in whole.stdout
    assert less.returncode == 1, less.stdout
    assert "MISSING     1" in less.stdout
    assert (
        "aegis-verify.pyz export.ndjson --key keys.txt --checkpoint checkpoint.txt"
        in (folder / "README.txt").read_text()
    )


async def test_the_bundle_has_no_event_and_is_the_same_each_time(world, tenant, visitor, tmp_path):
    """Its files have fixed names and bytes; its program is the one that `make verifier` builds; no event is in it."""
    await tenant.ingest.send(make_event("evt_1", message="c4n4ry of an event"))
    await seal_now(world, tenant)
    first, again = await visitor.get(f"{HERE}/bundle"), await visitor.get(f"{HERE}/bundle?from_size=")
    build_verifier.build(tmp_path / "built.pyz")
    files = files_of(first)

    assert first.headers["content-disposition"].startswith('attachment; filename="proof-org_abc-')
    assert first.content == again.content
    assert len(first.content) < 1_000_000
    assert list(files) == ["README.txt", "keys.txt", "checkpoint.txt", "aegis-verify.pyz"]
    assert files["aegis-verify.pyz"] == (tmp_path / "built.pyz").read_bytes()
    assert files["checkpoint.txt"].decode() == (await tenant.read.get("/proof/checkpoint")).text
    assert files["keys.txt"].decode() == (await tenant.read.get("/proof/keys")).text
    assert b"c4n4ry" not in first.content


async def test_the_bundle_continues_a_checkpoint_that_was_kept(world, tenant, visitor):
    """With the size of a kept checkpoint a proof is added; a size that the log never had is named at its field."""
    await world.send_events(tenant, 41)
    await seal_now(world, tenant)
    kept = parse_checkpoint(parse_note((await tenant.read.get("/proof/checkpoint")).text).text)
    await world.send_events(tenant, 300, prefix="more")
    await seal_now(world, tenant)
    files = files_of(await visitor.get(f"{HERE}/bundle?from_size=41"))
    newest = parse_checkpoint(parse_note(files["checkpoint.txt"].decode()).text)
    head, _, note = files[f"consistency-41-{newest.size}.txt"].decode().partition("\n\n")
    old, *hashes = head.split("\n")

    assert kept.size == 41
    assert old == "old 41"
    assert note == files["checkpoint.txt"].decode()
    assert continues(
        41, kept.root, newest.size, newest.root, [base64.b64decode(one, validate=True) for one in hashes]
    )
    for size, says in (
        ("0", "must be 1 to"),
        ("9999", "must be 1 to"),
        ("4x", "must be a number"),
        ("9" * 30, "must be a number"),
    ):
        refused = await visitor.get(f"{HERE}/bundle?from_size={size}")
        assert refused.status_code == 422, size
        assert f'value="{size}"' in refused.text
        assert re.search(rf'<p class="problem" id="p-from_size">{says}', refused.text)


async def test_the_bundle_has_the_checkpoint_of_a_log_that_ended(world, tenant, visitor):
    """After a log began again, the last checkpoint of the old one is kept in it."""
    await world.send_events(tenant, 5)
    await seal_now(world, tenant)
    ended = (await tenant.read.get("/proof/checkpoint")).text
    deps: StoreDeps = world.service.control
    await proof.restart(deps, COMMAND_LINE, tenant.org_id, "a test", lambda _: False)
    begun = await visitor.get(f"{HERE}/bundle")
    await seal_now(world, tenant)
    files = files_of(await visitor.get(f"{HERE}/bundle"))

    assert begun.status_code == 404
    assert files["ended/from-1-size-5.txt"].decode() == ended
    assert files["checkpoint.txt"].decode().startswith("audit.example.com/org_abc@6\n")


async def test_nothing_to_download_before_the_first_seal(world, tenant, visitor):
    """The page offers no download, and the addresses say what is missing."""
    await world.send_events(tenant, 1)
    page = (await visitor.get(HERE)).text
    answers = [await visitor.get(f"{HERE}/{one}") for one in ("bundle", "checkpoint")]

    assert f"{HERE}/bundle" not in page
    assert f"{HERE}/checkpoint" not in page
    assert [one.status_code for one in answers] == [404, 404]
    assert all("no event of this organization is sealed" in one.text for one in answers)


async def test_the_page_of_an_event_has_its_proof(world, tenant, visitor):
    """Not sealed yet, sealed with path and download, recorded before the log begins: each says so."""
    ids = await world.send_events(tenant, 70)
    path = f"{HOME}/events/{ids[41]}"
    waiting = (await visitor.get(path)).text
    await seal_now(world, tenant)
    sealed = (await visitor.get(path)).text
    file = await visitor.get(f"{HOME}/event-proof/{ids[41]}")
    found = parse_log_proof(file.text)
    checkpoint = parse_checkpoint(found.note.text)
    body = (await world.stores.log.entry(tenant.no, ids[41])).body.encode()
    shown = [
        base64.b64decode(one)
        for one in re.findall(r'<li><span class="mono">([^<]*)</span> (?:left|right)</li>', sealed)
    ]
    await proof.restart(world.service.control, COMMAND_LINE, tenant.org_id, "a test", lambda _: False)
    before = (await visitor.get(path)).text

    assert "Not sealed yet" in waiting
    assert "proof.js" not in waiting
    assert f"Event 42 of the {checkpoint.size}" in sealed
    assert "proof.js" in sealed
    assert includes(leaf_hash(body), 41, checkpoint.size, found.hashes, checkpoint.root)
    assert shown == list(found.hashes)
    assert file.headers["content-disposition"] == 'attachment; filename="event.tlog-proof"'
    assert "Recorded before the log" in before
    assert "at sequence 71" in before


async def test_an_event_whose_hashes_are_gone_is_still_shown(world, tenant, visitor):
    """Where the hashes of an event are removed or damaged, its page says so and shows all else."""
    [first] = await world.send_events(tenant, 1)
    await world.send_events(tenant, 3, prefix="more")
    await seal_now(world, tenant)
    world.stores.db.write_now(lambda unit: raw(unit).run("DELETE FROM tree_tiles"))
    answer = await visitor.get(f"{HOME}/events/{first}")

    assert answer.status_code == 200
    assert "no proof can be made any more: the sealed log is damaged" in html.unescape(answer.text)
    assert "event-proof/" not in answer.text


async def test_the_proof_of_an_event_with_slashes(world, tenant, visitor):
    """The rest of the path is the id, as on its page; what has no proof, and what is not there, is told."""
    await tenant.ingest.send(make_event("a/b/proof"))
    early = await visitor.get(f"{HOME}/event-proof/a%2Fb%2Fproof")
    await seal_now(world, tenant)
    page = (await visitor.get(f"{HOME}/events/a%2Fb%2Fproof")).text
    (address,) = set(re.findall(r'href="([^"]*)" download="event.tlog-proof"', page))
    found = await visitor.get(address)

    assert early.status_code == 404
    assert parse_log_proof(found.text).leaf_index == 0
    assert (await visitor.get(f"{HOME}/event-proof/nothing")).status_code == 404


async def test_an_event_of_a_log_that_is_off(world, tenant, visitor):
    """Its page says that the log is not sealed, before and after a seal."""
    await proof.set_mode(world.service.control, COMMAND_LINE, tenant.org_id, ProofMode.OFF)
    [first] = await world.send_events(tenant, 1)
    page = (await visitor.get(f"{HOME}/events/{first}")).text

    assert "The log is not sealed." in html.unescape(page)
