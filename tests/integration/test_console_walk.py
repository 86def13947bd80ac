"""Promises that hold for every page of the console, walked from its table of rights: a new page is part of it without a word."""

import html
import json
import re

import pytest

from aegis_stream.console.rights import LIVE, Need
from aegis_stream.control import dead_letters
from aegis_stream.domain.attempt import FailureScope
from aegis_stream.domain.delivery import AttemptRun, DeadRow, KeptAnswer
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import Micros
from support.api import OPERATOR_KEY, SECOND, SECRET, START, make_event, make_failure, open_world
from support.console import Visitor
from support.seal_now import seal_now
from support.walk import HIDDEN, HOSTILE, calls, faults_in, filled, missing, pages

EVENT = f"{HOSTILE} {HIDDEN}"
IN_AN_ORGANIZATION = (Need.READ, Need.WRITE)
FOR_SCRIPTS = ("application/json", "text/event-stream")
"""What our own scripts read; a browser that opens it shows text."""
SHOWING = (
    *("/{org_id}", "/events", "/events/{event_id}", "/search", "/deliveries", "/audit", "/sources", "/keys"),
    *("/{destination_id}", "/settings", "/attempts", "/attempts/{delivery_id}", "/dead-letters", "/{key_id}"),
)
"""Ends of paths whose pages must show the hostile texts: what is not shown cannot be checked."""


@pytest.fixture
async def world(tmp_path, monkeypatch):
    """A running application that records who did what, where a few dead letters are many."""
    monkeypatch.setattr(dead_letters, "AT_ONCE_MAX", 1)
    async with open_world(tmp_path, audit_actions=True) as world:
        yield world


async def furnish(world, org_id):
    """Make an organization with an object of every kind, whose texts are all hostile; return it and their ids."""
    tenant = await world.make_organization(org_id)
    key = (await tenant.admin.post("/api-keys", json={"name": HOSTILE, "scope": "ingest"})).json()
    dst_id = await world.make_destination(tenant, name=HOSTILE, format="json")
    event_id = f"evt_of_{org_id}"
    for name in (event_id, f"{event_id}_2", f"{event_id}_3"):
        event = make_event(
            name,
            org_id=org_id,
            dataset=HOSTILE,
            message=EVENT,
            user={"name": EVENT},
            deep={EVENT: [EVENT]},
        )
        assert (await tenant.ingest.send(event)).json()["accepted"] == 1
    head = json.loads((await tenant.admin.get("/events?order=desc&limit=1")).text)["data"][0]["sequence"]
    at = Micros(START + SECOND)
    message = f"answered 400: {EVENT}"
    failure = make_failure(400, message, FailureScope.EVENT)
    await world.settle(
        tenant,
        dst_id,
        cursor=head,
        runs=[AttemptRun(one, one, 1, "failed", 400, message, 9000, at) for one in (head - 1, head)],
        dead=[DeadRow(one, 1, at, failure) for one in (head - 1, head)],
        answers=[KeptAnswer(at, 1, 1, f"{head}", 400, message, f"X-Echo: {EVENT}", EVENT)],
        health=Health(failures_in_row=1, last_error_at=at, last_error_status=400, last_error_message=message),
        failed_attempts=2,
    )
    base = f"/forwarding-destinations/{dst_id}"
    delivery = (await tenant.admin.get(f"{base}/deliveries")).json()["data"][0]["id"]
    job = (await tenant.admin.post(f"{base}/dead-letters/redrive", json={})).json()["job_id"]
    replay = (await tenant.admin.post(f"{base}/replay", json={"from_sequence": 1})).json()["replay_id"]
    await seal_now(world, tenant)
    link = (await tenant.admin.post("/console-links", json={})).json()["id"]
    return tenant, {
        "org_id": org_id,
        "destination_id": dst_id,
        "event_id": event_id,
        "key_id": key["id"],
        "delivery_id": delivery,
        "job_id": job,
        "replay_id": replay,
        "link_id": link,
    }


async def signed_in(world, key):
    """Return somebody who has signed in."""
    visitor = Visitor(world)
    await visitor.sign_in(key)
    return visitor


async def statics(visitor):
    """Return what stands for the parameters of our own scripts and styles."""
    await visitor.get("/console")
    edition, name = re.search(r"/console/static/([^/]+)/([^\"]+)", visitor.page).groups()
    return {"edition": edition, "name": name}


