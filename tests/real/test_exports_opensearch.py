"""What a real OpenSearch gives back is verified: every event, byte for byte; and what somebody does to it there is named."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from real.exported import EXPORT, run_page, sealed_service
from real.opensearch_node import Node, running_node
from support.cli import run_aegis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STREAM = "logs-aegis.proof-default"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Run a node; each test has an index of its own."""
    with running_node(tmp_path_factory.mktemp("opensearch") / "node") as one:
        yield one


def hit_of(node: Node, stream: str, event_id: str) -> dict[str, Any]:
    """Return an event as OpenSearch has it, with the index behind the stream."""
    found = node.call("POST", f"/{stream}/_search", {"query": {"ids": {"values": [event_id]}}})
    (hit,) = found.json()["hits"]["hits"]
    return hit


def export(node: Node, tmp_path: Path, index: str) -> Path:
    """Export by the commands of the page."""
    assert node.call("POST", f"/{index}/_refresh").is_success
    (tmp_path / EXPORT).unlink(missing_ok=True)
    return run_page("Elasticsearch and OpenSearch", tmp_path, OPENSEARCH_URL=node.url, INDEX=index)


def test_every_hit_is_proven_exact_and_what_is_done_to_it_is_named(tmp_path, node, monkeypatch, capsys):
    """All events of a data stream are there as recorded; then one is altered and one deleted by the API, and both are named."""
    printed = run_aegis(
        monkeypatch,
        capsys,
        *("destination", "template", "elastic", "--flavor", "opensearch", "--pattern", "logs-aegis.proof-*"),
    )
    node.put("/_index_template/proof", json.loads(printed.stdout))
    with sealed_service(tmp_path) as log:
        log.forward(f"{node.url}/{STREAM}/_bulk")
        log.finish()
        altered, deleted = sorted(log.bodies)[10], sorted(log.bodies)[200]
        sequences = [log.sequence_of(one) for one in (altered, deleted)]

        whole = log.verify(export(node, tmp_path, STREAM), "--accept", "exact")
        one = hit_of(node, STREAM, altered)
        place = f"/{one['_index']}/_doc/{altered}?if_seq_no={{}}&if_primary_term={{}}"
        kept = node.get(f"/{one['_index']}/_doc/{altered}")
        changed = one["_source"] | {"message": "nothing happened"}
        node.put(place.format(kept["_seq_no"], kept["_primary_term"]), changed)
        gone = hit_of(node, STREAM, deleted)
        assert node.call("DELETE", f"/{gone['_index']}/_doc/{deleted}").is_success
        damaged = log.verify(export(node, tmp_path, STREAM))

    log.assert_complete(whole, "exact")
    assert damaged.status == 1
    assert damaged.altered() == [(sequences[0], altered)]
    assert damaged.ranges() == [(sequences[1], sequences[1])]


def test_what_a_pipeline_writes_anew_is_proven_by_its_content(tmp_path, node):
    """A pipeline parses each document, adds to it and writes it anew: what it added is told apart from what was recorded."""
    steps = [{"set": {"field": "tags", "value": ["siem"]}}, {"set": {"field": "agent.name", "value": "node"}}]
    node.put("/_ingest/pipeline/adding", {"processors": steps})
    settings = {"index.number_of_replicas": 0, "index.default_pipeline": "adding"}
    node.put("/rewritten", {"settings": settings, "mappings": {"dynamic": False}})
    with sealed_service(tmp_path) as log:
        log.forward(f"{node.url}/rewritten/_bulk")
        log.finish()
        found = log.verify(export(node, tmp_path, "rewritten"))

    log.assert_complete(found, "content")
