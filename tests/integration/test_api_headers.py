"""Promises of a destination's further headers: checked, sent in their order, sealed, named and never shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.control.redaction import redact
from aegis_stream.domain.attempt import Response
from aegis_stream.domain.audit import ADMIN_DATASET
from aegis_stream.domain.destination import HEADER_VALUE_CHARACTERS_MAX, HEADERS_MAX, DestinationSpec
from aegis_stream.errors import Unavailable
from aegis_stream.wiring.administration import make_rotation
from aegis_stream.wiring.stores import open_stores
from support.api import SECRET, open_world, problem_of
from support.directory import Directory
from support.sealed import assert_keeps_a_key_in_use
from support.sql import raw

PATH = "/forwarding-destinations"
URL = "https://chronicle.example.com/feeds/one"
KEY, ACCESS = "c4n4ry-api-key-0001", "c4n4ry access key 0002"
HEADERS = {"X-Webhook-Access-Key": ACCESS, "X-goog-api-key": KEY}
"""What Google SecOps wants: two keys, each in a header of its own."""


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test, recording what is done."""
    async with open_world(tmp_path, audit_actions=True) as made:
        yield made


async def make(world, **changes):
    """Make an organization and a destination with headers beside its auth header; returns the tenant and its path."""
    tenant = await world.make_organization()
    return (
        tenant,
        f"{PATH}/{await world.make_destination(tenant, **({'url': URL, 'headers': HEADERS} | changes))}",
    )


async def headers_of(world, tenant, one):
    """Return the headers of a destination as they are stored."""
    return dict((await world.stored(tenant, one.rpartition("/")[2])).spec.headers)


async def test_names_are_shown_and_values_are_not(world):
    """Made, read and listed, a destination tells the names of its headers in their order, and no value."""
    tenant, one = await make(world)

    answers = [await tenant.read.get(one), await tenant.read.get(PATH)]

    assert answers[0].json()["header_names"] == answers[1].json()["data"][0]["header_names"] == list(HEADERS)
    assert all("headers" not in answer.json() for answer in answers)
    assert not any("c4n4ry" in answer.text for answer in [*answers, *world.answers])
    assert await headers_of(world, tenant, one) == HEADERS


async def test_headers_need_no_auth_header(world):
    """Where the headers are the credential there need be no auth header; the URL is masked then as ever."""
    tenant, one = await make(world, url=f"{URL}/xyz/123456789", auth_header_name=None, auth_header_value=None)

    read = (await tenant.read.get(one)).json()

    assert (read["auth_header_set"], read["header_names"]) == (False, list(HEADERS))
    assert read["url"].endswith("****6789")


async def test_a_request_has_all_headers(world):
    """What is sent to the destination has the auth header first and then the others, as they were written."""
    tenant, one = await make(world)

    await tenant.admin.post(f"{one}/test")

    [(route, _)] = world.sender.posts
    assert route.headers == (("Authorization", SECRET), *HEADERS.items())


@pytest.mark.parametrize(
    "patch, left",
    [
        ({"name": "new"}, HEADERS),
        ({"headers": {"X-Scope-OrgID": "t1"}}, {"X-Scope-OrgID": "t1"}),
        ({"headers": {}}, {}),
        ({"headers": None}, {}),
    ],
    ids=["left out", "another map", "an empty map", "null"],
)
async def test_a_change_replaces_all_headers(world, patch, left):
    """What is left out stays; a map takes the place of all headers, and an empty one or null removes them."""
    tenant, one = await make(world)

    answer = await tenant.admin.patch(one, json=patch)

    assert (answer.status_code, answer.json()["header_names"]) == (200, list(left))
    assert await headers_of(world, tenant, one) == left


@pytest.mark.parametrize(
    "patch, auth, left",
    [
        ({"url": "https://chronicle.example.com/other"}, SECRET, HEADERS),
        ({"url": "https://evil.example.com/feeds/one"}, None, {}),
        ({"url": "https://chronicle.example.com:8443/feeds/one"}, None, {}),
        ({"url": "https://evil.example.com/", "headers": {"X-Key": "anew"}}, None, {"X-Key": "anew"}),
        ({"url": "https://evil.example.com/", "auth_header_value": "Bearer anew"}, "Bearer anew", {}),
    ],
    ids=["path", "host", "port", "host with headers anew", "host with auth header anew"],
)
async def test_another_host_drops_the_headers(world, patch, auth, left):
    """No stored value follows to another host: headers and auth header are each kept only where they are given anew."""
    tenant, one = await make(world)

    answer = await tenant.admin.patch(one, json=patch)

    assert (answer.status_code, answer.json()["header_names"]) == (200, list(left))
    assert await headers_of(world, tenant, one) == left
    assert (await world.stored(tenant, one.rpartition("/")[2])).spec.auth_header_value == auth


