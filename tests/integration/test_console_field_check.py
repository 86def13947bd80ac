"""Promises of the check of one field of the form for a new destination: the words of a test, and nothing is sent."""

import pytest

from aegis_stream.console.field_check import CHECKS
from aegis_stream.control.destination_types import destination_types
from support.console import signed_in

NEW = "/console/o/org_abc/new"


@pytest.fixture
async def visitor(world, tenant):
    """Somebody with an admin key, at the form of another HTTPS endpoint."""
    visitor = await signed_in(world, tenant.admin.key)
    await visitor.get(f"{NEW}?kind=generic-https")
    return visitor


async def check(visitor, field, value, **others):
    """Leave a field of a form in which nothing else is filled; return what is wrong with it."""
    fields = {"kind": "generic-https", "field": field, field: value} | others
    answer = await visitor.post(f"{NEW}/check", fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["problem"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("v-url", "http://siem.example.com/audit", "https"),
        ("v-url", "https://10.0.0.5/audit", "AEGIS_ALLOWED_NETWORKS"),
        ("v-url", "https://user:pw@siem.example.com/audit", "user"),
        ("v-url", "siem.example.com", "https://"),
        ("v-url", "https://siem.example.com/audit", ""),
        ("v-secret", "two\nlines", "visible ASCII"),
        ("v-secret", "a-token", ""),
        ("h_name_0", "Bad Name", "header"),
        ("h_name_0", "Host", "set by the service"),
        ("h_name_0", "X-Tenant", ""),
        ("ca_certificate", "not a certificate", "certificate"),
        ("since", "yesterday", "must be a time"),
        ("name", "My SIEM", ""),
    ],
)
async def test_a_field_is_told_as_at_the_test(world, visitor, field, value, message):
    """The words are those that the test has at this field, whatever else is empty; nothing is sent, and nothing is told of others."""
    given = {"start": "since"} if field == "since" else {}
    problem = await check(visitor, field, value, **given)
    filled = {"kind": "generic-https", "v-url": "https://siem.example.com/audit", "v-secret": "a-token"}
    answer = await visitor.post(NEW, filled | {field: value, "test": "1"} | given)

    assert message.lower() in problem.lower()
    assert bool(problem) == bool(message)
    if problem:
        assert answer.status_code == 422
        assert problem.replace("'", "&#39;") in answer.text
        assert len(world.sender.posts) == 0


async def test_a_name_is_looked_up_for_its_own_field_only(world, visitor):
    """A host that leads nowhere is told at its field, in the words of the test; leaving another field asks no name server."""
    world.resolver.addresses |= {"nowhere.example.com": []}
    url = {"v-url": "https://nowhere.example.com/in"}
    other = await check(visitor, "v-secret", "a-token", **url)
    asked = list(world.resolver.asked)
    own = await check(visitor, "v-url", url["v-url"])

    assert (other, asked) == ("", [])
    assert "the host does not resolve, or points to a forbidden address" in own
    assert world.resolver.asked


@pytest.mark.parametrize("one", destination_types(), ids=lambda one: one.id)
async def test_every_field_of_every_kind(world, visitor, one):
    """In an empty form each example is right at its field: what is not filled yet stands in its way nowhere."""
    for field in one.fields:
        if field.example or field.choices:
            fields = {"kind": one.id, "field": f"v-{field.name}"}
            answer = await visitor.post(
                f"{NEW}/check", fields | {f"v-{field.name}": field.example or field.choices[0]}
            )
            assert answer.json() == {"problem": ""}, field.name


async def test_checks_have_a_limit(world, tenant, visitor):
    """A session gets as many a minute as a person needs; another session has its own."""
    fields, count = {"kind": "generic-https", "field": "name", "name": "x"}, 0
    while (refused := await visitor.post(f"{NEW}/check", fields)).status_code == 200:
        count += 1
        world.clock.advance(0.2)
    other = await signed_in(world, tenant.admin.key)
    await other.get(f"{NEW}?kind=generic-https")

    assert CHECKS.count <= count <= 1.5 * CHECKS.count, (
        refused.status_code,
        refused.text.partition("<main")[2][:900],
    )
    assert refused.status_code == 429
    assert "too many checks of fields in this session" in refused.text
    assert int(refused.headers["retry-after"]) >= 1
    assert await check(other, "name", "x") == ""


async def test_readers_check_nothing(world, tenant):
    """A key of scope read is refused, and an unknown kind is not found."""
    reader, admin = await signed_in(world, tenant.read.key), await signed_in(world, tenant.admin.key)

    assert (await reader.post(f"{NEW}/check", {"kind": "generic-https"})).status_code == 403
    assert (await admin.post(f"{NEW}/check", {"kind": "none", "field": "name"})).status_code == 404
