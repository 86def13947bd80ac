"""A real OpenSearch at the other end: what arrives there, what it refuses, and what its troubles cost (nothing).

Its template is the one that `aegis destination template elastic --flavor opensearch` prints.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from real.opensearch_node import Node, running_node
from support.arrival import QUICK, audit_events, forward
from support.cli import run_aegis
from support.pages import blocks_of, read_page, sections_of
from support.processes import Client, make_events
from support.service import running_service, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PATIENT = {"max_attempts": 20, "base_seconds": 0.2, "multiplier": 1}
"""Attempts for four seconds, in which a test mends what is broken."""
FIRST_ONLY = {"max_attempts": 1}
SEVERAL = {"max_events": 50}
"""A batch so small that many requests are made."""
_numbers = count(1)


@dataclass
class World:
    """A running service and a running node, and one organization that sends to it."""

    node: Node
    client: Client

    def bulk(self, index: str, query: str = "") -> str:
        return f"{self.node.url}/{index}/_bulk{query}"

    def show(self, dst_id: str) -> dict[str, Any]:
        return self.client.request("GET", f"/forwarding-destinations/{dst_id}")

    def dead_letters(self, dst_id: str) -> dict[str, str]:
        """Return why each dead letter is one, by event id."""
        path = f"/forwarding-destinations/{dst_id}/dead-letters"
        page = self.client.request("GET", path, params={"limit": 200})
        assert page["next_cursor"] is None
        return {one["event_id"]: one["last_error"] for one in page["data"]}

    def event(self, event_id: str, **fields: Any) -> dict[str, bytes]:
        """Return one event as it is stored and must arrive."""
        event = {
            "@timestamp": "2026-05-15T10:33:21Z",
            "event": {"id": event_id, "dataset": "app.odd"},
            "organization": {"id": self.client.organization.org_id},
        } | fields
        event["event"] = {"id": event_id} | event["event"]
        return {event_id: json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()}

    def wait_for(self, dst_id: str, **wanted: int) -> dict[str, Any]:
        """Wait until the counts of a destination are these, or more."""

        def reached() -> dict[str, Any] | None:
            found = self.show(dst_id)
            return found if all(found["stats"][name] >= least for name, least in wanted.items()) else None

        try:
            return wait_until(reached, seconds=60)
        except AssertionError:
            raise AssertionError(self.show(dst_id)) from None


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Run a node for the tests that leave it as it was."""
    with running_node(tmp_path_factory.mktemp("opensearch") / "node") as one:
        yield one


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, node: Node) -> Iterator[Any]:
    """Run a service for all tests; each has an organization of its own."""
    with running_service(tmp_path_factory.mktemp("service"), **QUICK) as one:
        yield one


@pytest.fixture
def world(service: Any, node: Node) -> World:
    """Return an organization of the service, beside the node."""
    return World(node, Client(service.url, service.make_organization()))


