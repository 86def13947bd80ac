"""Promises of `oauth2`: what a token request says, and what is wrong with its settings, without repeating them."""

from dataclasses import replace

import pytest

from aegis_stream.domain.oauth2 import (
    CLIENT_ID_CHARACTERS_MAX,
    CLIENT_SECRET_CHARACTERS_MAX,
    SCOPE_CHARACTERS_MAX,
    OAuth2,
    oauth2_problems,
)

GOOD = OAuth2("https://login.example.com/token", "client", "c4n4ry", "")


def test_a_token_is_asked_for_by_the_form_of_the_specification():
    """Client and secret travel in the form, escaped; a scope only where there is one."""
    asked = replace(GOOD, client_secret="a&b=c d+e")

    assert asked.form() == b"grant_type=client_credentials&client_id=client&client_secret=a%26b%3Dc+d%2Be"
    assert replace(asked, scope="one two").form() == asked.form() + b"&scope=one+two"


VISIBLE = "visible ASCII characters without line breaks: check for a pasted line break or quotation mark"
KEPT = (
    "is required: it is not kept when the host of token_url or of the destination, or ca_certificate changes"
)
SCOPE = "must be names of visible ASCII, separated by single spaces, at most 2048 characters"


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({}, {}),
        ({"client_id": "x" * CLIENT_ID_CHARACTERS_MAX}, {}),
        ({"client_id": "x" * (CLIENT_ID_CHARACTERS_MAX + 1)}, {"client_id": f"must be 1 to 1024 {VISIBLE}"}),
        ({"client_id": ""}, {"client_id": f"must be 1 to 1024 {VISIBLE}"}),
        ({"client_secret": "x" * CLIENT_SECRET_CHARACTERS_MAX}, {}),
        (
            {"client_secret": "c4n4ry" * (CLIENT_SECRET_CHARACTERS_MAX // 6 + 1)},
            {"client_secret": f"must be 1 to 4096 {VISIBLE}"},
        ),
        ({"client_secret": "c4n4ry\n"}, {"client_secret": f"must be 1 to 4096 {VISIBLE}"}),
        ({"client_secret": ""}, {"client_secret": KEPT}),
        ({"scope": "a b:c/d"}, {}),
        ({"scope": "x" * SCOPE_CHARACTERS_MAX}, {}),
        ({"scope": "x" * (SCOPE_CHARACTERS_MAX + 1)}, {"scope": SCOPE}),
        ({"scope": "a  b"}, {"scope": SCOPE}),
        ({"scope": " a"}, {"scope": SCOPE}),
        ({"scope": 'a"b'}, {"scope": SCOPE}),
        ({"client_id": "", "client_secret": "", "scope": "\\"},
         {"client_secret": KEPT, "client_id": f"must be 1 to 1024 {VISIBLE}", "scope": SCOPE}),
    ],
    ids=lambda value: ascii(value)[:40],
)  # fmt: skip
def test_checks_what_a_token_request_needs(changes, problems):
    """Each field has its range, both ends included; the message tells it, and never the value."""
    found = oauth2_problems(replace(GOOD, **changes), None)

    assert {one.field: one.message for one in found} == {
        f"oauth2.{name}": one for name, one in problems.items()
    }
    assert "c4n4ry" not in repr(found)


def test_an_auth_header_and_tokens_exclude_each_other():
    """The token is the auth header, so there is no other one; without oauth2 nothing is wrong with one."""
    (problem,) = oauth2_problems(GOOD, "X-Key")

    assert (problem.field, problem.message) == (
        "auth_header_name",
        "cannot be combined with oauth2, which sets the auth header: omit one of the two",
    )
    assert oauth2_problems(None, "X-Key") == []
