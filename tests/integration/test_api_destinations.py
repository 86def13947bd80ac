"""Promises of …/forwarding-destinations: made, read, changed, tested, paused, deleted, replayed."""

import datetime as dt
import json
import math
from typing import get_args

import pytest

from aegis_stream.api.schemas.destinations import FormatName
from aegis_stream.control.checks import NOWHERE
from aegis_stream.domain.attempt import Failure, FailureScope, Fault, FaultKind, Response
from aegis_stream.domain.delivery import AttemptRun, DeadRow
from aegis_stream.domain.destination import HEADER_VALUE_CHARACTERS_MAX, Health
from aegis_stream.domain.times import to_text
from aegis_stream.formats import AUTO, REGISTRY
from aegis_stream.netguard import parse_networks
from aegis_stream.receiver.tls import ensure_certificate
from support.api import (
    ORG,
    SECRET,
    START,
    FakeClock,
    make_event,
    open_world,
    problem_of,
)
from support.sql import raw

PATH = "/forwarding-destinations"
URL = "https://siem.example.com/services/collector"
MINIMAL = {"url": URL}
WITH_KEY = MINIMAL | {"auth_header_name": "Authorization", "auth_header_value": SECRET}


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


# ── made and read ──


async def test_only_the_url_is_required(world):
    """A destination of a URL alone has the documented defaults, and is read as it was answered."""
    tenant = await world.make_organization()

    made = await tenant.admin.post(PATH, json=MINIMAL)
    read = await tenant.read.get(f"{PATH}/{made.json()['id']}")

    assert made.status_code == 201
    assert made.json()["id"].startswith("dst_")
    assert made.json() == {
        "id": made.json()["id"],
        "org_id": ORG,
        "url": "https://siem.example.com/services/****ctor",
        "auth_header_name": None,
        "auth_header_set": False,
        "name": "",
        "enabled": True,
        "format": "splunk_hec",
        "format_reason": "the path is that of Splunk's HTTP Event Collector",
        "filter": {"datasets": [], "decisions": []},
        "batch": {"max_events": 500, "max_bytes": 1_000_000, "max_wait_ms": 200},
        "batch_bytes_learned": None,
        "retry": {"max_attempts": 3, "base_seconds": 60, "multiplier": 2, "max_seconds": 3600},
        "ca_certificate": None,
        "compression": "none",
        "header_names": [],
        "oauth2": None,
        "status": "active",
        "last_error": None,
        "last_success_at": None,
        "created_at": to_text(START),
        "updated_at": to_text(START),
        "stats": {
            "delivered": 0,
            "failed_attempts": 0,
            "retrying": 0,
            "dead_letters": 0,
            "backlog": 0,
            "p50_ms": None,
            "p99_ms": None,
        },
    }
    assert (read.status_code, read.json()) == (200, made.json())
    assert world.notifier.changes == 1


async def test_keeps_all_that_was_written(world):
    """Every field that was written is read again as it was, but for the credential."""
    tenant = await world.make_organization()
    written = {
        "url": "https://siem.example.com:8088/in?x=1",
        "auth_header_name": "X-Api-Key",
        "name": "Elastic prod",
        "enabled": False,
        "format": "ndjson",
        "filter": {"datasets": ["aegis.preflight"], "decisions": ["BLOCKED"]},
        "batch": {"max_events": 10, "max_bytes": 5000, "max_wait_ms": 0},
        "retry": {"max_attempts": 5, "base_seconds": 0.5, "multiplier": 3, "max_seconds": 7},
        "compression": "none",
    }

    made = await tenant.admin.post(PATH, json=written | {"auth_header_value": SECRET})
    read = (await tenant.read.get(f"{PATH}/{made.json()['id']}")).json()

    assert {name: read[name] for name in written} == written
    assert read["auth_header_set"] is True
    assert read["format_reason"] == "set explicitly"
    assert "auth_header_value" not in read
    assert read["status"] == "paused"
    assert SECRET not in made.text
    stored = await world.stored(tenant, read["id"])
    assert stored.spec.auth_header_value == SECRET


async def test_a_partial_policy_has_defaults_for_the_rest(world):
    """What is left out of batch, retry and filter has its default."""
    tenant = await world.make_organization()

    made = await tenant.admin.post(
        PATH,
        json=MINIMAL | {"retry": {"max_attempts": 7}, "batch": {"max_events": 2}, "filter": {}},
    )

    body = made.json()
    assert body["retry"] == {"max_attempts": 7, "base_seconds": 60, "multiplier": 2, "max_seconds": 3600}
    assert body["batch"] == {"max_events": 2, "max_bytes": 1_000_000, "max_wait_ms": 200}
    assert body["filter"] == {"datasets": [], "decisions": []}


async def test_the_operators_retry_settings_are_the_defaults(tmp_path):
    """A destination without a retry policy has the operator's."""
    async with open_world(tmp_path, retry_max_attempts=5, retry_base_seconds=2.0) as world:
        tenant = await world.make_organization()

        made = await tenant.admin.post(PATH, json=MINIMAL)

        assert made.json()["retry"]["max_attempts"] == 5
        assert made.json()["retry"]["base_seconds"] == 2


@pytest.mark.parametrize(
    "url, shown",
    [
        ("https://h.example/receiver/v1/http/ZaVnC4dhaV2Wq", "https://h.example/receiver/****V2Wq"),
        ("https://h.example/services/collector?token=c4n4ry", "https://h.example/services/****n4ry"),
        ("https://h.example?token=c4n4ry-long", "https://h.example?****long"),
        ("https://h.example:8443/in?token=c4n4ry-long", "https://h.example:8443/in?****long"),
        ("https://h.example/in/short", "https://h.example/in/****"),
        ("https://h.example/in", "https://h.example/in"),
        ("https://h.example", "https://h.example"),
    ],
    ids=["path", "path and query", "query alone", "port", "short tail", "one segment", "no path"],
)
async def test_a_url_without_auth_header_is_masked_as_the_credential(world, url, shown):
    """Without an auth header, everything after the host is masked but for the first segment and the last four characters."""
    tenant = await world.make_organization()

    made = await tenant.admin.post(PATH, json={"url": url})
    listed = await tenant.read.get(PATH)

    assert made.json()["url"] == listed.json()["data"][0]["url"] == shown
    assert (await world.stored(tenant, made.json()["id"])).spec.url == url