@pytest.fixture
def stream(node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the name of a data stream that will be made with the template that the command prints."""
    return make_stream(node, monkeypatch, capsys)


def make_stream(node: Node, monkeypatch: Any, capsys: Any) -> str:
    """Put the template that the command prints, for a data stream that no other test has."""
    dataset = f"logs-aegis.test{next(_numbers)}"
    command = ("destination", "template", "elastic", "--flavor", "opensearch", "--pattern", f"{dataset}-*")
    printed = run_aegis(monkeypatch, capsys, *command)
    assert printed.status == 0, printed.stderr
    node.put(f"/_index_template/{dataset}", json.loads(printed.stdout))
    return f"{dataset}-default"


def make_index(node: Node, **mappings: Any) -> str:
    """Make an ordinary index with these mappings."""
    index = f"index-{next(_numbers)}"
    node.put(f"/{index}", {"settings": {"number_of_replicas": 0}, "mappings": mappings})
    return index


# ── what arrives ──


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_event_arrives_as_it_was_sent_and_once(world, stream, compression):
    """All events of sixty products are in the data stream byte for byte, under their ids; a replay adds and loses nothing."""
    events = audit_events(world.client.organization.org_id)

    read = forward(world.client, events, world.bulk(stream), compression=compression)
    first = world.node.documents(stream)
    path = f"/forwarding-destinations/{read['id']}/replay"
    assert world.client.request("POST", path, json={"from_sequence": 1})["events"] == len(events)
    again = world.wait_for(read["id"], delivered=2 * len(events))

    assert read["format"] == "elastic_bulk"
    assert first == events
    assert world.node.count(stream) == len(events)
    assert world.node.documents(stream) == events
    assert (again["stats"]["dead_letters"], again["stats"]["retrying"]) == (0, 0)


@pytest.mark.parametrize("name", ["_doc", "_create"])
def test_single_documents_arrive_as_they_were_sent(world, stream, name):
    """One request for each event brings every event too; with its id in the path, a replay finds it there and adds nothing."""
    events = make_events(world.client.organization.org_id, 1, 60)
    events |= world.event("a/b?c#d%2F é", message="odd id") | world.event("..") | world.event(".")

    read = forward(world.client, events, f"{world.node.url}/{stream}/{name}")
    stored = world.node.documents(stream)
    if name == "_create":
        path = f"/forwarding-destinations/{read['id']}/replay"
        world.client.request("POST", path, json={"from_sequence": 1})
        world.wait_for(read["id"], delivered=2 * len(events))

    assert read["format"] == f"elastic{name}"
    assert sorted(stored.values()) == sorted(events.values())
    assert world.node.count(stream) == len(events)
    if name == "_create":
        assert set(events) - set(stored) == {"..", "."}  # these go by their SHA-256


def test_an_event_without_a_time_has_one_when_it_arrives(world, stream):
    """A data stream takes no event without @timestamp, and never gets one: ingest fills it in."""
    world.node.put(f"/_data_stream/{stream}")
    refused = world.node.call("POST", f"/{stream}/_doc", {"event": {"id": "bare"}})
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "mapper_parsing_exception")

    dst_id = world.client.add_destination(world.bulk(stream))
    world.client.record([b'{"event":{"id":"timeless"},"message":"no time"}'])
    world.wait_for(dst_id, delivered=1)

    (stored,) = world.node.documents(stream).values()
    assert json.loads(stored)["@timestamp"].startswith("20")


def test_the_button_tells_what_bulk_hides(world, stream):
    """A test event is ok where it is stored, and not ok where the 200 of `_bulk` has the refusal inside; neither is an event of
    the log.
    """
    strict = make_index(world.node, dynamic="strict", properties={"@timestamp": {"type": "date"}})
    good, bad = (world.client.add_destination(world.bulk(index)) for index in (stream, strict))

    taken = world.client.request("POST", f"/forwarding-destinations/{good}/test")
    refused = world.client.request("POST", f"/forwarding-destinations/{bad}/test")

    assert (taken["ok"], taken["status_code"]) == (True, 200)
    assert world.node.ids_of(stream, "aegis.test:true AND event.dataset:aegis.audit_stream.test")
    assert (refused["ok"], refused["status_code"]) == (False, 200)
    assert "the mapping allows no new fields" in refused["error"]
    assert world.node.count(strict) == 0


# ── what can be found ──


def test_what_the_schema_knows_has_types_and_the_rest_can_be_searched_by_its_path(world, stream):
    """Networks, ranges and counts work for the schema's fields, and every value of a vendor's object is found by its path."""
    org = {"id": world.client.organization.org_id}
    events = (
        world.event(
            "login", source={"ip": "10.1.2.3", "port": 51234}, user={"name": "ada", "target": {"name": "bo"}}
        )
        | world.event("web", http={"response": {"status_code": 404}}, okta={"actor": {"type": "User"}})
        | world.event("cloud", aws={"eventName": "ConsoleLogin", "resources": [{"arn": "arn:aws:s3:::b"}]})
        | world.event(
            "preflight",
            event={"dataset": "aegis.preflight", "type": ["denied"]},
            aegis={"decision": "BLOCKED", "finding_counts_by_type": {"SSN": 2}, "summary": "Two of them."},
            organization=org,
        )
    )

    forward(world.client, events, world.bulk(stream))

    found = {
        "source.ip:10.0.0.0\\/8": {"login"},
        "source.port:[50000 TO 60000]": {"login"},
        "user.target.name:bo": {"login"},
        "http.response.status_code:>=400": {"web"},
        "okta.actor.type:User": {"web"},
        'aws.resources.arn:"arn:aws:s3:::b"': {"cloud"},
        "aws.eventName:Console*": {"cloud"},
        "ConsoleLogin": {"cloud"},
        "aegis.decision:BLOCKED AND aegis.finding_counts_by_type.SSN:2": {"preflight"},
        "_exists_:aegis.finding_counts_by_type.SSN": {"preflight"},
        "aegis.summary:them": {"preflight"},
        "@timestamp:[2026-05-15T10\\:33\\:21Z TO 2026-05-15T10\\:33\\:21Z]": set(events),
    }
    assert {query: world.node.ids_of(stream, query) for query in found} == found
    asked = {"size": 0, "aggs": {"by": {"terms": {"field": "event.dataset"}}}}
    buckets = world.node.call("POST", f"/{stream}/_search", asked).json()["aggregations"]["by"]["buckets"]
    assert {one["key"]: one["doc_count"] for one in buckets} == {"app.odd": 3, "aegis.preflight": 1}


def test_the_searches_of_the_page_find_what_they_say(service, node, monkeypatch, capsys):
    """Each search that docs/how-to/destinations shows finds the event of docs/how-to/destinations/index.md, or one like it, and no other."""
    client = Client(service.url, service.make_organization("org_abc"))
    world = World(node, client)
    streams = [make_stream(node, monkeypatch, capsys) for _ in range(2)]
    (example,) = blocks_of(sections_of(read_page("index"))["The event that arrives"], "json")
    okta = world.event("okta", okta_systemlog={"actor": {"type": "User"}}, source={"ip": "10.1.2.3"})
    other = world.event("other", aegis={"decision": "ALLOWED"}, source={"ip": "192.0.2.7"})
    forward(client, {"pflt_abc123": example.encode()} | okta | other, world.bulk(streams[0]))
    copied = world.client.add_destination(world.bulk(streams[1]))
    world.client.request(
        "POST", f"/forwarding-destinations/{copied}/replay", json={"from_sequence": 1, "to_sequence": 1}
    )
    world.wait_for(copied, delivered=1)

    searches = searches_of_the_page()
    node.call("POST", "/_refresh")
    found = {what: found_by(node, streams, body) for what, body in searches.items()}

    assert found == {
        "one event": {"pflt_abc123"},
        "a decision": {"pflt_abc123"},
        "a type of finding": {"pflt_abc123"},
        "a value of any object": {"okta"},
        "a network": {"okta"},
        "decisions, counted": {"BLOCKED": 2, "ALLOWED": 1},
        "duplicates": {"pflt_abc123": 2},
    }


def searches_of_the_page() -> dict[str, Any]:
    """Return the bodies of searches that the page shows."""
    section = sections_of(read_page("elasticsearch-and-opensearch"))["How to search for it"]
    rows = re.findall(r"^\| ([^|]+) \| `(\{.+\})` \|$", section, re.MULTILINE)
    return {what: json.loads(body) for what, body in rows}


def found_by(node: Node, streams: list[str], body: dict[str, Any]) -> set[str] | dict[str, int]:
    """Return the ids that a search finds, or what it counts."""
    answer = node.call("POST", f"/{','.join(streams)}/_search", body)
    assert answer.is_success, answer.text
    for counted in answer.json().get("aggregations", {}).values():
        return {one["key"]: one["doc_count"] for one in counted["buckets"]}
    return {hit["_id"] for hit in answer.json()["hits"]["hits"]}


def test_no_shape_and_no_name_enlarges_the_mapping_without_end(world, stream):
    """A thousand types of findings, keys of a vendor's object, and one field with values of every shape cost a few fields."""
    finding = {f"TYPE_{number}": number for number in range(1000)}
    events = world.event("counts", aegis={"finding_counts_by_type": finding, "decision": "ALLOWED"})
    events |= world.event("keys", vendor={f"key {number}": {"a.b": number} for number in range(1000)})
    for number, value in enumerate(
        ({"a": 1}, "text", 5, 0.5, True, None, [], ["x", {"a": {"b": []}}], 2**80)
    ):
        events |= world.event(f"shape-{number}", odd=value, message=value)
        events |= world.event(f"shapes-{number}", vendor={"odd": value, "": 1, ".": 2, "a..b": 3})
        events |= world.event(f"schema-{number}", source={"ip": value, "port": value, "geo": value})

    read = forward(world.client, events, world.bulk(stream))

    assert read["stats"]["dead_letters"] == 0, world.dead_letters(read["id"])
    assert world.node.documents(stream) == events
    (index,) = world.node.get(f"/{stream}/_mapping").values()
    assert _fields_of(index["mappings"]) < 60


def test_times_are_taken_as_ingest_takes_them(world, stream):
    """Spellings of a time that ingest takes, such as Python's own, are times there too."""
    spelled = [
        "2026-05-15T10:33:21Z",
        "2026-05-15 10:33:21+00:00",
        "2026-05-15 10:33:21.456789+00:00",
        "2026-05-15t10:33:21.1z",
        "2026-05-15T10:33:21.123456789Z",
        "2026-05-15T12:33:21+02:00",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999999Z",
    ]
    events: dict[str, bytes] = {}
    for number, text in enumerate(spelled):
        events |= world.event(f"time-{number}", **{"@timestamp": text})

    read = forward(world.client, events, world.bulk(stream))

    assert read["stats"]["dead_letters"] == 0, world.dead_letters(read["id"])
    at = "@timestamp:[2026-05-15T10\\:33\\:21Z TO 2026-05-15T10\\:33\\:21.999Z]"
    assert world.node.ids_of(stream, at) == {f"time-{number}" for number in range(6)}


# ── what is refused ──


def test_what_the_mapping_refuses_is_a_dead_letter_and_arrives_when_the_mapping_takes_it(world):
    """Of a batch, the events that do not fit are dead letters with the reason and without a value of theirs, the others are
    delivered; redriven after the mapping was changed, they arrive.
    """
    index = make_index(
        world.node,
        dynamic="strict",
        properties={
            "@timestamp": {"type": "date"},
            "event": {"properties": {"id": {"type": "keyword"}, "dataset": {"type": "keyword"}}},
            "organization": {"properties": {"id": {"type": "keyword"}}},
            "message": {"type": "text"},
            "age": {"type": "long"},
        },
    )
    events = make_events(world.client.organization.org_id, 1, 30)
    new = world.event("new-1", secret="s3cret-value") | world.event("new-2", secret="s3cret-value")
    odd = world.event("odd", age="s3cret-value")

    read = forward(world.client, events | new | odd, world.bulk(index))
    dead = world.dead_letters(read["id"])

    assert set(dead) == {*new, *odd}
    assert set(world.node.documents(index)) == set(events)
    assert {said for name, said in dead.items() if name in new} == {
        "answered 400 for the event: the mapping allows no new fields"
    }
    assert dead["odd"] == "answered 400 for the event: a field does not fit the mapping"
    assert "s3cret" not in json.dumps([dead, world.show(read["id"])])
    assert read["stats"]["failed_attempts"] == len(dead)  # one each: another would be refused the same way

    world.node.put(f"/{index}/_mapping", {"properties": {"secret": {"type": "keyword"}}})
    path = f"/forwarding-destinations/{read['id']}/dead-letters/redrive"
    assert world.client.request("POST", path, json={"event_ids": list(new)}) == {"redriven": 2}
    world.wait_for(read["id"], delivered=len(events) + len(new))

    assert set(world.node.documents(index)) == {*events, *new}
    assert set(world.dead_letters(read["id"])) == set(odd)


def test_the_limits_of_the_template_are_dead_letters_that_say_so(world, stream):
    """A text longer than OpenSearch can index in an object without fields, a dotted name beside it, and one name too many are
    refused with the reason; when the limit of fields is raised, what it had refused arrives.
    """
    limit = {"index.mapping.total_fields.limit": 80}
    world.node.put(f"/_data_stream/{stream}")
    world.node.put(f"/{stream}/_settings", limit)
    long = world.event("long", vendor={"text": "s3cret " * 10_000})
    dotted = world.event("dotted", **{"vendor.name": "x"})
    names = {}
    for number in range(100):
        names |= world.event(f"name-{number}", **{f"name_{number}": "x"})
    others = world.event("long message", message="word " * 20_000) | world.event(
        "long tag", tag="x" * 100_000
    )

    read = forward(world.client, others | long | dotted | names, world.bulk(stream))
    dead = world.dead_letters(read["id"])

    assert "more than 32766 bytes" in dead.pop("long")
    assert "a field does not fit the mapping" in dead.pop("dotted")
    assert 0 < len(dead) < len(names)
    assert {"too many fields" in one for one in dead.values()} == {True}
    assert set(world.node.documents(stream)) == {*others, *names} - set(dead)

    world.node.put(f"/{stream}/_settings", {"index.mapping.total_fields.limit": 1000})
    path = f"/forwarding-destinations/{read['id']}/dead-letters/redrive"
    world.client.request("POST", path, json={"event_ids": list(dead)})
    world.wait_for(read["id"], delivered=len(others) + len(names))
    assert set(world.node.documents(stream)) == {*others, *names}


@pytest.mark.parametrize("name", ["_bulk", "_doc", "_create"])
def test_what_a_pipeline_drops_is_no_delivery(world, stream, name):
    """An event that an ingest pipeline drops (a 200 without a word of error) or refuses is a dead letter, and never delivered."""
    processors = [
        {"drop": {"if": "ctx.message == 'drop me'"}},
        {"fail": {"if": "ctx.message == 'refuse me'", "message": "refused {{{secret}}}"}},
    ]
    pipeline = f"pipeline-{next(_numbers)}"
    world.node.put(f"/_ingest/pipeline/{pipeline}", {"processors": processors})
    kept = make_events(world.client.organization.org_id, 1, 5)
    dropped = world.event("dropped", message="drop me")
    refused = world.event("refused", message="refuse me", secret="s3cret-value")

    url = f"{world.node.url}/{stream}/{name}?pipeline={pipeline}"
    read = forward(world.client, kept | dropped | refused, url)
    dead = world.dead_letters(read["id"])

    assert read["stats"]["delivered"] == len(kept)
    assert world.node.count(stream) == len(kept)
    assert dead["dropped"] == ("answered 200, but nothing was stored: an ingest pipeline drops the event")
    assert dead["refused"] == "answered 500 for the event: an ingest pipeline rejects it"
    assert "s3cret" not in json.dumps([dead, world.show(read["id"])])


# ── what is broken for a while ──


@pytest.mark.parametrize("name", ["_bulk", "_doc", "_create"])
@pytest.mark.parametrize(
    "trouble, status, said",
    [
        ("closed", 400, "the index is closed"),
        ("index.blocks.write", 403, "blocked for writing"),
        ("index.blocks.read_only_allow_delete", 429, ""),
    ],
)
def test_an_index_that_cannot_be_written_to_costs_nothing(world, name, trouble, status, said):
    """While an index is closed, blocked, or stopped because the disk is full, its events are tried again; then they arrive."""
    index = make_index(world.node)
    events = make_events(world.client.organization.org_id, 1, 20)
    set_trouble(world.node, index, trouble, wanted=True)

    dst_id = world.client.add_destination(f"{world.node.url}/{index}/{name}", retry=PATIENT)
    world.client.record(events.values())
    failing = world.wait_for(dst_id, failed_attempts=1)
    set_trouble(world.node, index, trouble, wanted=False)
    read = world.wait_for(dst_id, delivered=len(events))

    assert failing["last_error"]["status_code"] == status
    assert said in failing["last_error"]["message"]
    assert failing["stats"]["dead_letters"] == 0
    # A line of `_bulk` has no line breaks; a document is the event, byte for byte.
    stored = _lines(events) if name == "_bulk" else events.values()
    assert sorted(world.node.documents(index).values()) == sorted(stored)
    assert (read["stats"]["dead_letters"], read["stats"]["backlog"]) == (0, 0)


def set_trouble(node: Node, index: str, trouble: str, *, wanted: bool) -> None:
    """Make an index unable to take anything, or able again."""
    if trouble == "closed":
        assert node.call("POST", f"/{index}/{'_close' if wanted else '_open'}").is_success
    else:
        node.put(f"/{index}/_settings", {trouble: True if wanted else None})


def test_events_that_died_while_an_index_was_closed_come_back_by_themselves(world):
    """Nobody has to redrive them: with the first event that the opened index takes, the dead ones are sent again."""
    index = make_index(world.node)
    events = make_events(world.client.organization.org_id, 1, 20)
    set_trouble(world.node, index, "closed", wanted=True)
    dst_id = world.client.add_destination(world.bulk(index), retry=FIRST_ONLY)
    world.client.record(events.values())
    world.wait_for(dst_id, dead_letters=len(events))

    set_trouble(world.node, index, "closed", wanted=False)
    later = world.event("later")
    world.client.record(later.values())
    read = world.wait_for(dst_id, delivered=len(events) + 1)

    assert set(world.node.documents(index)) == {*events, *later}
    assert read["stats"]["dead_letters"] == 0
    assert read["status"] == "active"


def test_a_cluster_that_is_read_only_costs_nothing(world):
    """A request that the whole cluster refuses says that it is blocked, and not that the credential is wrong."""
    index = make_index(world.node)
    events = make_events(world.client.organization.org_id, 1, 20)
    block = "cluster.blocks.read_only"

    world.node.put("/_cluster/settings", {"transient": {block: True}})
    try:
        dst_id = world.client.add_destination(world.bulk(index), retry=PATIENT)
        world.client.record(events.values())
        failing = world.wait_for(dst_id, failed_attempts=1)
    finally:
        world.node.put("/_cluster/settings", {"transient": {block: None}})
    world.wait_for(dst_id, delivered=len(events))

    assert failing["last_error"]["status_code"] == 403
    assert "blocked for writing" in failing["last_error"]["message"]
    assert set(world.node.documents(index)) == set(events)


def test_a_wrong_name_is_found_out_where_the_url_asks_for_that(world):
    """With `require_alias=true` a name that leads nowhere keeps its events until it exists; without, OpenSearch makes an index
    of that name and everything arrives there, which is the one loss that no answer shows.
    """
    alias = f"alias-{next(_numbers)}"
    events = make_events(world.client.organization.org_id, 1, 20)

    dst_id = world.client.add_destination(world.bulk(alias, "?require_alias=true"), retry=PATIENT)
    misspelled = world.client.add_destination(world.bulk(f"{alias}-misspelled"))
    world.client.record(events.values())
    failing = world.wait_for(dst_id, failed_attempts=1)
    index = make_index(world.node)
    world.node.put(f"/{index}/_alias/{alias}", {"is_write_index": True})
    world.wait_for(dst_id, delivered=len(events))
    world.wait_for(misspelled, delivered=len(events))

    assert failing["last_error"]["message"] == (
        "answered 404 for the event: the index does not exist: check the URL"
    )
    assert set(world.node.documents(index)) == set(events)
    assert set(world.node.documents(f"{alias}-misspelled")) == set(events)


@pytest.mark.parametrize(
    "index, query, said",
    [
        ("logs-any", "?require_data_stream=true", "check the URL's index and parameters"),
        ("Capitals", "", "the name in the URL is not a valid index name: check the URL"),
    ],
    ids=["a parameter of Elasticsearch", "a name in capitals"],
)
def test_a_url_that_can_never_work_loses_nothing(world, stream, index, query, said):
    """A wrong URL stops the destination with what to change, and spends no event: corrected, everything arrives."""
    events = make_events(world.client.organization.org_id, 1, 20)

    dst_id = world.client.add_destination(world.bulk(index, query), retry=PATIENT)
    world.client.record(events.values())
    failing = world.wait_for(dst_id, failed_attempts=1)
    changed = {"url": world.bulk(stream)}
    world.client.request("PATCH", f"/forwarding-destinations/{dst_id}", json=changed)
    read = world.wait_for(dst_id, delivered=len(events))

    assert (failing["status"], failing["last_error"]["status_code"]) == ("failing", 400)
    assert said in failing["last_error"]["message"]
    assert set(world.node.documents(stream)) == set(events)
    assert read["stats"]["dead_letters"] == 0


def test_a_batch_that_is_too_large_is_split(world, tmp_path, monkeypatch, capsys):
    """Where the node takes small bodies only, batches are halved until they fit; an event that is too large alone is a dead
    letter.
    """
    events = audit_events(world.client.organization.org_id)
    large = world.event("large", message="x" * 120_000)

    with running_node(tmp_path / "small", http__max_content_length="64kb") as small:
        stream = make_stream(small, monkeypatch, capsys)
        url = f"{small.url}/{stream}/_bulk"
        read = forward(world.client, events | large, url, batch={"max_events": 500})
        stored = small.documents(stream)

    assert stored == events
    dead = world.dead_letters(read["id"])
    assert list(dead) == ["large"]
    assert dead["large"].startswith("answered 413: the request is too large for the destination")


def test_a_node_that_is_killed_costs_nothing(world, tmp_path, monkeypatch, capsys):
    """Killed in the middle of a stream and started again, the node has every event, and each once."""
    events = audit_events(world.client.organization.org_id)
    bodies = list(events.values())

    with running_node(tmp_path / "killed") as first:
        stream = make_stream(first, monkeypatch, capsys)
        url = f"{first.url}/{stream}/_bulk"
        dst_id = world.client.add_destination(url, batch={"max_events": 20}, retry=PATIENT)
        for start in range(0, len(bodies), 200):
            world.client.record(bodies[start : start + 200])
        world.wait_for(dst_id, delivered=40)
        first.kill()
        failing = world.wait_for(dst_id, failed_attempts=1)
    with running_node(tmp_path / "killed", port=first.port) as second:
        read = world.wait_for(dst_id, delivered=len(events))
        stored = second.documents(stream)

    assert failing["stats"]["delivered"] < len(events)
    assert stored == events
    assert read["stats"]["dead_letters"] == 0


def _fields_of(mapping: dict[str, Any]) -> int:
    """Count the fields of a mapping, at every depth."""
    inner = mapping.get("properties", {})
    return len(inner) + sum(_fields_of(one) for one in inner.values())


def _lines(events: dict[str, bytes]) -> list[bytes]:
    """Return events as they arrive where each must be one line."""
    return [body.replace(b"\n", b" ") for body in events.values()]