@pytest.mark.parametrize(
    "headers, field",
    [
        ({"X-Key": "c4n4ry\r\nX-Evil: b"}, "headers.X-Key"),
        ({"X-Key": "c4n4ry\x00"}, "headers.X-Key"),
        ({"X-Key": "c4n4ry é"}, "headers.X-Key"),
        ({"X-Key": ""}, "headers.X-Key"),
        ({"X-Key": "c4n4ry" * HEADER_VALUE_CHARACTERS_MAX}, "headers.X-Key"),
        ({"Bearer c4n4ry": "x"}, "headers"),
        ({"c4n4ry\r\nX-Evil": "x"}, "headers"),
        ({"": "c4n4ry"}, "headers"),
        ({"Host": "c4n4ry"}, "headers.Host"),
        ({"content-type": "c4n4ry"}, "headers.content-type"),
        ({"Content-Encoding": "gzip"}, "headers.Content-Encoding"),
        ({"Transfer-Encoding": "chunked"}, "headers.Transfer-Encoding"),
        ({"User-Agent": "c4n4ry"}, "headers.User-Agent"),
        ({"AUTHORIZATION": "c4n4ry"}, "headers.AUTHORIZATION"),
        ({"X-Key": "c4n4ry", "x-key": "c4n4ry"}, "headers.x-key"),
        ({f"X-{number}": "c4n4ry" for number in range(HEADERS_MAX + 1)}, "headers"),
        ({"X-Key": ["c4n4ry"]}, "headers[...]"),
        ({"X-Key": None}, "headers[...]"),
        (["X-Key: c4n4ry"], "headers"),
        ("X-Key: c4n4ry", "headers"),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
async def test_refuses_wrong_headers_by_name(world, headers, field):
    """A wrong header is 422 with its name where it has one, made and changed alike; no value is repeated, nothing stored."""
    tenant, one = await make(world)

    made = await tenant.admin.post(
        PATH,
        json={
            "url": URL,
            "auth_header_name": "Authorization",
            "auth_header_value": SECRET,
            "headers": headers,
        },
    )
    changed = await tenant.admin.patch(one, json={"headers": headers})

    problem_of(made, 422, field)
    problem_of(changed, 422, field)
    assert "c4n4ry" not in made.text + changed.text
    assert len((await tenant.read.get(PATH)).json()["data"]) == 1
    assert await headers_of(world, tenant, one) == HEADERS


async def test_an_auth_header_of_the_same_name_is_refused_later_too(world):
    """A change of the auth header that would make it stand twice is refused, and names the other."""
    tenant, one = await make(world)

    answer = await tenant.admin.patch(
        one, json={"auth_header_name": "x-GOOG-api-key", "auth_header_value": SECRET}
    )

    problem_of(answer, 422, "headers.X-goog-api-key")


async def test_what_is_recorded_has_names_alone(world):
    """The events about its making, change, test and deletion name headers, and hold no value."""
    tenant, one = await make(world)
    await tenant.admin.patch(one, json={"headers": {"X-Key": "c4n4ry-third"}})
    await tenant.admin.patch(one, json={"headers": {"X-Key": "c4n4ry-fourth"}})
    await tenant.admin.post(f"{one}/test")
    await tenant.admin.delete(one)

    found = (await tenant.read.get("/events", dataset=ADMIN_DATASET)).json()["data"]

    made, renamed, changed, *_ = [entry["event"]["aegis"]["audit"] for entry in found]
    assert made["after"]["header_names"] == list(HEADERS)
    assert (renamed["changed"], changed["changed"]) == (["headers"], ["headers"])
    assert (renamed["before"], renamed["after"]) == (
        {"header_names": list(HEADERS)},
        {"header_names": ["X-Key"]},
    )
    assert len(found) == 5
    assert "c4n4ry" not in json.dumps(found)


async def test_a_peer_that_repeats_headers_does_not_make_them_visible(world):
    """Of what a destination answers, the values of all headers are taken out, whole and in pieces, in capitals or not."""
    values = {"X-Short": "0001", "X-Long": f"{KEY}-and-more", "X-Basic": "Basic Y29sbGVjdG9yOmM0bjRyeS1wdw=="}
    tenant, one = await make(world, headers=values)
    echo = f"bad: {values['X-Long']}, {values['X-Long'][:14].upper()}, 0001, collector:c4n4ry-pw"
    world.sender.answers = [Response(500, echo.encode(), 100)]

    shown = (await tenant.admin.post(f"{one}/test")).json()["response_excerpt"]

    assert shown.startswith("bad:****")
    assert not any(piece in shown.lower() for piece in ("c4n4ry", "api-key", "0001", "more", "collector"))


@given(
    secrets=st.lists(st.text("ab", min_size=8, max_size=30), min_size=1, max_size=4),
    cuts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(8, 30)), max_size=6),
)
def test_no_long_piece_of_any_header_is_shown(secrets, cuts):
    """However alike the values are and however they are repeated, no eight characters of one stand together."""
    spec = DestinationSpec(URL, "X-Key", secrets[0], headers=tuple(("X", one) for one in secrets[1:]))
    echo = "|".join(secrets[number % len(secrets)][start : start + length] for number, start, length in cuts)

    shown = redact(echo, spec)

    assert not any(shown[at : at + 8] in secret for secret in secrets for at in range(len(shown) - 7))