async def test_a_url_with_auth_header_is_shown(world):
    """With an auth header the header is the credential, and the URL is shown whole."""
    tenant = await world.make_organization()

    made = await tenant.admin.post(PATH, json=WITH_KEY | {"url": URL + "?index=main"})

    assert made.json()["url"] == URL + "?index=main"


async def test_a_destination_begins_after_the_newest_event(world):
    """A new destination receives what is recorded after it was made: older events are not its backlog."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 3)
    destination_id = await world.make_destination(tenant)

    await world.send_events(tenant, 2, prefix="later")

    read = await tenant.read.get(f"{PATH}/{destination_id}")
    assert read.json()["stats"]["backlog"] == 2


async def test_shows_health_as_the_worker_settled_it(world):
    """Status, last error, last success and counts are those that the worker stored."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 3)
    health = Health(
        failures_in_row=2,
        p50_ms=4.5,
        p99_ms=20.25,
        last_success_at=START,
        last_error_at=START,
        last_error_status=401,
        last_error_message="answered 401: check the credential",
        last_error_sequence=2,
    )

    await world.settle(tenant, destination_id, cursor=1, health=health, delivered=1, failed_attempts=2)

    body = (await tenant.read.get(f"{PATH}/{destination_id}")).json()
    assert body["status"] == "failing"
    assert body["last_error"] == {
        "at": to_text(START),
        "status_code": 401,
        "message": "answered 401: check the credential",
        "event_id": "evt_2",
    }
    assert body["last_success_at"] == to_text(START)
    assert body["stats"] == {
        "delivered": 1,
        "failed_attempts": 2,
        "retrying": 0,
        "dead_letters": 0,
        "backlog": 2,
        "p50_ms": 4.5,
        "p99_ms": 20.25,
    }


@pytest.mark.parametrize(
    ("addresses", "same_name", "limited"),
    [
        (["10.0.0.7"], True, 1 + 3 * 5),
        (["10.0.0.7"], False, 5),
        ([], True, 1 + 3 * 5),
        ([], False, 5),
        (["93.184.215.14"], False, None),
    ],
    ids=["forbidden", "many forbidden", "unknown", "many unknown", "public"],
)
async def test_names_that_lead_nowhere_are_limited(tmp_path, addresses, same_name, limited):
    """Row 71: names that are forbidden or unknown are limited alike for each organization, one for many less; public ones are not."""
    async with open_world(tmp_path, tests_per_minute=5) as world:
        tenant, other = await world.make_organization(), await world.make_organization("org_other")
        statuses, texts = [], set()
        for number in range(30):
            host = f"h{0 if same_name else number}.corp.example.com"
            world.resolver.addresses[host] = addresses
            answer = await tenant.admin.post(PATH, json={"url": f"https://{host}/"})
            statuses.append(answer.status_code)
            if answer.status_code == 422:
                texts.add(answer.json()["detail"])
        elsewhere = await other.admin.post(PATH, json=MINIMAL)
        world.clock.advance(60)
        world.resolver.addresses["siem.example.com"] = ["93.184.215.14"]
        later = await tenant.admin.post(PATH, json=MINIMAL)

    assert (statuses.index(429) if 429 in statuses else None) == limited
    assert statuses[:5] == [201 if limited is None else 422] * 5
    assert len(texts) <= 1
    assert (elsewhere.status_code, later.status_code) == (201, 201)


async def test_as_many_dead_letters_as_are_kept_are_told(tmp_path):
    """A destination with as many dead letters as are kept is failing, and the error says what becomes of further ones."""
    async with open_world(tmp_path, dead_letters_max=2) as world:
        tenant = await world.make_organization()
        destination_id = await world.make_destination(tenant)
        await world.send_events(tenant, 3)
        failure = Failure(FailureScope.EVENT, "answered 400: rejected", 400, permanent=True)
        shown = []
        for sequence in (1, 2):
            row = DeadRow(sequence, 1, START, failure)
            health = Health(
                last_error_at=START,
                last_error_status=400,
                last_error_message=failure.message,
                last_success_at=START,
            )
            await world.settle(tenant, destination_id, cursor=sequence, dead=[row], health=health)
            shown.append((await tenant.read.get(f"{PATH}/{destination_id}")).json())

    assert [one["status"] for one in shown] == ["active", "failing"]
    assert shown[0]["last_error"]["message"] == "answered 400: rejected"
    assert "AEGIS_DEAD_LETTERS_MAX" in shown[1]["last_error"]["message"]
    assert "answered 400: rejected" in shown[1]["last_error"]["message"]


async def test_lists_destinations_page_by_page(world):
    """The list walks over every destination once, oldest first, whatever the page size; other organizations' are not in it."""
    tenant, other = await world.make_organization(), await world.make_organization("org_other")
    made = []
    for number in range(5):
        made.append(await world.make_destination(tenant, name=str(number)))
        await world.make_destination(other)

    for limit in (1, 2, 5, 200):
        pages = await tenant.read.all_pages(PATH, limit)

        assert [one["id"] for page in pages for one in page] == made
        assert all(len(page) == limit for page in pages[:-1])


