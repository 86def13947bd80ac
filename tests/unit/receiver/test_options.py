"""Promises of the reference receiver's options, counts and addresses."""

import pytest

from aegis_stream.receiver.handler import Counts
from aegis_stream.receiver.options import ReceiverOptions
from aegis_stream.receiver.server import _url


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"port": -1}, "port"),
        ({"port": 65536}, "port"),
        ({"fail": 1.1}, "fail"),
        ({"fail": float("nan")}, "fail"),
        ({"latency_s": -1}, "latency"),
        ({"latency_s": float("inf")}, "latency"),
        ({"bearer": ""}, "bearer"),
        ({"hmac_key": b""}, "HMAC"),
        ({"header": ("a b", "c")}, "header"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named(wrong, word):
    """Options are checked when they are created, and the error names the wrong one."""
    with pytest.raises(ValueError, match=word):
        ReceiverOptions(**wrong)


def test_options_show_no_secret():
    """The repr of the options has no secret."""
    options = ReceiverOptions(bearer="s3cret", hmac_key=b"s3cret", header=("Api-Key", "s3cret"))

    assert "s3cret" not in repr(options)
    assert not options.is_open
    assert ReceiverOptions().is_open


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "https://127.0.0.1:1/"),
        ("localhost", "https://localhost:1/"),
        ("::1", "https://[::1]:1/"),
        ("0.0.0.0", "https://127.0.0.1:1/"),
        ("::", "https://[::1]:1/"),
    ],
)
def test_the_url_can_be_connected_to(host, url):
    """The printed URL can be opened, also if the receiver listens on all addresses."""
    assert _url(host, 1, scheme="https") == url


def test_counts_read_like_a_sentence():
    """The last line has every count."""
    assert Counts(received=3, unique=2).line() == (
        "3 received, 2 unique, 0 duplicates, 0 test, 0 refused, 0 failed"
    )
