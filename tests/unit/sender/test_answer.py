"""The answer reader, fed by hand."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.sender.answer import (
    BODY_BYTES_MAX,
    FRAMING_BYTES_MAX,
    HEAD_BYTES_MAX,
    HEAD_NOTED_BYTES,
    INTERIM_MAX,
    AnswerReader,
)
from aegis_stream.sender.lenient import HEADER_LINES_MAX

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nhi"


def read(*pieces: bytes) -> AnswerReader:
    """Feed pieces to a new reader until the answer is over."""
    reader = AnswerReader()
    for piece in pieces:
        if reader.feed(piece):
            break
    return reader


def summary(reader: AnswerReader) -> tuple:
    """Return all that a reader has learnt."""
    return (
        reader.over,
        reader.rejection,
        reader.keep,
        reader.status,
        reader.body,
        reader.retry_after,
        reader.location,
    )


def test_whole_answer_is_read_and_the_connection_kept():
    """An answer with a length is complete at its last byte, and the connection can be reused."""
    reader = read(OK)

    assert summary(reader) == (True, None, True, 202, b"hi", None, None)


def test_reader_serves_one_answer_after_the_other():
    """No attribute of an answer carries over to the next one."""
    reader = read(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 1\r\n\r\nx")
    assert (reader.status, reader.retry_after) == (429, "7")

    reader.begin()

    assert reader.feed(OK)
    assert summary(reader) == (True, None, True, 202, b"hi", None, None)


VALID = [
    OK,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
    b"HTTP/1.1 503 Later\r\nretry-AFTER: 120\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy",
    b"HTTP/1.1 302 Found\r\nLocation: https://else.example/x?y\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 " + b"r" * 100 + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + b"b" * 20000,
]


@given(st.sampled_from(VALID), st.lists(st.integers(0, 400), max_size=12))
def test_splits_do_not_matter(answer, cuts):
    """An answer is read alike however the network splits it."""
    whole = summary(read(answer))

    edges = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[a:b] for a, b in itertools.pairwise(edges) if a < b]

    assert summary(read(*pieces)) == whole
    assert whole[0]


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=10))
def test_arbitrary_bytes_never_raise(pieces):
    """No bytes make the reader raise, and it has a result at the end of the stream."""
    reader = read(*pieces)
    reader.end()

    assert reader.rejection is None or (reader.over and not reader.keep)


FRAGMENTS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 \r\n\r\n",
    b"HTTP/1.0 099 \r\n",
    b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Connection: close\r\n",
    b"Location: http://[\r\n",
    b"\r\n",
    b"\n",
    b"abc",
    b"3\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffffff\r\n",
    b" fold\r\n",
    b"\x00",
]


@given(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=12), st.integers(1, 9))
def test_shuffled_grammar_never_raises(fragments, size):
    """Nearly valid answers in any order and any pieces never raise and never keep a connection that must be closed."""
    data = b"".join(fragments)
    reader = read(*(data[i : i + size] for i in range(0, len(data), size)))
    reader.end()

    assert not (reader.keep and reader.rejection)
    assert not reader.keep or reader.status >= 200


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 3\n\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\n Content-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nA: b\rContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n",
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n-2\nhi\n0\n\n",
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhello\n0\n\n",
        b"HTTP/1.1 200 OK\n" + b"X: y\n" * (HEADER_LINES_MAX + 1) + b"\n",
        b"HTTP/1.1 200 OK\nX: " + b"y" * HEAD_BYTES_MAX + b"\nContent-Length: 0\n\n",
        b"HTTP/1.1 100 Continue\n\n" * (INTERIM_MAX + 1),
        b"HTTP/1.1 20 OK\n\n",
        b"HTTP/1.1 200\0\n\n",
        b"\r\n" * 5 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhi",
        b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 1234 High\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM_MAX + 1),
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (HEADER_LINES_MAX + 1) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * HEAD_BYTES_MAX + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 " + b"r" * HEAD_BYTES_MAX + b"\r\nContent-Length: 0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1 << 20, 997])
def test_ambiguous_or_endless_answers_are_refused(answer, size):
    """An ambiguous or endless answer is rejected."""
    reader = read(*(answer[i : i + size] for i in range(0, len(answer), size)))

    assert reader.over
    assert reader.rejection
    assert not reader.keep


CLEAR = [
    pytest.param(b"HTTP/1.1 202 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nhi", id="a folded line"),
    pytest.param(b"HTTP/1.1 202 OK\r\nX: a\r\n\tb\r\n\r\nhi", id="a folded line, and no length"),
    pytest.param(b"HTTP/1.1 202 OK\r\nContent-Length:\r\n 2\r\n\r\nhi", id="a folded length"),
    pytest.param(b"HTTP/1.1 202 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", id="the same length twice"),
    pytest.param(b"HTTP/1.1 202 OK\r\nContent-Length: 2, 2\r\n\r\nhi", id="the same length in a list"),
    pytest.param(b"HTTP/1.1 202 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", id="a length and chunks"),
    pytest.param(b"HTTP/1.1 202 OK\r\ntransfer-encoding: Chunked\r\ncontent-length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n", id="chunks and a length"),
    pytest.param(b"HTTP/1.1 202 OK\nContent-Length: 2\n\nhi", id="lines end with LF"),
    pytest.param(b"HTTP/1.1 202 OK\r\nContent-Length: 2\n\r\nhi", id="one line ends with LF"),
    pytest.param(b"HTTP/1.1 202 OK\r\nContent-Length: 2\r\n\nhi", id="the last line ends with LF"),
    pytest.param(b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n2  \r\nhi\r\n0\r\n\r\n", id="blanks after the size of a chunk"),
    pytest.param(b"\r\nHTTP/1.1 202 OK\r\nContent-Length: 2\r\n\r\nhi", id="an empty line first"),
    pytest.param(b"\n\n\nHTTP/1.1 202 OK\r\nContent-Length: 2\r\n\r\nhi", id="empty lines first"),
    pytest.param(b"\r\nHTTP/1.1 100 C\r\n\r\n\r\nHTTP/1.1 202 OK\nContent-Length: 2\n\nhi", id="an empty line between answers"),
    pytest.param(b"HTTP/1.1 202 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", id="identity and a length"),
    pytest.param(b"HTTP/1.1 202 OK\r\nTransfer-Encoding: identity\r\n\r\nhi", id="identity"),
    pytest.param(b"HTTP/1.1  202  OK\r\nContent-Length: 2\r\n\r\nhi", id="two blanks before the status"),
    pytest.param(b"HTTP/1.1 202\nContent-Length: 2\n\nhi", id="no reason"),
    pytest.param(b"HTTP/1.1 202 OK\r\nX Trace: a\r\nContent-Length: 2\r\n\r\nhi", id="a blank in a name"),
    pytest.param(b"HTTP/1.1 202 OK\r\nX-Trace : a\r\nContent-Length: 2\r\n\r\nhi", id="a blank before a colon"),
    pytest.param(b"HTTP/1.1 202 OK\r\nX-Trace\r\nContent-Length: 2\r\n\r\nhi", id="no colon"),
    pytest.param(b"HTTP/1.1 202 OK\r\nX-Trace: a\x01\r\nContent-Length: 2\r\n\r\nhi", id="a control character"),
    pytest.param(b"HTTP/1.1 100 Continue\n\nHTTP/1.1 202 OK\nContent-Length: 2\n\nhi", id="an interim answer, and LF"),
    pytest.param(b"HTTP/1.0 202 OK\nContent-Length: 2\n\nhi", id="HTTP/1.0 and LF"),
]  # fmt: skip


@pytest.mark.parametrize("answer", CLEAR)
@pytest.mark.parametrize("size", [1 << 20, 1, 7])
def test_a_clear_answer_in_bad_form_counts_once(answer, size):
    """An answer whose status and end are clear is believed, however it breaks the grammar, and its connection is closed."""
    reader = read(*(answer[i : i + size] for i in range(0, len(answer), size)))
    reader.end()

    assert summary(reader) == (True, None, False, 202, b"hi", None, None)


def test_a_rewritten_head_keeps_what_is_used():
    """Retry-After and Location of an answer in bad form are read like those of any other."""
    answer = b"HTTP/1.1 429 Slow\nRetry-After: 7\nLocation: /x\nX: y\nContent-Length: 0\n\n"

    assert summary(read(answer)) == (True, None, False, 429, b"", "7", "/x")


@pytest.mark.parametrize("status", [b"204 No", b"304 Not"])
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5", b"content-length:2", b"Transfer-Encoding: chunked"]
)
def test_a_body_where_none_may_be_spends_the_connection(status, framing):
    """An answer that announces a body although its status has none counts, and its connection is closed."""
    reader = read(b"HTTP/1.1 " + status + b"\r\n" + framing + b"\r\n\r\n")

    assert (reader.over, reader.rejection, reader.keep) == (True, None, False)


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 0\r\n"])
def test_no_content_keeps_the_connection(framing):
    """The connection of a 204 without a body is kept, whether it says so or not."""
    assert read(b"HTTP/1.1 204 No Content\r\n" + framing + b"\r\n").keep


@pytest.mark.parametrize(
    "junk",
    [OK, b"x", b"H", b"HTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n", b"\x00", b"HTTP/1.1 100 C\r\n\r\n"],
)
@pytest.mark.parametrize(
    "answer",
    [OK, b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 304 Not\r\nContent-Length: 0\r\n\r\n"],
)
def test_bytes_after_the_answer_spend_the_connection(answer, junk):
    """An answer with bytes after it counts, but its connection is not reused."""
    expected = read(answer)

    reader = read(answer + junk)

    assert (reader.status, reader.body, reader.rejection) == (expected.status, expected.body, None)
    assert expected.keep
    assert not reader.keep


def test_body_is_cut_at_the_limit():
    """A body of exactly 16 KiB is complete; a longer one is truncated and its connection is not reused."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"

    exact = read(head % BODY_BYTES_MAX + b"x" * BODY_BYTES_MAX)
    longer = read(head % (BODY_BYTES_MAX + 1), b"x" * BODY_BYTES_MAX, b"y")

    assert (len(exact.body), exact.keep) == (BODY_BYTES_MAX, True)
    assert (longer.body, longer.over, longer.keep, longer.rejection) == (
        b"x" * BODY_BYTES_MAX,
        True,
        False,
        None,
    )