async def test_deleted_and_removed_headers_are_gone_from_the_store(world):
    """Removed headers leave no record, and a deleted destination neither."""
    tenant, one = await make(world)
    other = f"{PATH}/{await world.make_destination(tenant, headers=HEADERS)}"

    await tenant.admin.patch(one, json={"headers": None})
    await tenant.admin.delete(other)

    rows = world.stores.db.read_now(lambda db: raw(db).rows("SELECT headers FROM destinations"))
    assert rows == [(None,), (None,)]


MOVES = {
    "to another destination": "UPDATE destinations SET headers = (SELECT o.headers FROM destinations o WHERE o.dst_no = 1)",
    "to another organization": "UPDATE organizations SET org_id = 'org_x'",
    "from the auth header": "UPDATE destinations SET headers = auth_value",
    "to the auth header": "UPDATE destinations SET auth_value = headers",
    "to the URL": "UPDATE destinations SET url = headers",
    "one bit of it": "UPDATE destinations SET headers = CAST(substr(headers, 1, 80) || x'00' || substr(headers, 82) AS BLOB)",
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
async def test_a_record_of_headers_opens_nowhere_else(world, move):
    """Row 47: moved to another destination, organization or field, or damaged, headers do not open, and the log tells of it."""
    tenant, _ = await make(world)
    await world.make_destination(tenant, headers={"X-Key": "c4n4ry-other"})
    world.stores.db.write_now(lambda db: raw(db).run(move))

    with pytest.raises(Unavailable) as caught:
        await Directory.of(world.stores).destination(2)

    assert caught.value.code == "sealed-record-damaged"
    assert [name for _, name, _ in world.log.lines] == ["vault.record_refused"]
    assert "c4n4ry" not in repr(world.log.lines) + str(caught.value)


async def test_headers_come_under_a_new_master_key(world):
    """A rotation counts and rewraps the records of headers too, and after it the old key can go."""
    tenant, one = await make(world, auth_header_name=None, auth_header_value=None)
    old = world.stores.secrets.sealer.newest
    rotation = make_rotation(world.settings, world.stores)

    done = await rotation.rotate(lambda done, total: None)
    in_use = await world.stores.secrets.keys_in_use()
    await rotation.drop_old()

    assert (done.rewrapped, done.broken, in_use) == (1, (), {bytes.fromhex(done.key_id)})
    assert in_use != {old}
    stores = open_stores(world.settings, world.log)
    try:
        found = await Directory.of(stores).destination_of(tenant.no, one.rpartition("/")[2])
    finally:
        stores.close()
    assert dict(found.spec.headers) == HEADERS


async def test_headers_alone_keep_a_master_key_in_use(world):
    """A record of headers under another key than the rest is seen, counted and brought along."""
    await make(world)
    await assert_keeps_a_key_in_use(world, "headers")


async def test_no_header_lies_in_the_store_in_plain_text(world):
    """Neither names nor values of headers can be read from the database files: in use, changed, deleted."""
    tenant, one = await make(world)
    await tenant.admin.patch(one, json={"headers": {"X-Key": "c4n4ry-other"}})
    in_use = [path.read_bytes() for path in world.settings.store.data_dir.iterdir() if path.is_file()]
    await tenant.admin.delete(one)
    deleted = [path.read_bytes() for path in world.settings.store.data_dir.iterdir() if path.is_file()]

    assert any(b"Authorization" in file for file in in_use), "the files were looked at where they are written"
    assert not any(b"c4n4ry" in file for file in in_use + deleted)
