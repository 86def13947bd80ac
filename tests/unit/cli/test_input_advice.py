"""Promises of the advice on files that are not one JSON object per line."""

import bz2
import gzip
import json
import lzma

import pytest
import zstandard

from aegis_stream.cli.input_advice import advice_on, binary_advice, unsendable

PRETTY = json.dumps({"event": {"id": "a"}}, indent=1).encode()


@pytest.mark.parametrize("line", [b"{}", b' {"event": {"id": "a"}} ', b'{"a":1}\r'])
def test_an_object_needs_no_advice(line):
    """If the first line is a complete object, there is no advice."""
    assert advice_on(line) is None


@pytest.mark.parametrize(
    "line, advice",
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (PRETTY.splitlines()[0], "jq -c ."),
        (b'{"a": "' + b"x" * 100, "jq -c ."),
        (b'{"a":1},', "sed 's/,$//'"),
        (b"[", "jq -c '.[]'"),
        (b'[{"a":1}]', "jq -c '.[]'"),
        (gzip.compress(b"{}", mtime=0), "zcat"),
        (zstandard.compress(b"{}"), "zstdcat"),
        ('{"a":1}'.encode("utf-16"), "iconv"),
        ('{"a":1}'.encode("utf-16-le"), "iconv"),
        ('{"a":1}'.encode("utf-16-be"), "UTF-16BE"),
        (bz2.compress(b"{}"), "bzcat"),
        (lzma.compress(b"{}"), "xzcat"),
        (b"PK\x03\x04rest", "unzip"),
        (b"PAR1\0\0", "Parquet"),
        (b"\0\0\0", "binary"),
        ('{"a":"ü"}'.encode("latin-1"), "iconv"),
        (b'{"a":1}{"b":2}', "jq -c ."),
        (b"{'a':1}", "not valid JSON"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "-Infinity"),
        (b'{"a":01}', "not valid JSON"),
        (b"CEF:0|x|y|1|", "one JSON object per line"),
        (b"42", "one JSON object per line"),
        (b"\xff", "one JSON object per line"),
        (b'{"a":' * 2000, "jq -c ."),
    ],
    ids=ascii,
)
def test_other_input_is_named_with_the_command_that_converts_it(line, advice):
    """For any other first line, the advice names the form and the command that converts it."""
    assert advice in advice_on(line)


@pytest.mark.parametrize(
    "line", [b"{}", b"[", b"CEF:0", b"BZ", b"\xef\xbb\xbf{}", '{"a":"ü"}'.encode("latin-1"), b""], ids=ascii
)
def test_text_is_not_called_binary(line):
    """A line of text is sent whatever it says, so that one bad line costs no other."""
    assert binary_advice(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"create":{}}',
        b'{"index": {"_index": "audit", "_id": "1"}}',
        b'{ "create" : {"_index":"logs-x-y"} }',
    ],
)
def test_a_bulk_request_is_not_sent_as_events(line):
    """The actions between its events are objects too: each would be stored as an event."""
    assert "awk 'NR % 2 == 0'" in unsendable(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"create":"a"}',
        b'{"create":{},"event":{"id":"a"}}',
        b'{"index":{"shards":3}}',
        b'{"index":',
        b'{"create":' * 2000,
    ],
)
def test_an_event_that_looks_like_an_action_is_sent(line):
    """Other members, or a value that is no action, make it an event like any other."""
    assert unsendable(line) is None