async def test_limits_how_many_destinations_there_are(tmp_path):
    """Beyond the limit another destination is a conflict that says so; deleting one makes room."""
    async with open_world(tmp_path, destinations_max=1) as world:
        tenant = await world.make_organization()
        destination_id = await world.make_destination(tenant)

        refused = await tenant.admin.post(PATH, json=MINIMAL)
        await tenant.admin.delete(f"{PATH}/{destination_id}")
        taken = await tenant.admin.post(PATH, json=MINIMAL)

        assert "limit" in problem_of(refused, 409)["detail"]
        assert taken.status_code == 201


# ── checks on writing ──


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"url": None}, "url"),
        ({"url": 7}, "url"),
        ({"url": ""}, "url"),
        ({"url": "siem.example.com"}, "url"),
        ({"url": "ftp://siem.example.com/"}, "url"),
        ({"url": "http://siem.example.com/"}, "url"),
        ({"url": "https://user:pw@siem.example.com/"}, "url"),
        ({"url": "https://siem.example.com/#x"}, "url"),
        ({"url": "https://siem.example.com/\r\nHost: x"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://10.1.2.3/"}, "url"),
        ({"url": "https://[::1]/"}, "url"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "url"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "https://0x7f.1/"}, "url"),
        ({"url": "https://localhost/"}, "url"),
        ({"url": "https://metadata.google.internal/"}, "url"),
        ({"url": "https://siem.example.com:22/"}, "url"),
        ({"name": 7}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"enabled": "yes"}, "enabled"),
        ({"format": "xml"}, "format"),
        ({"compression": "lzma"}, "compression"),
        ({"filter": []}, "filter"),
        ({"filter": {"datasets": "x"}}, "filter.datasets"),
        ({"filter": {"datasets": [""]}}, "filter.datasets"),
        ({"filter": {"datasets": ["x"] * 101}}, "filter.datasets"),
        ({"filter": {"decisions": ["MAYBE"]}}, "filter.decisions[0]"),
        ({"filter": {"dataset": ["x"]}}, "filter.dataset"),
        ({"batch": {"max_events": 0}}, "batch.max_events"),
        ({"batch": {"max_events": 10_001}}, "batch.max_events"),
        ({"batch": {"max_events": 10**30}}, "batch.max_events"),
        ({"batch": {"max_bytes": 999}}, "batch.max_bytes"),
        ({"batch": {"max_wait_ms": -1}}, "batch.max_wait_ms"),
        ({"batch": {"max_event": 5}}, "batch.max_event"),
        ({"retry": {"max_attempts": 0}}, "retry.max_attempts"),
        ({"retry": {"max_attempts": 21}}, "retry.max_attempts"),
        ({"retry": {"max_attempts": 2.5}}, "retry.max_attempts"),
        ({"retry": {"base_seconds": 0}}, "retry.base_seconds"),
        ({"retry": {"multiplier": 0.5}}, "retry.multiplier"),
        ({"retry": {"base_seconds": 10, "max_seconds": 5}}, "retry.max_seconds"),
        ({"retry": {"jitter": 1}}, "retry.jitter"),
        ({"ca_certificate": "nonsense"}, "ca_certificate"),
        (
            {"ca_certificate": "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"},
            "ca_certificate",
        ),
        ({"ca_certificate": ""}, "ca_certificate"),
        ({"ca_certificate": "é"}, "ca_certificate"),
        ({"auth_header_name": "X-Key"}, "auth_header_value"),
        ({"auth_header_value": SECRET}, "auth_header_name"),
        ({"id": "dst_mine"}, "id"),
        ({"auth_header": "x"}, "auth_header"),
    ],
    ids=lambda value: json.dumps(value)[:50] if isinstance(value, dict) else "",
)
async def test_refuses_a_wrong_field_by_name(world, changes, field):
    """A wrong or unknown field is 422 with its dotted name, when made and when changed alike; nothing is stored."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, auth_header_name=None, auth_header_value=None)
    before = (await tenant.read.get(f"{PATH}/{destination_id}")).json()
    rings = world.notifier.changes

    made = await tenant.admin.post(PATH, json=MINIMAL | changes)
    changed = await tenant.admin.patch(f"{PATH}/{destination_id}", json=changes)

    problem_of(made, 422, field)
    problem_of(changed, 422, field)
    assert (await tenant.read.get(PATH)).json()["data"] == [before]
    assert world.notifier.changes == rings
    assert SECRET not in made.text + changed.text


async def test_refuses_a_destination_without_url(world):
    """A missing url is named as required."""
    tenant = await world.make_organization()

    answer = await tenant.admin.post(PATH, json={"name": "x"})

    assert "required" in problem_of(answer, 422, "url")["detail"]


async def test_names_all_wrong_fields_at_once(world):
    """A body with several wrong values is told all of them, not one a time."""
    tenant = await world.make_organization()

    answer = await tenant.admin.post(
        PATH,
        json={"url": "http://h.example", "name": "x" * 201, "batch": {"max_events": 0}},
    )

    problem_of(answer, 422, "url", "name", "batch.max_events")


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "host", "Content-Length", "Content-Type", "Transfer-Encoding", "Connection", "User-Agent"),
        *("Content-Encoding", "TE", "Trailer", "Upgrade", "Expect", "Keep-Alive", "Proxy-Connection"),
        *("X Key", "X-Key:", "", "X-Kéy", "X-Key\r\nHost", "(x)", "x" * 129),
    ],
    ids=ascii,
)
async def test_refuses_a_header_name_that_frames_or_is_no_token(world, name):
    """The auth header's name must be a token and none of the headers that frame the request."""
    tenant = await world.make_organization()

    answer = await tenant.admin.post(PATH, json=WITH_KEY | {"auth_header_name": name})

    problem_of(answer, 422, "auth_header_name")
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "value",
    [
        *("c4n4ry\r\nHost: x", "c4n4ry\n", "c4n4ry\0", " c4n4ry", "c4n4ry ", "c4n4ry\tx", "", "c4n4ry-é"),
        "c4n4ry" + "x" * HEADER_VALUE_CHARACTERS_MAX,
        "c4n4ry" * 11_000,
    ],
    ids=lambda value: ascii(value[:20]),
)
async def test_refuses_a_header_value_that_is_not_visible_ascii(world, value):
    """The auth header's value must be visible ASCII of a bounded length, and the refusal does not repeat it."""
    tenant = await world.make_organization()

    answer = await tenant.admin.post(PATH, json=WITH_KEY | {"auth_header_value": value})

    problem_of(answer, 422, "auth_header_value")
    assert "c4n4ry" not in answer.text


