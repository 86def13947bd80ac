"""A test whose stages are shown as each is passed, without scripts: the page of its result is sent piece by piece.

First what stands above the result, with a list that goes on with each stage; at the end the result with its ladder in full, in place
of that list (`.testing` of the style). Times are told in the result only: how fast a network refuses tells what is in it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from litestar import Request, Response
from litestar.response import Stream

from aegis_stream.control.tested import SentTest
from aegis_stream.control.testing import OnStage
from aegis_stream.domain.trace import Stage
from aegis_stream.errors import AegisError

from .page import environment
from .tested import WORDS

AnyRequest = Request[Any, Any, Any]
MARK = "<!-- stages -->"
"""Where a template has the result of a test. Nothing that others wrote looks like it: it is escaped."""
Test = Callable[[OnStage], Coroutine[Any, Any, SentTest]]
Page = Callable[[SentTest | None], Awaitable[Response[str]]]


async def answer_test(request: AnyRequest, test: Test, page: Page) -> Response[Any]:
    """Make a test and answer with its page.

    The answer begins with the first stage that is passed; a test that passes none is one page, with its status. A test whose page
    is closed goes on to its end, and is recorded like all others: it lasts as long as an attempt may, and each counts for the
    limit of tests.

    Args:
        page: the page with a result, which has MARK where the result stands; with None, the page without one.
    Raises: what the test raises before it passes a stage, and what the page raises.
    """
    stages: asyncio.Queue[Stage | None] = asyncio.Queue(len(Stage) + 1)  # each at most once, and the end
    task = asyncio.get_running_loop().create_task(test(stages.put_nowait))
    running: set[asyncio.Task[SentTest]] = request.app.state.tests
    running.add(task)

    def end(ended: asyncio.Task[SentTest]) -> None:
        running.discard(ended)
        stages.put_nowait(None)
        if not ended.cancelled():
            ended.exception()  # where nobody waits any more, nobody is to be told

    task.add_done_callback(end)
    first = await stages.get()
    if first is None:
        return await page(await task)
    head = await page(None)
    return Stream(
        _parts(first, stages, task, page, str(head.content)),
        status_code=200,
        media_type="text/html",
        headers={"x-accel-buffering": "no"},
        cookies=head.cookies,
    )


async def _parts(
    first: Stage, stages: asyncio.Queue[Stage | None], task: asyncio.Task[SentTest], page: Page, whole: str
) -> AsyncIterator[str]:
    # Macros return text that is marked as escaped: joined with it as it is, a page would be escaped once more.
    words = environment().get_template("testing.html").module
    above, _, below = whole.partition(MARK)
    yield above + str(words.begin())  # type: ignore[attr-defined] # a macro
    stage: Stage | None = first
    while stage is not None:
        yield str(words.passed(WORDS[stage]))  # type: ignore[attr-defined] # a macro
        stage = await stages.get()
    try:
        below = str((await page(await asyncio.shield(task))).content).partition(MARK)[2]
        failure = ""
    except AegisError as error:
        failure = error.message
    yield str(words.end(failure)) + below  # type: ignore[attr-defined] # a macro
