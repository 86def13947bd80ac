"""Any bytes, split anywhere, as an answer: to the reader alone, and to a channel over a socket."""

import asyncio
import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis_stream.domain.attempt import Answer, Fault, FaultKind, Request, Response
from aegis_stream.sender.answer import AnswerReader
from security.reading import FRAGMENTS, check
from security.receivers import Peer, Skipper, posting, receiving

KEPT = [
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
]


@st.composite
def cut_answers(draw: st.DrawFn) -> list[bytes]:
    """Bytes that more or less resemble an answer, in pieces."""
    whole = b"".join(
        draw(st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=40)), max_size=10))
    )
    cuts = draw(st.lists(st.integers(0, len(whole)), max_size=5).map(sorted))
    edges = [0, *cuts, len(whole)]
    return [whole[a:b] for a, b in itertools.pairwise(edges) if a < b]


@settings(deadline=None, max_examples=400)
@given(
    st.lists(st.one_of(cut_answers(), st.sampled_from(KEPT).map(lambda one: [one])), min_size=1, max_size=4)
)
@example([[b"HTTP/1.1 204 No Content\r\n\r\n"], []])
@example([[KEPT[0]], [KEPT[0]], [KEPT[0][:-1], KEPT[0][-1:]], [KEPT[0]]])
@example([[KEPT[3]], [KEPT[0]], [KEPT[3]], [b"HTTP/1.1 429 Slow\r\n\r\n"]])
@example([[KEPT[0]], [KEPT[0], b"x"]])
def test_a_reader_reads_what_came_and_nothing_else(answers):
    """For any bytes the reader never raises; an answer depends neither on how it is split nor on earlier answers, and consists of received bytes."""
    check(answers)


class Stale(AnswerReader):
    """A reader that reports the first answer's status for the second."""

    def feed(self, data: bytes) -> bool:
        over = super().feed(data)
        if over:
            self.status = self.first = getattr(self, "first", self.status)
        return over


class Hasty(AnswerReader):
    """A reader that treats every piece as a complete answer."""

    def feed(self, data: bytes) -> bool:
        super().feed(data)
        self.over = self.keep = True
        return True


class Inventive(AnswerReader):
    """A reader that invents an answer."""

    def end(self) -> bool:
        self.status = 202
        return True


@pytest.mark.parametrize("reader", [Stale, Hasty, Inventive])
def test_the_check_can_fail(reader):
    """The checks detect readers that mix up answers, depend on how they are split, or invent them."""
    with pytest.raises(AssertionError):
        check([[KEPT[3]], [KEPT[0][:20], KEPT[0][20:]], []], reader)


async def exchange(before: bytes | None, pieces: list[bytes], *, closes: bool) -> tuple[Answer, Answer]:
    """Post up to three times: one that is answered as it should be, one that is answered by these pieces, one more.

    Returns: the answers to the latter two.
    """
    clock = Skipper()
    written = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            body = await peer.take()
            if body == b"one" and before is not None:
                await peer.give(before)
            elif body == b"two":
                for piece in pieces:
                    await peer.give(piece)
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                await (
                    peer.until_arrived()
                )  # or the rest could come behind the next request, for which nobody has a cure
                written.set()
                if closes:
                    return
            else:
                await peer.give(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmarker")

    async with receiving(script) as receiver, posting(receiver.port, timeout_s=10.0) as channel:
        if before is not None:
            await channel.post(Request(b"one"))
        posted = asyncio.ensure_future(channel.post(Request(b"two")))
        while not (posted.done() or written.is_set()):
            await asyncio.sleep(0)
        for _ in range(5):  # what has arrived is read
            await asyncio.sleep(0)
        if not posted.done():
            clock.skip(11)
        two = await posted
        three = await channel.post(Request(b"three"))
    return two, three


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([None, *KEPT]), cut_answers(), st.booleans())
@example(b"HTTP/1.1 204 No Content\r\n\r\n", [], True)
@example(b"HTTP/1.1 204 No Content\r\n\r\n", [], False)
@example(KEPT[0], [KEPT[0] + KEPT[1]], False)
@example(KEPT[0], [KEPT[0], KEPT[1]], False)
@example(None, [b"HTTP/1.1 200 OK\r\n\r\n", b"hi"], True)
def test_a_channel_gives_each_request_its_own_answer(before, pieces, closes):
    """For any bytes a post ends with its own answer or a fault, and the next post gets its own answer."""
    two, three = asyncio.run(exchange(before, pieces, closes=closes))

    if isinstance(two, Fault):
        assert two.kind in (FaultKind.CLOSED, FaultKind.TIMEOUT, FaultKind.PROTOCOL)
    else:
        assert re.search(rb"HTTP/1\.[0-9] *%d" % two.status, b"".join(pieces)), "a status that nobody sent"
    assert isinstance(three, Response)
    assert (three.status, three.body) == (200, b"marker")