@pytest.mark.parametrize(
    "value", ["x" * HEADER_VALUE_CHARACTERS_MAX, "Splunk a b", "!~"], ids=["longest", "blanks", "edges"]
)
async def test_takes_visible_ascii_as_header_value(world, value):
    """A value of visible characters, with blanks inside, is taken as it is."""
    tenant = await world.make_organization()

    destination_id = await world.make_destination(tenant, auth_header_value=value)

    assert (await world.stored(tenant, destination_id)).spec.auth_header_value == value


@pytest.mark.parametrize(
    "addresses, taken",
    [
        (["93.184.215.14"], True),
        (["10.0.0.7"], False),
        (["93.184.215.14", "10.0.0.7"], False),
        (["::1"], False),
        (["169.254.169.254"], False),
        ([], False),
        (None, True),
    ],
    ids=["public", "private", "one of two private", "loopback", "metadata", "unknown", "nobody tells"],
)
async def test_judges_what_the_name_resolves_to(world, addresses, taken):
    """A name that resolves to a forbidden address is refused like an unknown one; one of which nobody tells may come to be."""
    world.resolver.addresses["siem.example.com"] = addresses
    tenant = await world.make_organization()

    answer = await tenant.admin.post(PATH, json=MINIMAL)

    if taken:
        assert answer.status_code == 201
    else:
        assert problem_of(answer, 422, "url")["errors"][0]["message"] == NOWHERE


@pytest.mark.parametrize("beside", [[], None, ["93.184.215.14"]], ids=["unknown", "nobody tells", "wildcard"])
async def test_a_forbidden_name_is_answered_like_one_that_does_not_exist(world, beside):
    """Row 71: whether a name exists inside is not told, by status or text, also where no name server answers."""
    tenant = await world.make_organization()
    world.resolver.others = beside
    world.resolver.addresses["jenkins.corp.example.com"] = ["10.0.0.7"]
    world.resolver.addresses["nothing.corp.example.com"] = beside if beside is None else []

    said = []
    for name in ("jenkins", "nothing"):
        answer = await tenant.admin.post(PATH, json={"url": f"https://{name}.corp.example.com/in"})
        said.append((answer.status_code, answer.json().get("detail")))

    assert said[0] == said[1]
    assert said[0][0] == (201 if beside is None else 422)


@pytest.mark.parametrize("addresses", [[], ["10.0.0.7"]], ids=["unknown", "forbidden"])
async def test_other_fields_can_be_changed_when_the_name_is_gone(world, addresses):
    """A destination whose host no longer resolves can be renamed and switched off; its new host is looked up."""
    tenant = await world.make_organization()
    destination_id = (await tenant.admin.post(PATH, json=MINIMAL)).json()["id"]
    for host in ("siem.example.com", "new.example.com"):
        world.resolver.addresses[host] = addresses

    renamed = await tenant.admin.patch(f"{PATH}/{destination_id}", json={"name": "old", "enabled": False})
    moved = await tenant.admin.patch(f"{PATH}/{destination_id}", json={"url": "https://new.example.com/"})

    assert (renamed.status_code, moved.status_code) == (200, 422)


@pytest.mark.parametrize(
    ("url", "told"), [("http://localhost:8800/in", True), ("http://siem.example.com/in", False)]
)
async def test_localhost_is_told_to_be_two_addresses(tmp_path, url, told):
    """Where 127.0.0.0/8 is allowed and localhost is ::1 as well, the refusal says what to write instead; of other names it says nothing."""
    networks = parse_networks("127.0.0.0/8")
    async with open_world(tmp_path, allow_http=True, allowed_networks=networks) as world:
        for name in ("localhost", "siem.example.com"):
            world.resolver.addresses[name] = ["127.0.0.1", "::1"]
        tenant = await world.make_organization()

        answer = await tenant.admin.post(PATH, json={"url": url})

    problem_of(answer, 422, "url")
    assert ("write 127.0.0.1" in answer.text) is told


async def test_the_operator_can_allow_http_and_networks(tmp_path):
    """With AEGIS_ALLOW_HTTP and AEGIS_ALLOWED_NETWORKS a plain-http destination in that network is taken, in others not."""
    networks = parse_networks("10.0.0.0/8")
    async with open_world(tmp_path, allow_http=True, allowed_networks=networks) as world:
        tenant = await world.make_organization()

        inside = await tenant.admin.post(PATH, json={"url": "http://10.1.2.3:8080/in"})
        outside = await tenant.admin.post(PATH, json={"url": "http://192.168.1.1/in"})
        metadata = await tenant.admin.post(PATH, json={"url": "http://169.254.169.254/in"})

        assert inside.status_code == 201
        problem_of(outside, 422, "url")
        problem_of(metadata, 422, "url")


