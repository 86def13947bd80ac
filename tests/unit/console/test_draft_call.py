"""Promises of the calls behind the form for a new destination: they make that destination, and hold no secret."""

import shlex

import msgspec
import pytest

from aegis_stream.api.schemas.destinations import DestinationWrite
from aegis_stream.api.schemas.specs import spec_of
from aegis_stream.cli.destinations import destination
from aegis_stream.console.draft_call import unsaved_call
from aegis_stream.control.destination_types import FieldKind, destination_types, fill
from aegis_stream.domain.attempt import RetryPolicy
from aegis_stream.domain.destination import mask_url

TYPES = {one.id: one for one in destination_types()}
CANARY = "c4n4ry-of-the-call"


def spec_for(type_id: str):
    """Return the destination that a kind's examples make, with a canary for every secret."""
    one = TYPES[type_id]
    secret_url = f"https://collect.example.com/receiver/v1/http/{CANARY}"
    values = {
        field.name: secret_url
        if field.kind is FieldKind.SECRET_URL
        else CANARY
        if field.kind is FieldKind.SECRET
        else field.example
        for field in one.fields
    }
    return fill(one, values, RetryPolicy())


@pytest.mark.parametrize("type_id", TYPES)
def test_the_call_makes_what_was_typed(type_id):
    """The body of the call is a destination with the same fields, but for secrets, which stand as `…`."""
    spec = spec_for(type_id)
    call = unsaved_call("https://aegis.example.com", "org_abc", spec, test=True)
    words = shlex.split(call.curl.replace("\\\n", ""))
    made = spec_of(msgspec.json.decode(words[words.index("-d") + 1], type=DestinationWrite), RetryPolicy())

    assert "/api/orgs/org_abc/forwarding-destinations/test" in call.curl
    assert CANARY not in call.curl + call.aegis
    for name in ("name", "format", "batch", "filter", "auth_header_name", "compression", "header_names"):
        assert getattr(made, name) == getattr(spec, name)
    has_credential = spec.auth_header_value is not None or spec.oauth2 is not None
    assert made.url == (spec.url if has_credential else mask_url(spec.url))
    assert (made.oauth2 is None) == (spec.oauth2 is None)


@pytest.mark.parametrize("type_id", TYPES)
def test_the_command_has_only_options_that_there_are(type_id):
    """The command is one of `aegis`, and its options are known to it."""
    words = shlex.split(unsaved_call("https://a", "org_abc", spec_for(type_id), test=True).aegis)
    words = words[next(at for at, word in enumerate(words) if word == "aegis") :]
    command = destination.commands["add"]
    known = {option for one in command.params for option in one.opts}

    assert words[:3] == ["aegis", "destination", "add"]
    assert words[-1] == "--test-only"
    assert {one for one in words if one.startswith("--")} <= known


def test_saving_is_the_call_that_creates():
    """The second call goes where destinations are made."""
    call = unsaved_call("https://a", "org_abc", spec_for("splunk"), test=False)

    assert "forwarding-destinations'" in call.curl or "forwarding-destinations " in call.curl
    assert "--test-only" not in call.aegis
