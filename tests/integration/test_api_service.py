"""Promises about the API as a whole: every route's rights, the documents, problems, secrets."""

import json
import re
import subprocess
import sys

import pytest

from aegis_stream import __version__, build
from aegis_stream.api.app import document
from aegis_stream.api.scopes import RIGHTS, Right
from aegis_stream.domain.attempt import Fault, FaultKind, Response
from aegis_stream.domain.delivery import AttemptRun, RetryRow
from aegis_stream.domain.destination import Health
from aegis_stream.domain.ids import SECOND, Micros, OrganizationNo, WorkerId
from aegis_stream.store import leases, sealing_state
from aegis_stream.telemetry import LOG_EVENTS, METRICS
from support.api import (
    OPERATOR_KEY,
    ORG,
    Caller,
    make_array,
    make_event,
    make_failure,
    make_preflight,
    open_world,
    problem_of,
)
from support.sql import raw

PATH = "/forwarding-destinations"
FRAMEWORKS = "/unused"  # the framework's own pages of documentation, of which there should be none
OPEN = {"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/api/destination-types"}
BODIES = {
    ("POST", "/api/orgs"): {"name": "x"},
    ("POST", "/api/orgs/{org_id}/forwarding-destinations"): {"url": "https://siem.example.com/"},
    ("POST", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/replay"): {"from_sequence": 1},
    ("POST", "/api/orgs/{org_id}/preflight-decisions"): {"decision": "BLOCKED"},
    ("POST", "/api/orgs/{org_id}/events/{event_id}/send"): {"destination_ids": ["dst_0"]},
}
"""A good body for each call that needs more than {}; a new call that does needs an entry here."""

TABLE = {
    ("POST", "/api/orgs/{org_id}/forwarding-destinations"),
    ("GET", "/api/orgs/{org_id}/forwarding-destinations"),
    ("GET", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}"),
    ("PATCH", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}"),
    ("DELETE", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}"),
    ("POST", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/test"),
    ("POST", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/pause"),
    ("POST", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/resume"),
    ("POST", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/replay"),
    ("GET", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/deliveries"),
    ("GET", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/deliveries/{delivery_id}"),
    ("GET", "/api/orgs/{org_id}/deliveries"),
    ("GET", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/dead-letters"),
    ("POST", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/dead-letters/redrive"),
    ("DELETE", "/api/orgs/{org_id}/forwarding-destinations/{destination_id}/dead-letters"),
    ("POST", "/api/orgs/{org_id}/events"),
    ("POST", "/api/orgs/{org_id}/preflight-decisions"),
    ("GET", "/api/orgs/{org_id}/events"),
    ("GET", "/api/orgs/{org_id}/events/{event_id}"),
    ("POST", "/api/orgs/{org_id}/events/{event_id}/send"),
    ("POST", "/api/orgs"),
    ("GET", "/api/orgs/{org_id}"),
    ("POST", "/api/orgs/{org_id}/api-keys"),
    ("GET", "/api/orgs/{org_id}/api-keys"),
    ("DELETE", "/api/orgs/{org_id}/api-keys/{key_id}"),
    ("POST", "/api/orgs/{org_id}/api-keys/{key_id}/rotate"),
}
"""Every call of the table in api.md that needs a key."""


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


def routes_of(world) -> set[tuple[str, str]]:
    """Return every call that the application answers and that needs a key, the hot path among them."""
    found = {
        (method, re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path))
        for route in world.routes.routes
        for method in route.methods
        if method not in ("OPTIONS", "HEAD")
    }
    found = {one for one in found if not one[1].startswith(FRAMEWORKS)}
    return {one for one in found if one[1] not in OPEN} | {("POST", "/api/orgs/{org_id}/events")}


def fill(path: str, **values: str) -> str:
    """Put values into a path; parameters that are not given get a made-up one."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], f"{match[1]}_none"), path)


async def call(world, method: str, path: str, key: str | None, **values: str):
    """Make one call with a body that is good for it."""
    headers = {"authorization": f"Bearer {key}"} if key is not None else {}
    options = {}
    if method in ("POST", "PATCH", "PUT"):
        options["json"] = BODIES.get((method, path), {})
    return await world.client.request(method, fill(path, **values), headers=headers, **options)


async def test_answers_every_call_of_the_table(world):
    """Every call that the contract names is answered."""
    assert routes_of(world) >= TABLE


async def test_answers_nothing_that_is_not_documented(world):
    """The framework adds no pages of its own: they would load scripts from elsewhere, and need no key."""
    added = sorted(
        route.path for route in world.routes.routes if route.path not in OPEN and "/api/" not in route.path
    )

    assert added == []


async def test_every_call_needs_a_key(world):
    """Whatever the route, without a key and with a wrong one the answer is 401."""
    await world.make_organization()
    wrong = []

    for method, path in sorted(routes_of(world)):
        for key in (None, "aegis_sk_wrong"):
            answer = await call(world, method, path, key, org_id=ORG)
            if answer.status_code != 401 or "www-authenticate" not in answer.headers:
                wrong.append((method, path, key, answer.status_code))

    assert wrong == []


async def test_every_call_on_another_organization_is_404(world):
    """Whatever the route, another organization's path is 404, to the letter as that of one that does not exist."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    destination_id = await world.make_destination(other)
    values = {"destination_id": destination_id, "event_id": "evt_1"}
    await world.send_events(other, 1)
    wrong = []

    for method, path in sorted(routes_of(world)):
        if "{org_id}" not in path or RIGHTS[method, path] is Right.OPERATOR:
            continue
        foreign = await call(world, method, path, tenant.admin.key, org_id="org_other", **values)
        missing = await call(world, method, path, tenant.admin.key, org_id="org_xxxxx", **values)
        if (foreign.status_code, missing.status_code) != (404, 404) or foreign.text.replace(
            "org_other", "org_xxxxx"
        ) != missing.text:
            wrong.append((method, path, foreign.status_code, missing.status_code))

    assert wrong == []


async def test_another_organizations_destination_is_404_on_every_route(world):
    """Whatever the route, another organization's destination is 404, to the letter as one that does not exist, and unharmed."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    destination_id = await world.make_destination(other)
    await world.send_events(other, 3)
    await world.add_dead_letters(other, destination_id, [1, 2])
    before = (await other.read.get(f"{PATH}/{destination_id}")).json()
    missing_id = destination_id[:-6] + "zzzzzz"
    wrong, tried = [], 0

    for method, path in sorted(routes_of(world)):
        if "{destination_id}" not in path:
            continue
        tried += 1
        foreign = await call(world, method, path, tenant.admin.key, org_id=ORG, destination_id=destination_id)
        missing = await call(world, method, path, tenant.admin.key, org_id=ORG, destination_id=missing_id)
        if foreign.status_code != 404 or foreign.text.replace(destination_id, missing_id) != missing.text:
            wrong.append((method, path, foreign.status_code, foreign.text))

    assert wrong == []
    assert tried >= 11
    assert (await other.read.get(f"{PATH}/{destination_id}")).json() == before
    assert world.sender.posts == []


async def test_every_call_needs_its_scope(world):
    """A read key changes nothing on any route, and an ingest key neither reads nor changes: 403 with the scope it needs."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 1)
    values = {"org_id": ORG, "destination_id": destination_id, "event_id": "evt_1"}
    ingest_calls = {
        ("POST", "/api/orgs/{org_id}/events"),
        ("POST", "/api/orgs/{org_id}/preflight-decisions"),
    }
    any_key = {("GET", "/api/orgs/{org_id}")}
    wrong = []

    for one in sorted(routes_of(world) - any_key):
        method, path = one
        if RIGHTS[one] is Right.OPERATOR:
            continue
        refused = [tenant.read] if method != "GET" or "/api-keys" in path else []
        if one not in ingest_calls:
            refused.append(tenant.ingest)
        for caller in refused:
            answer = await call(world, method, path, caller.key, **values)
            if answer.status_code != 403:
                wrong.append((method, path, caller is tenant.read, answer.status_code))

    assert wrong == []


async def test_a_read_key_reads(world):
    """A read key may see destinations, deliveries, dead letters and events."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 1)
    run = AttemptRun(1, 1, 1, "delivered", 202, None, 9, world.clock.now())
    await world.settle(tenant, destination_id, cursor=1, runs=[run])
    [attempt] = (await tenant.read.get("/deliveries")).json()["data"]
    values = {"org_id": ORG, "destination_id": destination_id, "event_id": "evt_1"}
    values["delivery_id"] = attempt["id"]

    for method, path in sorted(TABLE):
        if method == "GET" and "/api-keys" not in path:
            answer = await call(world, method, path, tenant.read.key, **values)

            assert answer.status_code == 200, (path, answer.text)


# ── what needs no key ──


async def test_tells_that_it_lives_without_a_key(world):
    """/healthz and /readyz answer 200 as JSON to anyone."""
    health, ready = await world.client.get("/healthz"), await world.client.get("/readyz")

    assert (health.status_code, health.json()) == (200, {"status": "ok", "version": __version__})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_is_not_ready_without_its_store(world):
    """/readyz is 503 when the store does not answer, /healthz still 200."""
    await world.stores.db.write(lambda db: raw(db).run("ALTER TABLE cursors RENAME TO gone"))

    ready, health = await world.client.get("/readyz"), await world.client.get("/healthz")

    problem_of(ready, 503)
    assert int(ready.headers["retry-after"]) >= 1
    assert health.status_code == 200


async def test_is_ready_only_with_a_worker_where_one_should_run(tmp_path):
    """A service with workers is ready while one of them renews its lease; ingest works in any case."""
    async with open_world(tmp_path, needs_worker=True) as world:
        tenant = await world.make_organization()
        before = await world.client.get("/readyz")
        await world.stores.db.write(lambda unit: leases.enlist(unit, WorkerId("wrk_1"), 60 * SECOND))
        during = await world.client.get("/readyz")
        await world.stores.db.write(lambda unit: leases.renew(unit, WorkerId("wrk_1"), -SECOND))
        late = await world.client.get("/readyz")

        assert problem_of(before, 503)["type"].endswith("/no-worker")
        assert (during.status_code, during.json()) == (200, {"status": "ready"})
        assert problem_of(late, 503)["type"].endswith("/no-worker")
        assert (await tenant.ingest.send(make_event("evt_1"))).status_code == 202


async def test_writes_every_metric(world):
    """/metrics has help, type and value of every metric of the table, and no others."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 5)
    await world.settle(
        tenant,
        destination_id,
        cursor=3,
        delivered=2,
        failed_attempts=4,
        retries=[RetryRow(3, 1, Micros(2**50), make_failure())],
        health=Health(failures_in_row=1),
    )
    looked_at = Micros(world.service.control.clock.now() - 90_000_000)
    world.stores.db.write_now(lambda unit: sealing_state.begin(unit, looked_at))
    world.stores.db.write_now(lambda unit: sealing_state.store_report(unit, looked_at, 7, is_caught_up=False))
    world.stores.db.write_now(lambda unit: sealing_state.refuse(unit, OrganizationNo(1), "x", looked_at))

    answer = await world.client.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert [one.split()[2] for one in lines if one.startswith("# TYPE")] == list(METRICS)
    assert [one.split()[2] for one in lines if one.startswith("# HELP")] == list(METRICS)
    values = dict(one.rsplit(" ", 1) for one in lines if not one.startswith("#"))
    assert all(re.fullmatch(r'\w+(\{\w+="[^"]+"(,\w+="[^"]+")*\})?', one) for one in values)
    expected = {
        f'aegis_build_info{{version="{__version__}",build="{build.label()}"}}': "1",
        "aegis_destinations": "1",
        "aegis_destinations_failing": "1",
        "aegis_deliveries_total": "2",
        "aegis_failed_attempts_total": "4",
        "aegis_retrying": "1",
        "aegis_dead_letters": "0",
        "aegis_backlog": "2",
        "aegis_proof_lag_events": "7",
        "aegis_proof_lag_seconds": "90",
        "aegis_proof_seals_total": "0",
        "aegis_proof_inconsistent_total": "1",
        'aegis_ingest_events_total{result="accepted"}': "5",
        'aegis_ingest_requests_total{status="202"}': "1",
    }
    assert {name: values.get(name) for name in expected} == expected


async def test_a_node_that_does_not_report_leaves_the_sums_over_the_store_out(world):
    """Where another node reports the sums over the store, /metrics has only what this one counted, and says so."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 5)
    world.service.counts.standing.report_until(0)

    text = (await world.client.get("/metrics")).text

    values = dict(one.rsplit(" ", 1) for one in text.splitlines() if not one.startswith("#"))
    assert {name.partition("{")[0] for name in values} == {
        "aegis_store_totals_reported",
        "aegis_build_info",
        "aegis_ingest_requests_total",
        "aegis_ingest_events_total",
    }
    assert values["aegis_store_totals_reported"] == "0"
    assert values['aegis_ingest_events_total{result="accepted"}'] == "5"


async def test_describes_every_call(world):
    """The OpenAPI document has every call of the table with its parameters, and every call that the application answers."""
    document = (await world.client.get("/openapi.json")).json()

    described = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method in ("get", "post", "put", "patch", "delete")
    }
    assert document["openapi"].startswith("3.")
    assert document["info"]["version"] == __version__
    assert described >= TABLE
    assert {one for one in described if one[1] not in OPEN} == routes_of(world)
    for method, path in described:
        operation = document["paths"][path][method.lower()]
        named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path)), (method, path)
        assert operation["summary"]


async def test_describes_every_error(world):
    """Each call describes its error answers, with an example that is a whole problem with the right status."""
    document = (await world.client.get("/openapi.json")).json()
    lacking = []

    for path, item in document["paths"].items():
        for method, operation in item.items():
            answers = operation["responses"]
            wanted = {"401", "422", "503"} | ({"404"} if "{" in path else set())
            if not wanted <= set(answers) or not any(status.startswith("2") for status in answers):
                lacking.append((method, path, sorted(answers)))
            for status, answer in answers.items():
                if status.startswith("2"):
                    continue
                examples = answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
                values = [one["value"] for one in examples.values()]
                if not values or any(
                    str(one.get("status")) != status or not {"type", "title", "detail"} <= set(one)
                    for one in values
                ):
                    lacking.append((method, path, status))

    assert lacking == []


async def test_describes_ingest(world):
    """POST …/events is described with both media types, examples of request and answer, and 413, 415, 429 and 503."""
    document = (await world.client.get("/openapi.json")).json()

    operation = document["paths"]["/api/orgs/{org_id}/events"]["post"]

    content = operation["requestBody"]["content"]
    assert {"application/json", "application/x-ndjson"} <= set(content)
    example = next(iter(content["application/json"]["examples"].values()))["value"]
    assert example["event"]["dataset"] == "aegis.preflight"
    answer = next(iter(operation["responses"]["202"]["content"]["application/json"]["examples"].values()))
    assert set(answer["value"]) == {"accepted", "duplicates", "rejected"}
    assert {"400", "401", "403", "404", "413", "415", "422", "429", "503"} <= set(operation["responses"])


async def test_the_example_of_the_document_is_taken(world):
    """The example event of the OpenAPI document is accepted as it stands."""
    tenant = await world.make_organization()
    document = (await world.client.get("/openapi.json")).json()
    content = document["paths"]["/api/orgs/{org_id}/events"]["post"]["requestBody"]["content"]

    answer = await tenant.ingest.post(
        "/events", json=next(iter(content["application/json"]["examples"].values()))["value"]
    )

    assert answer.status_code == 202, answer.text


async def test_the_document_can_be_resolved(world):
    """Every $ref of the OpenAPI document leads somewhere."""
    text = (await world.client.get("/openapi.json")).text

    document = json.loads(text)
    for name in re.findall(r'"\$ref":\s*"#/components/schemas/([^"]+)"', text):
        assert name in document["components"]["schemas"]


async def test_shows_the_documentation_to_anyone(world):
    """/docs is a page that shows every call and loads nothing from elsewhere."""
    answer = await world.client.get("/docs")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for _, path in TABLE:
        assert f"<code>{path}</code>" in answer.text
    assert "<script" not in answer.text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)


# ── problems ──


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/nope", 404),
        ("GET", "/api/orgs/org_abc/nope", 404),
        ("GET", "/%00%0d%0a<script>", 404),
        ("GET", "/" + "x" * 3000, 404),
        ("PUT", "/api/orgs/org_abc/forwarding-destinations", 405),
        ("DELETE", "/api/orgs/org_abc/events", 405),
        ("POST", "/healthz", 405),
        ("POST", "/api/orgs/org_abc/events/", 404),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_not_there_is_a_problem_too(world, method, path, status):
    """Unknown paths and methods are problem+json like every other error, of bounded length."""
    answer = await world.client.request(method, path)

    assert "/docs" in problem_of(answer, status)["detail"]
    assert len(answer.text) < 1000


async def test_a_bug_is_a_problem_without_details(world):
    """An error that nobody foresaw is 500 with no word of it; the log has its kind and place, not its text."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)

    class Broken:
        def open(self, route, trace=None):
            raise ZeroDivisionError(f"c4n4ry {route.headers}")

    object.__setattr__(world.service.control, "sender", Broken())
    answer = await tenant.admin.post(f"{PATH}/{destination_id}/test")

    problem_of(answer, 500)
    assert "c4n4ry" not in answer.text
    ((level, name, values),) = world.log.lines
    assert (level, name, values["kind"]) == ("error", "service.failed", "ZeroDivisionError")
    assert name in LOG_EVENTS
    assert "c4n4ry" not in repr(values)


async def test_a_bug_of_ingest_is_a_problem_too(world):
    """An error that nobody foresaw on the hot path is 500 as a problem, logged, and stores nothing."""
    tenant = await world.make_organization()

    class Broken:
        def append(self, organization_no, events, now, ended):
            ended(ZeroDivisionError("c4n4ry"))

    world.service.control.ingest.log = Broken()
    answer = await tenant.ingest.send(make_event())

    problem_of(answer, 500)
    assert "c4n4ry" not in answer.text
    assert [one[1] for one in world.log.lines] == ["service.failed"]


async def test_a_full_disk_is_503_everywhere(world):
    """A call that cannot be written is 503 with Retry-After, and names no statement."""
    tenant = await world.make_organization()
    await world.stores.db.write(lambda db: raw(db).run("ALTER TABLE destinations RENAME TO gone"))

    answer = await tenant.admin.post(PATH, json={"url": "https://siem.example.com/"})

    problem_of(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
    assert "SELECT" not in answer.text


# ── secrets ──


async def test_no_answer_ever_contains_a_secret(world):
    """Through all calls and failures, credentials, URLs that are credentials and keys stand in no answer but a new key's own."""
    header, url_secret, second = "Bearer c4n4ry-header-value", "c4n4ryInTheUrl", "s3c0nd-key"
    url = f"https://h.example/receiver/v1/http/{url_secret}XYZ1"
    tenant = await world.make_organization()
    with_header = await world.make_destination(tenant, auth_header_value=header, headers={"X-Key": second})
    bare = await world.make_destination(tenant, url=url, auth_header_name=None, auth_header_value=None)
    await tenant.ingest.send(
        make_array([make_event("evt_1", dataset="x"), make_preflight("evt_2"), make_event("evt_3")])
    )
    for destination_id in (with_header, bare):
        own = header if destination_id == with_header else f"{url} /receiver/v1/http/{url_secret}XYZ1"
        echo = f"denied: {own}, {own.rpartition('/')[2]}, {second if own == header else ''}".encode()
        world.sender.answers = [
            Response(401, echo, 100),
            Fault(FaultKind.CONNECT, "connection refused", 100),
            Response(302, echo, 100, location_host="login.example.com"),
        ]
        for _ in range(3):
            await tenant.admin.post(f"{PATH}/{destination_id}/test")
        await world.add_dead_letters(tenant, destination_id, [1])
        await world.settle(
            tenant,
            destination_id,
            cursor=2,
            runs=[AttemptRun(2, 2, 1, "failed", 401, "answered 401", 100, world.clock.now())],
            retries=[RetryRow(2, 1, Micros(2**50), make_failure(401))],
        )
        for body in (
            {"auth_header_name": "Host", "auth_header_value": header},
            {"auth_header_name": "X-Key", "auth_header_value": header + "\r\n"},
            {"url": url + "#x"},
            {"url": url.replace("https", "http")},
            {"url": url.replace("//", "//user:pw@")},
            {"url": f"https://h.example:22/{url_secret}"},
            {"auth_header_value": [header]},
            {"auth_header_value": {"value": header}},
            {"headers": {"X-Key": second + "\n"}},
            {"headers": {f"{second} ": "x"}},
            {"headers": {"X-Key": [second]}},
            {"headers": [second]},
            {"url": [url]},
            {"name": "new"},
            {"auth_header_name": "X-Key", "auth_header_value": header}
            if destination_id == with_header
            else {"url": url},
        ):
            await tenant.admin.patch(f"{PATH}/{destination_id}", json=body)
        values = {"org_id": ORG, "destination_id": destination_id, "event_id": "evt_1"}
        for method, path in sorted(
            routes_of(world) - {("DELETE", f"/api/orgs/{{org_id}}{PATH}/{{destination_id}}")}
        ):
            if (
                path != "/api/orgs"
                and "rotate" not in path
                and (method, path.endswith("/api-keys")) != ("POST", True)
            ):
                await call(world, method, path, tenant.admin.key, **values)
    for path in OPEN:
        await world.client.get(path)
    await Caller(world.client, ORG, "aegis_sk_c4n4ry").get("")
    await tenant.admin.delete(f"{PATH}/{bare}")

    secrets = [
        "c4n4ry-header-value",
        second,
        url_secret,
        "aegis_sk_c4n4ry",
        OPERATOR_KEY,
        tenant.admin.key,
        tenant.ingest.key,
        tenant.read.key,
    ]
    assert len(world.answers) > 70
    for answer in world.answers:
        seen = answer.text + repr(sorted(answer.headers.items()))
        found = [one for one in secrets if one in seen]
        assert not found, (answer.request.method, answer.request.url, found)
    assert not any(one in repr(world.log.lines) for one in secrets)


async def test_a_keys_text_is_shown_once(world):
    """The text of a new key stands in the answer that makes it and in no later one."""
    tenant = await world.make_organization()
    made = await tenant.admin.post("/api-keys", json={"name": "x"})
    rotated = await tenant.admin.post(f"/api-keys/{made.json()['id']}/rotate", json={"overlap_seconds": 60})
    texts = [made.json()["api_key"], rotated.json()["api_key"]]

    shown = [
        (await tenant.admin.get("/api-keys")).text,
        (await tenant.admin.delete(f"/api-keys/{rotated.json()['id']}")).text,
        (await Caller(world.client, ORG, texts[0]).get("/api-keys")).text,
    ]

    assert texts[0] not in rotated.text
    assert not any(text in one for one in shown for text in texts)


def test_starts_without_warnings(tmp_path):
    """The application is imported and put together without a warning, so that the next release of a library does not break it."""
    script = (
        "from pathlib import Path\n"
        "from aegis_stream.wiring.stores import open_stores\n"
        "from aegis_stream.wiring.service import make_service\n"
        "from aegis_stream.api.app import create_app\n"
        "from aegis_stream.settings import Settings, StoreSettings\n"
        "from aegis_stream.store.opening import open_notifier\n"
        "from aegis_stream.telemetry import Log\n"
        "from aegis_stream.wiring.process import SystemRandom\n"
        f"settings = Settings(store=StoreSettings(data_dir=Path({str(tmp_path)!r})))\n"
        "stores = open_stores(settings, Log())\n"
        "notifier = open_notifier(stores.location, SystemRandom())\n"
        "create_app(make_service(settings, stores, Log(), notifier))\n"
        "notifier.close(); stores.close()\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr[-500:]


def test_shows_an_example_of_every_call():
    """Every call of the document has an example of what it answers, and of its body where it takes one."""
    missing = [
        (method, path, part)
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        for part, content in [
            ("request", operation.get("requestBody", {}).get("content", {}).get("application/json")),
            *(
                (status, answer.get("content", {}).get("application/json"))
                for status, answer in operation["responses"].items()
                if status.startswith("2")
            ),
        ]
        if content is not None and not content.get("examples")
    ]

    assert missing == []


async def test_the_kinds_of_destinations_need_no_key(world):
    """Forms and programs can ask what each kind of destination needs before anybody has a key."""
    answer = await world.client.get("/api/destination-types")

    types = answer.json()["types"]
    assert answer.status_code == 200
    assert {"elasticsearch", "splunk", "generic-https"} <= {one["id"] for one in types}
    assert all(one["fields"] and one["search"]["query"] for one in types)