@pytest.mark.parametrize(
    "body, status",
    [(b"{", 400), (b"nonsense", 400), (b'{"url": "\xff"}', 400), (b"[]", 422), (b"7", 422), (b"null", 422)],
    ids=ascii,
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_refuses_a_body_that_is_no_object(world, method, body, status):
    """A body that is not JSON is 400, one that is not an object 422."""
    tenant = await world.make_organization()
    path = PATH if method == "POST" else f"{PATH}/{await world.make_destination(tenant)}"

    answer = await tenant.admin.request(
        method, path, content=body, headers={"content-type": "application/json"}
    )

    problem_of(answer, status)


async def test_refuses_a_huge_body(world):
    """A body over a megabyte is 413."""
    tenant = await world.make_organization()

    answer = await tenant.admin.post(PATH, json=MINIMAL | {"ca_certificate": "x" * 1_000_001})

    problem_of(answer, 413)


# ── changed ──


async def test_changes_what_is_given_and_keeps_the_rest(world):
    """A patch changes its fields and no others, moves updated_at, and tells the workers."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, name="before", format="ndjson")
    before = (await tenant.read.get(f"{PATH}/{destination_id}")).json()
    world.clock.advance(60)

    answer = await tenant.admin.patch(f"{PATH}/{destination_id}", json={"name": "after"})

    assert answer.status_code == 200
    assert answer.json() == before | {
        "name": "after",
        "updated_at": to_text(FakeClock(START + 60_000_000).now()),
    }
    assert (await tenant.read.get(f"{PATH}/{destination_id}")).json() == answer.json()
    assert (await world.stored(tenant, destination_id)).spec.auth_header_value == SECRET
    assert world.notifier.changes == 2


async def test_an_empty_patch_changes_nothing(world):
    """A patch without fields is no error."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    before = (await tenant.read.get(f"{PATH}/{destination_id}")).json()

    answer = await tenant.admin.patch(f"{PATH}/{destination_id}", json={})

    assert (answer.status_code, answer.json()) == (200, before)


async def test_null_takes_back_filter_batch_and_retry(world):
    """A null for filter, batch or retry goes back to the default."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(
        tenant,
        filter={"datasets": ["x"]},
        batch={"max_events": 1},
        retry={"max_attempts": 9},
    )

    answer = await tenant.admin.patch(
        f"{PATH}/{destination_id}", json={"filter": None, "batch": None, "retry": None}
    )

    assert answer.json()["filter"] == {"datasets": [], "decisions": []}
    assert answer.json()["batch"]["max_events"] == 500
    assert answer.json()["retry"]["max_attempts"] == 3


async def test_a_credential_can_be_replaced_and_removed(world):
    """The credential is replaced by a new value, and removed by nulls; then the URL is masked."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)

    await tenant.admin.patch(f"{PATH}/{destination_id}", json={"auth_header_value": "Bearer other"})
    replaced = (await world.stored(tenant, destination_id)).spec
    removed = await tenant.admin.patch(
        f"{PATH}/{destination_id}", json={"auth_header_name": None, "auth_header_value": None}
    )

    assert (replaced.auth_header_name, replaced.auth_header_value) == ("Authorization", "Bearer other")
    assert removed.json()["auth_header_set"] is False
    assert "****" in removed.json()["url"]
    assert (await world.stored(tenant, destination_id)).spec.auth_header_value is None


@pytest.mark.parametrize(
    "url, kept",
    [
        ("https://siem.example.com/other", True),
        ("https://SIEM.example.com/other", True),
        ("https://evil.example.com/services/collector", False),
        ("https://siem.example.com.evil.example/services/collector", False),
        ("https://siem.example.com:8443/services/collector", False),
    ],
    ids=["path", "capitals", "host", "longer host", "port"],
)
async def test_another_host_drops_the_credential(world, url, kept):
    """A stored credential never follows to another host: it must be given anew together with the URL."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)

    answer = await tenant.admin.patch(f"{PATH}/{destination_id}", json={"url": url})

    spec = (await world.stored(tenant, destination_id)).spec
    assert spec.url == url
    assert spec.auth_header_value == (SECRET if kept else None)
    assert answer.json()["auth_header_set"] is kept
    assert answer.json()["auth_header_name"] == ("Authorization" if kept else None)


@pytest.mark.parametrize("before", [True, False], ids=["another", "the system's before"])
async def test_other_authorities_need_the_credential_again(world, tmp_path, before):
    """With another ca_certificate the credential must be sent again: 422 names it and changes nothing; line breaks are no change."""
    tenant = await world.make_organization()
    now = dt.datetime.now(dt.UTC)
    old, new = (ensure_certificate(tmp_path / one, now).ca_certificate.read_text() for one in ("old", "new"))
    destination_id = await world.make_destination(tenant, **({"ca_certificate": old} if before else {}))

    refused = await tenant.admin.patch(f"{PATH}/{destination_id}", json={"ca_certificate": new})
    kept = (await world.stored(tenant, destination_id)).spec
    same = await tenant.admin.patch(
        f"{PATH}/{destination_id}", json={"ca_certificate": old.replace("\n", "\r\n") if before else None}
    )
    taken = await tenant.admin.patch(
        f"{PATH}/{destination_id}", json={"ca_certificate": new, "auth_header_value": "Bearer anew"}
    )

    problem_of(refused, 422, "auth_header_value")
    assert (kept.auth_header_value, kept.ca_certificate) == (SECRET, old if before else None)
    assert same.json()["auth_header_set"] is True
    assert taken.status_code == 200
    assert (await world.stored(tenant, destination_id)).spec.auth_header_value == "Bearer anew"


async def test_another_host_with_the_credential_anew(world):
    """Where the credential is given with the new host it is kept."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)

    await tenant.admin.patch(
        f"{PATH}/{destination_id}",
        json={"url": "https://other.example.com/", "auth_header_value": "Bearer anew"},
    )

    spec = (await world.stored(tenant, destination_id)).spec
    assert (spec.auth_header_name, spec.auth_header_value) == ("Authorization", "Bearer anew")


async def test_refuses_the_masked_url_back(world):
    """The URL as it is shown, with its mask, is not taken for a new one."""
    tenant = await world.make_organization()
    made = await tenant.admin.post(PATH, json=MINIMAL)

    answer = await tenant.admin.patch(f"{PATH}/{made.json()['id']}", json={"url": made.json()["url"]})

    problem_of(answer, 422, "url")
    assert (await world.stored(tenant, made.json()["id"])).spec.url == URL


async def test_a_change_ends_the_failing_state(world):
    """After a change of configuration a failing destination is tried again at once."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.settle(tenant, destination_id, health=Health(failures_in_row=4))

    answer = await tenant.admin.patch(f"{PATH}/{destination_id}", json={"auth_header_value": "Bearer new"})

    assert answer.json()["status"] == "active"


async def test_pauses_and_resumes(world):
    """Pause and resume answer the destination in its new state, as often as they are called, and tell the workers."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    states = []

    for call in ("pause", "pause", "resume", "resume"):
        answer = await tenant.admin.post(f"{PATH}/{destination_id}/{call}")
        assert answer.status_code == 200
        states.append((answer.json()["enabled"], answer.json()["status"]))

    assert states == [(False, "paused"), (False, "paused"), (True, "active"), (True, "active")]
    assert world.notifier.changes == 5
    assert (await world.stored(tenant, destination_id)).spec.auth_header_value == SECRET


async def test_deletes(world):
    """A deleted destination is gone: 204, then 404 on every call, not in the list, and its secrets gone from the store."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    kept = await world.make_destination(tenant)

    answer = await tenant.admin.delete(f"{PATH}/{destination_id}")

    assert (answer.status_code, answer.content) == (204, b"")
    problem_of(await tenant.read.get(f"{PATH}/{destination_id}"), 404)
    problem_of(await tenant.admin.delete(f"{PATH}/{destination_id}"), 404)
    problem_of(await tenant.admin.patch(f"{PATH}/{destination_id}", json={}), 404)
    assert [one["id"] for one in (await tenant.read.get(PATH)).json()["data"]] == [kept]
    assert world.notifier.changes == 3


# ── test events ──


async def test_sends_a_test_event(world):
    """`test` sends one recognizable event at once, with credential and format; a 2xx is ok, and no log has it."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, format="json_array")

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/test")

    told = answer.json()
    assert set(told) == {"ok", "status_code", "latency_ms", "stages", "certificate", "request"}
    assert (answer.status_code, told["ok"], told["status_code"], told["latency_ms"]) == (200, True, 202, 8.1)
    assert all(one["ok"] for one in told["stages"])
    ((route, request),) = world.sender.posts
    assert route.endpoint.host == "siem.example.com"
    assert route.headers == (("Authorization", SECRET),)
    assert route.timeout_s == 10
    assert request.content_type == "application/json"
    (event,) = json.loads(request.body)
    assert event["event"]["dataset"] == "aegis.audit_stream.test"
    assert event["event"]["kind"] == "event"
    assert event["event"]["id"]
    assert event["aegis"] == {"test": True}
    assert "est" in event["message"]
    assert event["organization"] == {"id": ORG}
    assert (await tenant.read.get("/events")).json()["data"] == []
    assert world.sender.open_channels == 0


async def test_every_test_event_is_a_fresh_one(world):
    """Two tests send two ids."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, format="json")

    for _ in range(2):
        await tenant.admin.post(f"{PATH}/{destination_id}/test")

    first, second = (json.loads(request.body)["event"]["id"] for _, request in world.sender.posts)
    assert first != second


async def test_tests_a_paused_destination(world):
    """A test goes out while the destination is paused, and leaves it paused."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, format="json", enabled=False)

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/test")

    assert answer.json()["ok"] is True
    assert (await tenant.read.get(f"{PATH}/{destination_id}")).json()["status"] == "paused"


async def test_shows_why_a_test_failed_with_secrets_redacted(world):
    """A failed test shows status, reason and the beginning of the answer, with our credential taken out of it."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    echo = (
        f"boom\x00\x1b[31m authorization={SECRET} token={SECRET.removeprefix('Bearer ')} ".encode()
        + b"x" * 5000
    )
    world.sender.answers = [Response(500, echo, 12_345)]

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/test")

    body = answer.json()
    assert set(body) == {
        *("ok", "status_code", "latency_ms", "error", "stages", "certificate"),
        *("request", "response_excerpt", "response_headers"),
    }
    assert (answer.status_code, body["ok"], body["status_code"], body["latency_ms"]) == (
        200,
        False,
        500,
        12.3,
    )
    assert "500" in body["error"]
    assert body["response_excerpt"].startswith("boom")
    assert "****" in body["response_excerpt"]
    assert "c4n4ry" not in answer.text
    assert len(body["response_excerpt"]) <= 1000
    assert body["response_excerpt"].isprintable()


async def test_no_part_of_the_credential_is_shown_where_an_excerpt_is_cut(world):
    """A peer that echoes a long credential again and again gets no part of it past the redaction, wherever it is cut."""
    tenant = await world.make_organization()
    secret = "Bearer " + "".join(f"{number:04d}" for number in range(100))
    destination_id = await world.make_destination(tenant, auth_header_value=secret)
    world.sender.answers = [Response(500, secret.encode() * 40, 1000)]

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/test")

    assert "00010002" not in answer.text


async def test_redacts_a_url_that_is_the_credential(world):
    """A peer that echoes the path of a URL without auth header does not make it visible."""
    tenant = await world.make_organization()
    url = "https://h.example/receiver/v1/http/ZaVnC4dhaV2Wq?key=c4n4ry-key"
    made = await tenant.admin.post(PATH, json={"url": url})
    echo = b"no such path: /receiver/v1/http/ZaVnC4dhaV2Wq?key=c4n4ry-key, ZaVnC4dhaV2Wq, key=c4n4ry-key, c4n4ry-key"
    world.sender.answers = [Response(404, echo, 1000)]

    answer = await tenant.admin.post(f"{PATH}/{made.json()['id']}/test")

    assert "ZaVnC4dhaV2Wq" not in answer.text
    assert "c4n4ry" not in answer.text


@pytest.mark.parametrize(
    "scripted, status_code, words",
    [
        (Fault(FaultKind.TIMEOUT, "no answer within 10 s", 10_000_000), None, "10 s"),
        (Fault(FaultKind.CONNECT, "connection refused", 500), None, "refused"),
        (Fault(FaultKind.TLS, "the certificate has expired", 500), None, "expired"),
        (Fault(FaultKind.FORBIDDEN, "an address in 10.0.0.0/8 is refused", 0), None, "forbidden"),
        (Response(302, b"", 900, location_host="login.example.com"), 302, "login.example.com"),
        (Response(401, b"", 900), 401, "credential"),
        (Response(404, b"", 900), 404, "URL"),
        (Response(199, b"", 900), 199, "199"),
        (Response(999, b"\xff\xfe", 900), 999, "999"),
    ],
    ids=["timeout", "connect", "tls", "forbidden", "redirect", "401", "404", "199", "999"],
)
async def test_tells_each_outcome_of_a_test(world, scripted, status_code, words):
    """Whatever comes back, the call answers 200 with ok false, the status or null, and a reason that helps."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    world.sender.answers = [scripted]

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/test")

    body = answer.json()
    assert answer.status_code == 200
    assert (body["ok"], body["status_code"]) == (False, status_code)
    exact_ms = scripted.latency_us / 1000
    assert body["latency_ms"] == (exact_ms if status_code else math.ceil(exact_ms / 100) * 100)
    assert words in body["error"]
    assert isinstance(body["response_excerpt"], str)
    assert world.sender.open_channels == 0


# ── replay ──


@pytest.mark.parametrize(
    "body, events",
    [
        ({"from_sequence": 1}, 4),
        ({"from_sequence": 2, "to_sequence": 3}, 2),
        ({"from_sequence": 3, "to_sequence": 999}, 2),
        ({"from_sequence": 4, "to_sequence": None}, 1),
        ({"from_sequence": 5}, 0),
        ({"from_sequence": 10**30}, 0),
        ({"from": "2020-01-01T00:00:00Z"}, 4),
        ({"from": to_text(START + 100_000_000)}, 3),
        ({"from": to_text(START + 100_000_000), "to": to_text(START + 200_000_000)}, 2),
        ({"from": to_text(START + 100_000_001), "to": to_text(START + 199_999_999)}, 0),
        ({"from": "2020-01-01T00:00:00+02:00", "to": None}, 4),
        ({"from": "2100-01-01T00:00:00Z"}, 0),
    ],
    ids=json.dumps,
)
async def test_replays_a_range(world, body, events):
    """A replay covers the events from…to, both inclusive, by time of receipt or by sequence; it answers how many."""
    tenant = await world.make_organization()
    for number in range(4):
        await tenant.ingest.send(make_event(str(number)))
        world.clock.advance(100)
    destination_id = await world.make_destination(tenant)
    rings = world.notifier.changes

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/replay", json=body)

    assert answer.status_code == 202
    assert answer.json()["events"] == events
    replays = (await tenant.read.get(f"{PATH}/{destination_id}/replays")).json()["data"]
    assert [one["state"] for one in replays] == (["running"] if events else [])
    assert world.notifier.changes == rings + bool(events)


@pytest.mark.parametrize(
    "body, field",
    [
        ({}, "from"),
        ({"from": "2020-01-01T00:00:00Z", "from_sequence": 1}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2020-01-01T00:00:00"}, "from"),
        ({"from": 5}, "from"),
        ({"from": "2020-01-02T00:00:00Z", "to": "2020-01-01T00:00:00Z"}, "to"),
        ({"from": "2020-01-02T00:00:00Z", "to_sequence": 5}, "to_sequence"),
        ({"from_sequence": 1, "to": "2020-01-01T00:00:00Z"}, "to"),
        ({"from_sequence": 0}, "from_sequence"),
        ({"from_sequence": "1"}, "from_sequence"),
        ({"from_sequence": 3, "to_sequence": 2}, "to_sequence"),
        ({"from_sequence": 1, "until": 5}, "until"),
        ({"to_sequence": 5}, "from"),
    ],
    ids=json.dumps,
)
async def test_refuses_a_wrong_range(world, body, field):
    """A range that is empty by itself, mixed, or of the wrong type is 422 with the field's name."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 3)
    destination_id = await world.make_destination(tenant)

    answer = await tenant.admin.post(f"{PATH}/{destination_id}/replay", json=body)

    problem_of(answer, 422, field)
    assert (await tenant.read.get(f"{PATH}/{destination_id}/replays")).json()["data"] == []


async def test_follows_and_cancels_a_replay(world):
    """A replay shows how far it is, is done when it has reached its end, and can be cancelled before, once."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 3)
    destination_id = await world.make_destination(tenant)
    base = f"{PATH}/{destination_id}"
    ids = []
    for _ in range(3):
        ids.append((await tenant.admin.post(f"{base}/replay", json={"from_sequence": 1})).json()["replay_id"])
        world.clock.advance(1)

    await world.settle(tenant, destination_id, replays=[(ids[0], 3), (ids[1], 2)])
    cancelled = await tenant.admin.delete(f"{base}/replays/{ids[1]}")
    again = await tenant.admin.delete(f"{base}/replays/{ids[1]}")

    assert cancelled.status_code == 204
    problem_of(again, 404)
    shown = (await tenant.read.get(f"{base}/replays")).json()["data"]
    assert [(one["id"], one["state"], one["done_through"]) for one in shown] == [
        (ids[2], "running", 0),
        (ids[1], "cancelled", 2),
        (ids[0], "done", 3),
    ]


@pytest.mark.parametrize("count_max", [1, 3])
async def test_replays_under_way_are_limited(tmp_path, count_max):
    """As many replays to one destination as the limit are under way; one more is a conflict, until one has ended."""
    async with open_world(tmp_path, replays_max=count_max) as world:
        tenant = await world.make_organization()
        await world.send_events(tenant, 3)
        one, other = [f"{PATH}/{await world.make_destination(tenant)}" for _ in range(2)]
        body = {"from_sequence": 1}

        answers = [await tenant.admin.post(f"{one}/replay", json=body) for _ in range(count_max + 1)]
        elsewhere = await tenant.admin.post(f"{other}/replay", json=body)
        await tenant.admin.delete(f"{one}/replays/{answers[0].json()['replay_id']}")
        later = await tenant.admin.post(f"{one}/replay", json=body)

        assert [answer.status_code for answer in answers] == [202] * count_max + [409]
        assert problem_of(answers[-1], 409)["type"].endswith("/too-many-replays")
        assert (elsewhere.status_code, later.status_code) == (202, 202)
        listed = (await tenant.read.get(f"{one}/replays")).json()["data"]
        assert sorted(row["state"] for row in listed) == ["cancelled", *["running"] * count_max]


async def test_lists_replays_page_by_page(world):
    """The list of replays is walked by limit and cursor like every other."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 1)
    destination_id = await world.make_destination(tenant)
    made = []
    for _ in range(5):
        answer = await tenant.admin.post(f"{PATH}/{destination_id}/replay", json={"from_sequence": 1})
        made.insert(0, answer.json()["replay_id"])
        world.clock.advance(1)

    pages = await tenant.read.all_pages(f"{PATH}/{destination_id}/replays", 2)

    assert [one["id"] for page in pages for one in page] == made


async def test_a_replay_does_not_move_the_live_cursor(world):
    """A replay that has been sent leaves the backlog of new events as it was."""
    tenant = await world.make_organization()
    await world.send_events(tenant, 3)
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 2, prefix="later")
    answer = await tenant.admin.post(
        f"{PATH}/{destination_id}/replay", json={"from_sequence": 1, "to_sequence": 3}
    )

    await world.settle(
        tenant,
        destination_id,
        runs=[AttemptRun(1, 3, 1, "delivered", 200, None, 1000, START)],
        replays=[(answer.json()["replay_id"], 3)],
        delivered=3,
    )

    stats = (await tenant.read.get(f"{PATH}/{destination_id}")).json()["stats"]
    assert (stats["backlog"], stats["delivered"]) == (2, 3)


async def swap_credentials(world, victim: str, thief: str) -> None:
    """Put one destination's sealed credential into another one's row, as somebody with write access to the file could."""

    def swap(db):
        record = raw(db).row("SELECT auth_value FROM destinations WHERE dst_id = ?", (victim,))
        raw(db).run("UPDATE destinations SET auth_value = ? WHERE dst_id = ?", (record[0], thief))

    await world.stores.db.write(swap)


async def test_a_record_that_does_not_open_is_shown_as_damaged(world):
    """Where the credential was moved to another destination's row, that one says so, opens nothing, and stops no other."""
    tenant = await world.make_organization()
    victim, thief = await world.make_destination(tenant), await world.make_destination(tenant, name="b")
    await swap_credentials(world, victim, thief)

    read = await tenant.read.get(f"{PATH}/{thief}")
    listed = await tenant.read.get(PATH)

    shown = read.json()
    assert (shown["url"], shown["name"], shown["status"]) == ("****", "b", "failing")
    assert shown["last_error"]["message"].startswith("the stored URL and credential cannot be decrypted: ")
    assert [one["id"] for one in listed.json()["data"]] == [victim, thief]
    assert "c4n4ry" not in read.text
    for call in ("pause", "test", "resume"):
        answer = await tenant.admin.post(f"{PATH}/{thief}/{call}")
        assert problem_of(answer, 503)["type"].endswith("sealed-record-damaged")


async def test_a_damaged_destination_is_mended_by_a_url_given_anew(world):
    """A change that brings no URL is refused and says so; with a URL and a credential the destination works as before."""
    tenant = await world.make_organization()
    victim, thief = await world.make_destination(tenant), await world.make_destination(tenant)
    await swap_credentials(world, victim, thief)

    refused = await tenant.admin.patch(f"{PATH}/{thief}", json={"auth_header_value": "Bearer new"})
    bare = await tenant.admin.patch(f"{PATH}/{thief}", json={"url": "https://siem.example.com/in"})
    mended = await tenant.admin.patch(
        f"{PATH}/{thief}", json={"auth_header_name": "X-Key", "auth_header_value": "new"}
    )

    assert problem_of(refused, 422)["errors"][0]["field"] == "url"
    assert (bare.status_code, bare.json()["auth_header_set"]) == (200, False)
    assert (mended.json()["url"], mended.json()["status"]) == ("https://siem.example.com/in", "active")
    assert mended.json()["auth_header_set"]


async def test_no_secret_lies_in_the_store_in_plain_text(world):
    """Neither credential nor URL of a destination can be read from the database files."""
    tenant = await world.make_organization()
    await world.make_destination(tenant, url="https://h.example/receiver/v1/ZaVnC4dhaV2Wq")

    files = [one.read_bytes() for one in world.settings.store.data_dir.iterdir() if one.is_file()]

    assert any(b"dst_" in one for one in files)
    assert not any(b"c4n4ry" in one or b"ZaVnC4dhaV2Wq" in one for one in files)


async def test_a_changed_destination_keeps_its_place_in_the_log(world):
    """A change of configuration moves neither cursor nor counts."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant)
    await world.send_events(tenant, 4)
    await world.settle(tenant, destination_id, cursor=3, delivered=3)

    answer = await tenant.admin.patch(f"{PATH}/{destination_id}", json={"name": "new"})

    assert (answer.json()["stats"]["delivered"], answer.json()["stats"]["backlog"]) == (3, 1)


def test_every_format_can_be_asked_for():
    """The API names exactly the formats there are, and auto."""
    assert set(get_args(FormatName)) == {AUTO, *REGISTRY}
