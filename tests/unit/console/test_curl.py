"""Promises of a request as a command: it sends the same bytes, and nothing in it is hidden from whoever pastes it."""

import subprocess

import pytest

from aegis_stream.console.curl import curl_of
from aegis_stream.control.one_delivery import SentRequest

HIDDEN = "\u202e\u2066\x9b31m\x1b[201~\x07\u200b"


def request_with(body):
    """Return a request with a body."""
    return SentRequest("https://siem.example.com/in", body=body.encode())


@pytest.mark.parametrize(
    "body", ['{"a": 1}', "it's", f"a{HIDDEN}b", f"back\\slash \\n \\0101 {HIDDEN} 'quoted' %s $HOME `x` é\n"]
)
def test_a_shell_prints_the_body_byte_for_byte(body):
    """What the command pipes into curl is the body, also with backslashes, quotes and hidden characters in it."""
    command = curl_of(request_with(body)).partition(" | \\\n")[0]

    assert subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout == body.encode()


def test_nothing_is_hidden_in_the_command():
    """No control or bidirectional character stands in the command as it is: a terminal would obey it."""
    command = curl_of(request_with(f"a{HIDDEN}b"))

    assert all(one.isprintable() or one == "\n" for one in command)
    assert not {"\u202e", "\u2066", "\u200b"} & set(command)