@pytest.mark.parametrize("limit", [1, BODY_BYTES_MAX, 192 * 1024])
def test_endless_chunk_extension_ends(limit):
    """Framing without a body is bounded too, beside whatever may be read of the body; the status counts."""
    reader = AnswerReader(limit)
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=")

    fed = 0
    while not reader.feed(b"z" * 4096):
        fed += 4096
        assert fed <= limit + FRAMING_BYTES_MAX

    assert (reader.status, reader.rejection, reader.keep) == (200, None, False)


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nabc", True),
        (b"HTTP/1.0 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\nConte", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
    ],
)
def test_end_of_stream(answer, whole):
    """The end of the stream ends an answer without a length, and truncates every other."""
    reader = read(answer)

    assert reader.end() is whole
    assert not reader.keep


BUSY = b"HTTP/1.1 503 Service Unavailable\r\nServer: x\r\nContent-Length: 2\r\n\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, len(BUSY)])
def test_the_head_is_kept_as_it_came(size):
    """Status line and headers are there as they came, however they were split, also of an answer like the one before."""
    reader = AnswerReader()
    for _ in range(2):
        reader.begin()
        for at in range(0, len(BUSY), size):
            reader.feed(BUSY[at : at + size])

        assert reader.over
        assert reader.head == b"HTTP/1.1 503 Service Unavailable\r\nServer: x\r\nContent-Length: 2"


def test_a_long_head_is_cut():
    """No more of a head is kept than people see."""
    head = b"HTTP/1.1 503 x\r\nX: " + b"y" * 20_000
    reader = read(head + b"\r\nContent-Length: 0\r\n\r\n")

    assert reader.head == head[:HEAD_NOTED_BYTES]


def test_no_head_is_kept_after_interim_answers():
    """The head of an interim answer is never taken for that of the answer."""
    assert read(b"HTTP/1.1 100 Continue\r\nX: interim\r\n\r\n" + BUSY).head == b""
