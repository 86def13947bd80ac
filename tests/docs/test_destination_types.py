"""The table of destination types says what the pages about destinations say."""

import json
import re
import string

import pytest

from aegis_stream.control.destination_types import FieldKind, destination_types
from aegis_stream.formats import AUTO, choose, resolve
from support.pages import calls_of, page_names, read_page, sections_of, spec_of_body

TYPES = {one.id: one for one in destination_types()}
SECRETS = {FieldKind.SECRET, FieldKind.SECRET_URL}
CREDENTIAL = "$SECRET"


def filled(one, template: str) -> str:
    """Return a template with the examples of the type's fields, and one text for all that is secret."""
    values = {f.name: CREDENTIAL if f.kind in SECRETS else f.example for f in one.fields}
    return template.format(**values)


def body_of(one) -> dict:
    """Return the body of the call that makes a destination of a type, as its page would show it."""
    body = {"url": filled(one, one.url)}
    if one.auth_header_name:
        body |= {
            "auth_header_name": one.auth_header_name,
            "auth_header_value": filled(one, one.auth_header_value),
        }
    if one.headers:
        body["headers"] = {name: filled(one, value) for name, value in one.headers.items()}
    if choose(body["url"]).format.name != one.format:
        body["format"] = one.format
    if one.batch_max_bytes:
        body["batch"] = {"max_bytes": one.batch_max_bytes}
    return body


def shown_on(page: str) -> list[dict]:
    """Return the destinations that a page tells people to make, without their names, and with one text for all that is secret."""
    calls = calls_of(sections_of(read_page(page))["What to POST here"])
    bodies = [json.loads(re.sub(r"\$\w+", CREDENTIAL, call.body)) for call in calls]
    return [{key: body[key] for key in body if key not in ("name", "oauth2")} for body in bodies]


@pytest.mark.parametrize("name", TYPES)
def test_a_type_makes_the_destination_that_its_page_shows(name):
    """Fields with their examples make the URL, headers, format and batch size of the page."""
    one = TYPES[name]

    assert body_of(one) in shown_on(one.page)


@pytest.mark.parametrize("name", TYPES)
def test_the_query_is_the_page_s(name):
    """The query that finds one event is one of those on the page."""
    one = TYPES[name]
    page = sections_of(read_page(one.page))["How to search for it"].replace("\\|", "|")

    if name != "generic-https":  # nobody knows how that one is searched
        assert one.search.query.replace("{event_id}", "pflt_abc123") in page


def test_every_page_has_its_type():
    """Each destination that has a page can be chosen, and each type has a page."""
    assert {one.page for one in TYPES.values()} == set(page_names())


@pytest.mark.parametrize("name", TYPES)
def test_a_type_is_whole(name):
    """Every {name} in a template is a field, every field is used, and only what is secret has no example."""
    one = TYPES[name]
    templates = [one.url, one.auth_header_value, *one.headers.values()]
    if one.oauth2 is not None:
        templates += [one.oauth2.token_url, one.oauth2.client_id, one.oauth2.client_secret, one.oauth2.scope]
    used = {found[1] for text in templates for found in string.Formatter().parse(text) if found[1]}

    assert used == {f.name for f in one.fields}
    assert all(bool(f.example) == (f.kind not in SECRETS) for f in one.fields)
    assert all(not f.choices or f.example in f.choices for f in one.fields)
    assert resolve(one.format, "https://sink.example.com/").name == one.format != AUTO
    assert "{event_id}" in one.search.query
    assert one.trap.endswith(".")
    assert len(one.trap) <= 300, "a person reads it beside the result of a test"


@pytest.mark.parametrize(
    "name", [name for name in TYPES if TYPES[name].fields[0].kind is not FieldKind.SECRET_URL]
)
def test_what_a_type_makes_is_accepted(name):
    """The API takes the destination that a type makes."""
    body = body_of(TYPES[name])
    if body["url"] == CREDENTIAL:
        body["url"] = "https://sink.example.com/secret"

    spec = spec_of_body(json.dumps(body))

    assert resolve(spec.format, spec.url).name == TYPES[name].format
