"""Promises about events whose envelope is spelled with dots: receivers get what they get of the nested event."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import Micros, OrganizationId
from aegis_stream.domain.parsing import parse_event
from aegis_stream.formats import REGISTRY
from aegis_stream.formats.fields import id_of, message_of, read_all, read_described
from aegis_stream.formats.flat import flatten
from support.formats import UNHURRIED
from support.spelling import dotted, dump, fields, nested, spell

EVENT = {
    "@timestamp": "2026-05-15T10:33:21Z",
    "event": {"id": "evt_1", "dataset": "app.login", "action": "login", "agent": {"name": "x"}},
    "organization": {"id": "org_abc"},
    "aegis": {"summary": "Ada logged in.", "x": {"y": 1}},
    "log": {"level": "info"},
}
REWRITING = ("honeycomb", "new_relic", "otlp_logs", "sentinel")
"""Formats that write an event anew."""


@st.composite
def spellings(draw):
    """Draw a spelling of the event, as ingest stores it."""
    cuts = {path: draw(st.integers(0, dotted(path))) for path in fields(EVENT)}
    body = dump(spell(EVENT, cuts.__getitem__))
    assert isinstance(parse_event(body, OrganizationId("org_abc"), Micros(0), lambda: "none"), NewEvent)
    return body


@settings(UNHURRIED)
@given(spellings())
def test_formats_read_what_was_checked(body):
    """Id, message and flat names of an event do not depend on how it is spelled."""
    expected = dump(spell(EVENT, nested))

    assert bytes(id_of(body)) == b'"evt_1"'
    assert bytes(message_of(read_described(body))) == b'"Ada logged in."'
    assert flatten(read_all(body), 10_000) == flatten(read_all(expected), 10_000)


@pytest.mark.parametrize("name", REWRITING)
@settings(UNHURRIED, max_examples=50)
@given(spellings())
def test_an_event_written_anew_is_the_same_in_every_spelling(name, body):
    """A receiver of flat attributes or of columns finds every field of the envelope at the same place."""
    encode = REGISTRY[name].encode

    assert ordered(encode([body]).body) == ordered(encode([dump(spell(EVENT, nested))]).body)


def ordered(body):
    """Return JSON as a value that does not depend on the order of members, nor of attributes in a list."""
    return _ordered(json.loads(body))


def _ordered(value):
    if isinstance(value, dict):
        return {name: _ordered(one) for name, one in value.items()}
    return sorted(map(_ordered, value), key=json.dumps) if isinstance(value, list) else value


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - set(REWRITING)))
def test_an_event_sent_whole_keeps_its_bytes(name):
    """A format that sends events as stored sends an event with dotted names as stored, too."""
    body = dump(spell(EVENT, dotted))
    request = REGISTRY[name].encode([body])

    sent = request.body if name != "loki" else json.loads(request.body)["streams"][0]["values"][0][1].encode()
    assert body[1:] in sent
    if name == "elastic_bulk":
        assert request.body.startswith(b'{"create":{"_id":"evt_1"}}\n')
    if name == "elastic_create":
        assert request.path_suffix == "/evt_1"
    if name == "datadog":
        assert b'"message":"Ada logged in."' in sent


@pytest.mark.parametrize(
    ("missing", "message"),
    [((), b'"Ada logged in."'), (("aegis",), b'"login"'), (("aegis", "action"), b'"app.login"')],
    ids=["summary", "action", "dataset"],
)
def test_the_message_is_found_by_its_dotted_name(missing, message):
    """Summary, action and dataset serve as the message in this order, also when their names have dots."""
    event = {**EVENT, "event": {name: one for name, one in EVENT["event"].items() if name not in missing}}
    if "aegis" in missing:
        del event["aegis"]

    assert bytes(message_of(read_described(dump(spell(event, dotted))))) == message


def test_an_older_event_with_both_spellings_keeps_the_nested_one():
    """Version 0.1 accepted a field in both spellings and checked the nested one, so receivers get the nested one first."""
    body = dump(EVENT | {"event.id": "forged", "organization.id": "org_other", "aegis.summary": "forged"})

    flat = flatten(read_all(body), len(body))
    assert bytes(id_of(body)) == b'"evt_1"'
    assert bytes(message_of(read_described(body))) == b'"Ada logged in."'
    assert (flat["event.id"], flat["event.id_"], flat["organization.id"]) == ("evt_1", "forged", "org_abc")
    (row,) = json.loads(REGISTRY["sentinel"].encode([body]).body)
    assert (row["event"]["id"], row["organization"]["id"], row["more"]["event.id"]) == (
        "evt_1",
        "org_abc",
        "forged",
    )
