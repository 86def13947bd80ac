"""The pages about destinations cannot drift: what they tell people to send is accepted, and what they show is what we send."""

import json
import re

import msgspec
import pytest

from aegis_stream.api.schemas.destinations import DestinationPatchWrite
from aegis_stream.domain.event import NewEvent
from aegis_stream.domain.ids import Micros, OrganizationId
from aegis_stream.domain.parsing import parse_event
from aegis_stream.formats import AUTO, choose, resolve
from support.pages import (
    ROOT,
    VARIABLE,
    blocks_of,
    calls_of,
    commands_of,
    documents_of,
    expanded,
    page_names,
    read_page,
    secrets_of,
    sections_of,
    spec_of_body,
    written_by,
)

SECTIONS = (
    "What to click there",
    "What to POST here",
    "What arrives",
    "How to search for it",
    "What can go wrong",
    "Proof",
)
OWN_VARIABLES = frozenset({"AEGIS_URL", "AEGIS_ORG", "AEGIS_API_KEY", "AEGIS_AUTH_HEADER_VALUE"})
"""Variables that docs/how-to/destinations/index.md and docs/reference/cli.md explain for all pages."""
LOSSES = {
    "Microsoft Sentinel": "microsoft-sentinel",
    "Fluentd": "fluentd",
    "Logstash": "logstash",
    "Fluent Bit": "fluent-bit",
    "Cribl": "cribl",
    "Splunk": "splunk",
    "New Relic": "new-relic",
    "Datadog": "datadog",
    "Sumo Logic": "sumo-logic",
    "Loki": "grafana-loki",
    "Axiom": "axiom",
    "Honeycomb": "honeycomb",
    "Vector": "vector",
    "Better Stack": "better-stack",
    "VictoriaLogs": "victorialogs",
    "OTLP": "opentelemetry-collector",
    "Elasticsearch": "elasticsearch-and-opensearch",
}
"""Which page tells of the hidden losses of a destination, by its name in docs/reference/hidden-losses.md."""
LOSSES_ELSEWHERE = frozenset({"OpenTelemetry Datadog receiver, before November 2025"})
"""Destinations of that page that nobody is told to send to."""
REAL = {
    "elasticsearch-and-opensearch": "test_opensearch.py",
    "fluent-bit": "test_collector_front.py",
    "fluentd": "test_collector_front.py",
    "generic-https": "test_nginx.py",
    "grafana-loki": "test_loki.py",
    "opentelemetry-collector": "test_collector.py",
    "victorialogs": "test_victorialogs.py",
}
"""The test of tests/real that runs the program itself, or the nginx before it; a page may say so as soon as there is one."""
NAMES = page_names()


def event_of_the_index() -> bytes:
    """Return the event of which all pages show what becomes of it, as it is stored."""
    (block,) = blocks_of(sections_of(read_page("index"))["The event that arrives"], "json")
    return json.dumps(json.loads(block), ensure_ascii=False, separators=(",", ":")).encode()


def posted(name: str) -> str:
    """Return the section of a page that says what to send."""
    return sections_of(read_page(name))["What to POST here"]


def formats_named(name: str) -> set[str]:
    """Return the formats to whose descriptions the head of a page leads."""
    return set(re.findall(r"\[`(\w+)`\]\([^)#]*#format-\1\)", sections_of(read_page(name))[""]))


def is_tested(name: str) -> bool:
    """Tell whether there is a test that runs what a page is about."""
    return name in REAL and (ROOT / "tests" / "real" / REAL[name]).exists()


