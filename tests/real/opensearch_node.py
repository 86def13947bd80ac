"""One node of OpenSearch on loopback, for test_opensearch.py; tests/real/opensearch/build.sh installs it.

with running_node(tmp_path) as node:
    node.put("/_index_template/aegis", template)
    …
    assert node.documents("logs-aegis.app-default") == events
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from support.processes import free_port
from support.real import answers, program, running

START_S = 60.0
"""Seconds in which a node answers; it takes 6 where nothing else runs."""
DOCUMENTS_MAX = 10_000
"""Most documents that one search gives out."""


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    source: msgspec.Raw = msgspec.field(name="_source")


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Found(msgspec.Struct):
    hits: _Hits


@dataclass
class Node:
    """A node: where it answers, and where its data are."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Make a call, whatever it is answered."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return httpx.request(
            method, self.url + path, content=content, headers=headers, trust_env=False, timeout=30
        )

    def put(self, path: str, body: Any = None) -> Any:
        """Make a call that must succeed; returns what it answers."""
        answer = self.call("PUT", path, body)
        assert answer.is_success, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        """Ask for something that is there."""
        answer = self.call("GET", path)
        assert answer.is_success, answer.text
        return answer.json()

    def count(self, index: str) -> int:
        """Return how many documents are there."""
        self.call("POST", f"/{index}/_refresh")
        return int(self.get(f"/{index}/_count")["count"])

    def documents(self, index: str) -> dict[str, bytes]:
        """Return every document as the bytes it was sent as, by its id; it is the only one with it."""
        self.call("POST", f"/{index}/_refresh")
        answer = self.call("POST", f"/{index}/_search", {"size": DOCUMENTS_MAX})
        assert answer.is_success, answer.text
        hits = msgspec.json.decode(answer.content, type=_Found).hits.hits
        found = {hit.id: bytes(hit.source) for hit in hits}
        assert len(found) == len(hits), "an id is there twice"
        return found

    def ids_of(self, index: str, query: str) -> set[str]:
        """Return the ids that a query finds, written as a person writes it into the search bar."""
        self.call("POST", f"/{index}/_refresh")
        body = {"size": DOCUMENTS_MAX, "_source": False, "query": {"query_string": {"query": query}}}
        answer = self.call("POST", f"/{index}/_search", body)
        assert answer.is_success, answer.text
        return {hit["_id"] for hit in answer.json()["hits"]["hits"]}

    def kill(self) -> None:
        """End the node as the kernel does: at once, without a word."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running_node(folder: Path, port: int = 0, **settings: str) -> Iterator[Node]:
    """Run a node with its data in a folder, which may be that of a node before.

    Args:
        port: where it answers; 0 for a free one.
        settings: of the node, with "__" for each dot: http__max_content_length="64kb".
    """
    port = port or free_port()
    command: list[str | Path] = [program("opensearch"), str(port), folder]
    command += [f"{name.replace('__', '.')}={value}" for name, value in settings.items()]
    ready = f"http://127.0.0.1:{port}/_cluster/health?wait_for_status=yellow&timeout=5s"
    with running(
        command, folder.with_suffix(".log"), ready=lambda: answers(ready), seconds=START_S
    ) as process:
        yield Node(port, process)
