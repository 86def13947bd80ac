"""When `aegis serve` prints a link to the console, and to which address."""

import io

import pytest

from aegis_stream.serving.link import origin_for, wants_link


class Terminal(io.StringIO):
    """An output that is a terminal."""

    def isatty(self):
        """Say so."""
        return True


@pytest.mark.parametrize(
    ("asked", "log_format", "output", "wanted"),
    [
        (None, "auto", Terminal(), True),
        (None, "console", Terminal(), True),
        (None, "json", Terminal(), False),
        (None, "auto", io.StringIO(), False),
        (True, "json", io.StringIO(), True),
        (False, "auto", Terminal(), False),
    ],
)
def test_a_link_is_printed_where_only_the_person_who_started_it_reads(asked, log_format, output, wanted):
    """On a terminal by default, nowhere that is shipped; and as asked."""
    assert wants_link(asked=asked, log_format=log_format, output=output) is wanted


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1", "http://127.0.0.1:8700"),
        ("0.0.0.0", "http://127.0.0.1:8700"),
        ("::", "http://[::1]:8700"),
        ("::1", "http://[::1]:8700"),
        ("audit.lan", "http://audit.lan:8700"),
    ],
)
def test_the_link_leads_to_an_address_that_a_browser_opens(host, origin):
    """Where the service listens on all addresses, the link names this machine."""
    assert origin_for(host, 8700) == origin