async def test_hostile_texts_are_text_on_every_page(world):
    """No page has a script, handler, style, picture or foreign link that a text brought, nor a hidden character; all are answers that a browser takes for what they are."""
    tenant, objects = await furnish(world, "org_abc")
    visitor = await signed_in(world, tenant.admin.key)
    operator = await signed_in(world, OPERATOR_KEY)
    await operator.post("/console/operator/enter", {"org_id": "org_abc"})
    objects |= await statics(visitor)
    faults, showing = {}, []
    for path in pages():
        who = operator if "operator" in path else visitor
        where = filled(path, objects) + ("?kind=generic-https" if path.endswith("/new") else "")
        where += "?q=zzz" if path.endswith("/search") else "?to=stream" if path.endswith("/mode") else ""
        answer = await who.get(where)
        if answer.status_code == 303 and path.startswith("/console/o/"):
            answer = await who.get(answer.headers["location"])
        media = answer.headers["content-type"]
        if answer.status_code not in (200, 303):
            faults[path] = [f"answered {answer.status_code}: {answer.text[-900:]}"]
        elif media.startswith("text/html"):
            faults[path] = faults_in(answer.text)
            if HOSTILE[:25] in html.unescape(answer.text):
                showing.append(path)
        elif path.startswith("/console/o/") and not media.startswith(FOR_SCRIPTS):
            faults[path] = [] if "attachment" in answer.headers["content-disposition"] else ["no attachment"]
        if answer.headers["x-content-type-options"] != "nosniff":
            faults[path] = [*faults.get(path, []), "no nosniff"]
        if SECRET in answer.text or tenant.admin.key in answer.text:
            faults[path] = [*faults.get(path, []), "a secret"]

    assert {path: found for path, found in faults.items() if found} == {}
    assert missing(showing, SHOWING) == []


async def test_another_organization_is_404_on_every_page(world):
    """Pages and forms of another organization, and its objects under one's own path, are not there; nothing of it is shown or changed."""
    tenant, mine = await furnish(world, "org_abc")
    other, theirs = await furnish(world, "org_other")
    visitor = await signed_in(world, tenant.admin.key)
    before = (await other.admin.get(f"/forwarding-destinations/{theirs['destination_id']}")).json()
    keys = (await other.admin.get("/api-keys")).json()
    nobodys = {name: text[:-1] + ("0" if text[-1] != "0" else "1") for name, text in theirs.items()}
    wrong, count = {}, 0
    for method in ("GET", "POST"):
        for path in calls(method, *IN_AN_ORGANIZATION):
            for objects in guesses(path, mine):
                await visitor.get("/console/o/org_abc")
                where, unknown = (
                    filled(
                        path, {name: (mine if objects[name] == "mine" else strange)[name] for name in mine}
                    )
                    for strange in (theirs, nobodys)
                )
                answer = await _send(visitor, method, where)
                count += 1
                if answer.status_code == 404:
                    assert theirs["event_id"] not in answer.text.replace(where, "")
                    continue
                # A form that says too little is refused before anything is looked up: then it is so for an unknown object, too.
                await visitor.get("/console/o/org_abc")
                same = await _send(visitor, method, unknown)
                if method == "GET" or objects["org_id"] == "other" or answer.status_code != same.status_code:
                    wrong[method, path, tuple(objects.items())] = answer.status_code

    assert wrong == {}
    assert count > 60
    assert (await other.admin.get(f"/forwarding-destinations/{theirs['destination_id']}")).json() == before
    assert (await other.admin.get("/api-keys")).json() == keys


def guesses(path, mine):
    """Return whose each object of a path may be, so that at least one is another organization's."""
    yield dict.fromkeys(mine, "other")
    for name in mine:
        if name != "org_id" and f"{{{name}}}" in path:
            yield dict.fromkeys(mine, "mine") | {name: "other"}


async def _send(visitor, method, where):
    return await (visitor.get(where) if method == "GET" else visitor.post(where))


async def test_every_page_needs_its_session(world):
    """Without a session every page leads to the sign-in page; a read key gets 403 where something is changed; no key gets the operator's pages."""
    tenant, objects = await furnish(world, "org_abc")
    reader = await signed_in(world, tenant.read.key)
    stranger = Visitor(world)
    objects |= await statics(stranger)
    wrong = {}
    for path in pages():
        (need,) = [one for one in Need if path in pages(one)]
        where = filled(path, objects)
        outside = await stranger.get(where)
        inside = await reader.get(where)
        if path == LIVE:
            wrong |= {} if outside.status_code == 401 else {(path, "for a script"): outside.status_code}
        elif need is not Need.OPEN and (
            outside.status_code != 303 or not outside.headers["location"].startswith("/console?next_path=")
        ):
            wrong[path, "without a session"] = outside.status_code
        if need in (Need.WRITE, Need.OPERATOR) and inside.status_code != 403:
            wrong[path, "with a read key"] = inside.status_code
    for path in calls("POST", Need.WRITE, Need.OPERATOR):
        await reader.get("/console/o/org_abc")
        answer = await reader.post(filled(path, objects))
        if answer.status_code != 403:
            wrong[path, "sent with a read key"] = answer.status_code

    assert wrong == {}
