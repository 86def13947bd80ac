"""Promises of a test in the console that is sent while it goes on: stages first, the result in their place, in one page."""

import asyncio
import re

import pytest

from aegis_stream.console.testing import MARK, answer_test
from aegis_stream.control import testing
from aegis_stream.control.tested import SentTest
from aegis_stream.domain.attempt import Response
from aegis_stream.domain.trace import Stage
from aegis_stream.errors import Unavailable
from support.api import SECRET
from support.console import signed_in

HOME = "/console/o/org_abc"
PASSED = (Stage.RESOLVE, Stage.GUARD, Stage.CONNECT, Stage.SEND)
NEW = {"kind": "generic-https", "v-url": "https://siem.example.com/in", "v-secret": "a-token", "test": "1"}


@pytest.fixture
async def visitor(world, tenant):
    """Somebody with an admin key, whose tests pass stages."""
    world.sender.passed = PASSED
    world.sender.answers = [Response(401, f"no {SECRET} a-token".encode(), 8100)]
    return await signed_in(world, tenant.admin.key)


async def at(world, tenant, visitor, where):
    """Open a page with a button for a test; return where the button leads, and what it sends."""
    path = f"{HOME}/new" if where == "new" else f"{HOME}/d/{await world.make_destination(tenant)}"
    await visitor.get(path + ("?kind=generic-https" if where == "new" else ""))
    return (path, NEW) if where == "new" else (f"{path}/test", {})


@pytest.mark.parametrize("where", ["new", "saved"])
async def test_stages_stand_before_the_result(world, tenant, visitor, where):
    """One whole page: each stage once and in order, then the result with its ladder, and what stands below it; no time before the result."""
    path, fields = await at(world, tenant, visitor, where)
    answer = await visitor.post(path, fields)
    going_on, _, result = answer.text.partition('id="test"')
    _, _, going_on = going_on.partition('class="testing"')

    assert (answer.status_code, answer.headers["x-accel-buffering"]) == (200, "no")
    assert answer.headers["content-type"].startswith("text/html")
    assert "content-security-policy" in answer.headers
    assert re.findall("<strong>(.*?)</strong>", going_on) == ["Name", "Address allowed", "Connected", "Sent"]
    assert "ms" not in going_on
    assert 'data-stage="Answer"' in result
    assert "The test event was not taken" in result
    assert ("Test again" if where == "saved" else "Save without a green test") in result
    assert answer.text.count("<html") == answer.text.count("</html>") == 1
    assert MARK not in answer.text
    assert (SECRET if where == "saved" else "a-token") not in answer.text


@pytest.mark.parametrize("where", ["new", "saved"])
async def test_a_test_that_passes_no_stage_is_one_page(world, tenant, visitor, where):
    """What is refused before anything is sent has its status, and a test that is too early for stages has its result."""
    world.sender.passed = ()
    path, fields = await at(world, tenant, visitor, where)
    answer = await visitor.post(path, fields)
    refused = await visitor.post(f"{HOME}/new", NEW | {"v-url": "https://10.0.0.5/in"})
    unknown = await visitor.post(f"{HOME}/d/dst_none/test")

    assert 'class="testing"' not in answer.text
    assert "The test event was not taken" in answer.text
    assert (refused.status_code, unknown.status_code) == (422, 404)


async def test_a_test_that_cannot_be_recorded_says_so(world, tenant, visitor, monkeypatch):
    """When the store is gone in the middle, the page that has begun ends with the reason."""

    async def fail(*_):
        raise Unavailable("the store is gone")

    path, fields = await at(world, tenant, visitor, "saved")
    monkeypatch.setattr(testing, "record", fail)
    answer = await visitor.post(path, fields)

    assert "The test has no result: the store is gone. Test again." in answer.text
    assert "Test again</button>" in answer.text
    assert answer.text.rstrip().endswith("</html>")


async def test_whoever_leaves_does_not_end_the_test():
    """A page that is closed before the result leaves the test to go on, and nothing is left of it afterwards."""
    gate, ended, running = asyncio.Event(), asyncio.Event(), set()

    async def test(on_stage):
        on_stage(Stage.RESOLVE)
        await gate.wait()
        ended.set()
        return SentTest(202, 8.0)

    async def page(_):
        return Page(f"above{MARK}below")

    answer = await answer_test(Request(running), test, page)
    parts = aiter(answer.iterator)
    first = await anext(parts)
    stage = await anext(parts)
    await parts.aclose()
    gate.set()
    await asyncio.wait(set(running))
    await asyncio.sleep(0)

    assert first.startswith("above<section")
    assert "Name" in stage
    assert ended.is_set()
    assert running == set()


class Page:
    """What a handler would answer."""

    cookies = ()

    def __init__(self, content):
        self.content = content


class Request:
    """What `answer_test` knows of a request."""

    def __init__(self, running):
        self.app = self.state = self
        self.tests = running