def asked_and_url(name: str) -> tuple[str, str]:
    """Return the format and the URL of the first destination of a page."""
    spec = spec_of_body(expanded(calls_of(posted(name))[0].body))
    return spec.format, spec.url


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_its_sections(name):
    """Every page asks its question in the first line, and answers it in the same sections; its formats come before the proof."""
    found = sections_of(read_page(name))
    formats = [one for one in found if one.startswith("Format ")]

    assert tuple(found) == ("", *SECTIONS[:-1], *formats, SECTIONS[-1])
    assert re.match(r"# [^\n]+\n\nHow do I send events to [^\n]+\?\n\n\| \| \|\n", found[""])
    assert all(body.strip() for body in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_posted_is_accepted(name):
    """Every body that a page tells people to POST is taken by the API, with the format that the page says."""
    calls = calls_of(posted(name))

    assert calls, "the page has no curl command"
    assert posted(name).count("curl ") == len(calls)
    for call in calls:
        body = expanded(call.body)
        if call.method == "PATCH":
            msgspec.json.decode(body, type=DestinationPatchWrite)
            continue
        spec = spec_of_body(body)
        assert resolve(spec.format, spec.url).name in formats_named(name)
        assert (spec.format == AUTO) == ("format" not in call.sent())


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_auto_chooses(name):
    """Where the format is left to `auto` the page says that `auto` chooses it, and else what `auto` would choose."""
    head = sections_of(read_page(name))[""]
    (row,) = re.findall(r"^\| format \| (.+) \|$", head, re.MULTILINE)
    sent = calls_of(posted(name))[0].sent()

    if "format" in sent:
        assert f"`auto` would be `{choose(sent['url']).format.name}`" in row
    else:
        assert "`auto` chooses" in row
        assert row.startswith(f"[`{choose(sent['url']).format.name}`]")


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_sends_the_same(name, monkeypatch):
    """The `aegis destination add` beside a curl command makes the same destination, by the program's own options."""
    calls = [call for call in calls_of(posted(name)) if call.method == "POST"]
    commands = commands_of(posted(name))

    assert len(commands) == len(calls)
    for call, command in zip(calls, commands, strict=True):
        with monkeypatch.context() as scratch:
            assert written_by(command, scratch) == call.sent()


@pytest.mark.parametrize("name", NAMES)
def test_no_page_shows_a_secret(name):
    """Every credential of a page is a variable, and the page says where its value comes from."""
    explained = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", sections_of(read_page(name))["What to click there"]))

    for call in calls_of(posted(name)):
        assert all(VARIABLE.search(one) for one in secrets_of(json.loads(call.body)))
    assert set(VARIABLE.findall(posted(name))) - OWN_VARIABLES - {"DST"} <= explained


@pytest.mark.parametrize("name", NAMES)
def test_what_arrives_is_what_the_format_makes(name):
    """The example of a page is what the format makes of the one event of the index, value for value, in its order."""
    (block,) = blocks_of(sections_of(read_page(name))["What arrives"], "json")
    made = resolve(*asked_and_url(name)).encode([event_of_the_index()]).body.decode()

    assert [json.dumps(one) for one in documents_of(block)] == [json.dumps(one) for one in documents_of(made)]


def test_the_example_is_an_event():
    """The event of the index is taken as it stands, and nothing of it has to be filled in."""
    body = event_of_the_index()
    taken = parse_event(body, OrganizationId("org_abc"), Micros(0), lambda: "made")

    assert isinstance(taken, NewEvent)
    assert taken.body.encode() == body


@pytest.mark.parametrize("name", NAMES)
def test_a_page_searches_by_id_and_decision(name):
    """Every page shows how to find one event, a decision, and duplicates."""
    rows = re.findall(r"^\| ([^|]+?) \|", sections_of(read_page(name))["How to search for it"], re.MULTILINE)

    assert {"one event", "a decision"} <= set(rows)
    assert {"duplicates", "without duplicates"} & set(rows)


def test_every_hidden_loss_is_on_the_page_of_its_destination():
    """Who reads a destination's page learns of every known case in which its 2xx hides a loss."""
    table = re.findall(
        r"^\| (\d+) \| ([^|]+?) \|",
        (ROOT / "docs/reference/hidden-losses.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )

    assert len(table) == 26
    for number, destination in table:
        if destination in LOSSES_ELSEWHERE or LOSSES[destination] not in NAMES:
            continue
        told = sections_of(read_page(LOSSES[destination]))["What can go wrong"]
        assert re.search(rf"\brow {number}\b", told), (destination, number)


@pytest.mark.parametrize("name", NAMES)
def test_a_proof_names_its_tests(name):
    """What was tested against the program is called so, all else conforms to a contract, and every test named exists."""
    proof = sections_of(read_page(name))["Proof"]

    assert ("tested against" in proof.lower()) == is_tested(name)
    assert "conforms to the documented contract" in proof.lower() or is_tested(name)
    assert not is_tested(name) or f"tests/real/{REAL[name]}" in proof
    assert all((ROOT / one).exists() for one in re.findall(r"`(tests/[\w./]+)`", proof))


def test_the_index_says_of_every_page_what_it_says_itself():
    """The table of all destinations names every page, with its format and its proof."""
    table = re.findall(
        r"^\| \[[^|]*?\]\(([\w-]+)\.md\)[^|]* \| ([^|]+) \| ([^|]+) \|$", read_page("index"), re.MULTILINE
    )
    listed = {page: (formats, proof) for page, formats, proof in table}

    assert set(NAMES) <= set(listed) <= set(page_names())
    for name in NAMES:
        formats, proof = listed[name]
        own = sections_of(read_page(name))["Proof"].lower()
        assert f"`{resolve(*asked_and_url(name)).name}`" in formats
        assert ("tested against" in proof) == is_tested(name)
        assert ("conforms to the documented contract" in proof) == (
            "conforms to the documented contract" in own
        )
