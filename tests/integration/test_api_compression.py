"""Promises of `compression`: taken where every destination of the format reads it, and used for test events as for others."""

import json
import zlib

import pytest
import zstandard

from aegis_stream.domain.attempt import Response
from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.errors import Invalid
from aegis_stream.formats import REGISTRY
from aegis_stream.pipeline.route import route_of
from aegis_stream.settings import Settings
from support.api import open_world, problem_of

PATH = "/forwarding-destinations"
URL = "https://siem.example.com/in"
BOTH = {"axiom", "honeycomb"}
"""Formats whose destinations are proven to read zstd (contracts 4.14 and 4.17); all others read gzip alone."""


@pytest.fixture
async def world(tmp_path):
    """The application, anew for each test."""
    async with open_world(tmp_path) as made:
        yield made


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("format_", sorted(REGISTRY))
async def test_a_format_has_its_compressions(world, format_, compression):
    """Each format takes what all its destinations read; another one is 422, made and changed, and says what to take instead."""
    tenant = await world.make_organization()
    one = f"{PATH}/{await world.make_destination(tenant, url=URL, format=format_)}"

    made = await tenant.admin.post(PATH, json={"url": URL, "format": format_, "compression": compression})
    changed = await tenant.admin.patch(one, json={"compression": compression})

    if compression == "zstd" and format_ not in BOTH:
        for answer in (made, changed):
            detail = problem_of(answer, 422, "compression")["detail"]
            assert f"must be none or gzip with format {format_}: " in detail
            assert "may drop the events and answer 200, as Fluentd does" in detail
        assert (await tenant.read.get(one)).json()["compression"] == "none"
    else:
        assert (made.status_code, changed.status_code) == (201, 200)
        assert made.json()["compression"] == changed.json()["compression"] == compression


@pytest.mark.parametrize(
    "made, patch, status",
    [
        ({"format": "axiom"}, {"format": "ndjson"}, 422),
        ({"format": "axiom"}, {"format": "ndjson", "compression": "gzip"}, 200),
        ({"format": "axiom"}, {"format": "honeycomb"}, 200),
        ({"url": "https://api.axiom.co/v1/datasets/a/ingest"}, {"url": "https://api.axiom.co/other"}, 422),
        ({"url": "https://api.axiom.co/v1/datasets/a/ingest"}, {"format": "auto", "name": "x"}, 200),
    ],
    ids=["format", "format and compression", "to one that reads it", "the URL's format", "nothing of that"],
)
async def test_a_change_of_format_must_leave_the_compression_fit(world, made, patch, status):
    """Where the new format, asked for or found by the URL, does not read what is sent now, the change is 422 on compression."""
    tenant = await world.make_organization()
    one = f"{PATH}/{await world.make_destination(tenant, **({'url': URL, 'compression': 'zstd'} | made))}"
    before = (await tenant.read.get(one)).json()

    answer = await tenant.admin.patch(one, json=patch)

    assert answer.status_code == status, answer.text
    if status == 422:
        problem_of(answer, 422, "compression")
        assert (await tenant.read.get(one)).json() == before


def test_what_no_longer_fits_is_not_sent():
    """Should a stored compression not fit the format, as after two changes at once, the route is refused instead of a loss."""
    with pytest.raises(Invalid, match=r"^compression must be none or gzip with format ndjson") as caught:
        route_of(DestinationSpec(URL, format="ndjson", compression="zstd"), Settings())

    assert [one.field for one in caught.value.problems] == ["compression"]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_a_test_event_is_compressed_as_others(world, compression):
    """A test tries what delivery does: the same Content-Encoding, and a body that is one event of the format."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(
        tenant, url=URL, format="honeycomb", compression=compression
    )

    await tenant.admin.post(f"{PATH}/{destination_id}/test")

    [(route, request)] = world.sender.posts
    assert dict(route.headers).get("Content-Encoding", "none") == compression
    body = {
        "none": lambda body: body,
        "gzip": lambda body: zlib.decompress(body, 31),
        "zstd": zstandard.decompress,
    }[compression](request.body)
    [event] = json.loads(body)
    assert event["data"]["event.dataset"] == "aegis.audit_stream.test"


@pytest.mark.parametrize("status", [400, 406, 415])
@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_a_body_that_is_not_read_may_be_so_because_of_its_compression(world, status, compression):
    """Where a compressed test event is answered as unreadable, the error says how to turn the compression off; else not."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, url=URL, format="json", compression=compression)
    world.sender.answers = [Response(status, b"", 100)]

    error = (await tenant.admin.post(f"{PATH}/{destination_id}/test")).json()["error"]

    assert error.startswith(f"answered {status}: ")
    hint = "; if the destination does not support gzip, set compression to none"
    assert error.endswith(hint) == (compression == "gzip")


@pytest.mark.parametrize("status", [202, 401, 413, 500])
async def test_other_answers_say_nothing_of_compression(world, status):
    """What has nothing to do with reading the body is told as ever."""
    tenant = await world.make_organization()
    destination_id = await world.make_destination(tenant, url=URL, format="json", compression="gzip")
    world.sender.answers = [Response(status, b"", 100)]

    shown = (await tenant.admin.post(f"{PATH}/{destination_id}/test")).json()

    assert "compression" not in shown.get("error", "")
