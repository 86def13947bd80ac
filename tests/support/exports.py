"""Writes exports of a reference log as SIEMs write them, and checks them with the verifier."""

import json
import random

from aegis_stream.verify.__main__ import main


class Checked:
    """What the verifier said.

    Args:
        status: exit status.
        report: its JSON.
    """

    def __init__(self, status, report):
        self.status, self.report = status, report
        self.log = report["logs"][0] if report.get("logs") else {}

    def ranges(self, name="missing"):
        """Return ranges of sequences, as pairs."""
        listed = self.log[name]["ranges"] if name == "missing" else self.log[name]
        return [(one["first"], one["last"]) for one in listed]

    def altered(self):
        """Return sequence and id of the altered events."""
        return [(one["sequence"], one["id"]) for one in self.log["altered"]["events"]]


def write(path, lines):
    """Write lines as NDJSON, and return the path as text."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


def check(capsys, log, *arguments, pinned=True, now_s=None):
    """Run the verifier with the log's key, a minute after its last event; `now_s` is another time."""
    arguments = [*arguments, "--json", *(["--key", log.vkey] if pinned else [])]
    status = main(arguments, now_s=now_s or int(log.now.timestamp()) + 60)
    return Checked(status, json.loads(capsys.readouterr().out))


# --- Shapes: bodies → lines of an export ---


def plain(bodies):
    """A line for each event, as it was recorded."""
    return bodies


def shuffled(bodies):
    """The events in another order, some of them twice."""
    chance = random.Random(len(bodies))
    mixed = [*bodies, *chance.sample(bodies, len(bodies) // 5)]
    chance.shuffle(mixed)
    return mixed


def hits(bodies):
    """A line for each hit of Elasticsearch."""
    return [b'{"_index":"audit","_id":"%d","_source":%s,"sort":[1]}' % pair for pair in enumerate(bodies)]


def search_answer(bodies):
    """The whole answer to a search, indented around the events."""
    joined = b",\n    ".join(hits(bodies))
    head = b'{\n  "took": 3,\n  "hits": {\n   "total": {"value": %d},\n   "hits": [\n    ' % len(bodies)
    return (head + joined + b"\n  ]}\n}").splitlines()


def pretty_answer(bodies):
    """The same with every event indented too, as ?pretty gives it."""
    answer = {"took": 3, "hits": {"hits": [{"_id": "x", "_source": json.loads(body)} for body in bodies]}}
    return json.dumps(answer, indent=2, ensure_ascii=False).encode().splitlines()


def bulk(bodies):
    """A bulk request that was kept: an action line before each event."""
    return [line for body in bodies for line in (b'{"create":{"_id":"x"}}', body)]


def splunk(bodies):
    """Splunk's export: the text of the event as a text."""
    rows = [
        {"preview": False, "offset": number, "result": {"_raw": body.decode(), "host": "h"}}
        for number, body in enumerate(bodies)
    ]
    return [json.dumps(row).encode() for row in rows] + [b'{"preview":false,"lastrow":true}']


def collector(bodies):
    """What the HTTP Event Collector is sent."""
    return [b'{"time":1.5,"source":"aegis","event":%s}' % body for body in bodies]


def loki(bodies):
    """The answer of Loki to a query."""
    values = [[str(number), body.decode()] for number, body in enumerate(bodies)]
    result = [{"stream": {"service_name": "aegis"}, "values": values}]
    return [json.dumps({"status": "success", "data": {"resultType": "streams", "result": result}}).encode()]


def logcli(bodies):
    """What Loki's command line prints with --output=jsonl."""
    return [json.dumps({"labels": {}, "line": body.decode(), "timestamp": "x"}).encode() for body in bodies]


def sumo(bodies):
    """Messages of Sumo Logic's search."""
    messages = [{"map": {"_raw": body.decode(), "_size": "1"}} for body in bodies]
    return [json.dumps({"messages": messages}).encode()]


def array(bodies):
    """One array of all events."""
    return [b"[" + b",".join(bodies) + b"]"]


def fluent_bit(bodies):
    """Fluent Bit with the line in log."""
    return [json.dumps({"date": 1.5, "log": body.decode() + "\n"}).encode() for body in bodies]


def vector(bodies):
    """Vector with the line in message, and its own fields."""
    rows = [
        {
            "host": "h",
            "message": body.decode(),
            "source_type": "http_server",
            "timestamp": "2026-05-01T00:00:00Z",
        }
        for body in bodies
    ]
    return [json.dumps(row).encode() for row in rows]


def spaced(bodies):
    """Written anew in the same order, with spaces and escapes."""
    return [json.dumps(json.loads(body)).encode() for body in bodies]


def sorted_names(bodies):
    """Written anew with the names in order, as Vector and jsonb do."""
    return [json.dumps(json.loads(body), sort_keys=True, ensure_ascii=False).encode() for body in bodies]


def logstash(bodies):
    """Written anew by Logstash, with its additions."""
    return [
        json.dumps({"@version": "1", "host": {"name": "h"}, "tags": ["t"], **json.loads(body)}).encode()
        for body in bodies
    ]


def logstash_original(bodies):
    """The same with the text that came in kept in event.original."""
    rows = []
    for body in bodies:
        event = json.loads(body)
        event["event"]["original"] = body.decode()
        rows.append(json.dumps({**event, "@version": "1"}, sort_keys=True).encode())
    return rows


def datadog(bodies):
    """Rows of Datadog's search: custom attributes below attributes, the message above."""
    rows = []
    for body in bodies:
        event = {"ddsource": "aegis", "service": "aegis-audit-stream", **json.loads(body)}
        message = event.pop("message")
        attributes = {"service": "aegis-audit-stream", "message": message, "attributes": event}
        rows.append({"id": "x", "type": "log", "attributes": attributes})
    return [json.dumps({"data": rows}).encode()]


EXACT_SHAPES = [
    *(plain, shuffled, hits, search_answer, bulk, splunk, collector, loki, logcli, sumo, array),
    *(fluent_bit, vector, spaced, pretty_answer),
]
"""Shapes from which the bytes of every event can be had again."""
CONTENT_SHAPES = [sorted_names, logstash, logstash_original, datadog]
"""Shapes that keep the content."""
