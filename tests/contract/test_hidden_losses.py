"""The 25 known cases in which a 2xx does not mean stored, one by one, against stubs that lose events as the contracts say.

A loss is impossible: what is sent is stored, and sent otherwise it would be lost. Or it is detected: nothing counts as delivered
that is not stored. Or it is a limit: it happens, and a page says so. docs/reference/hidden-losses.md says which.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import zstandard

from aegis_stream.domain.event import DEFAULT_LIMITS
from support.docs import read
from support.pages import format_text
from support.service import RunningService
from support.stubs import NewRelic, Reply, Sentinel, VictoriaLogs
from support.stubs.collectors import ARRIVAL
from support.stubs.trial import Trial, as_lines, trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HIDDEN_LOSSES = "docs/reference/hidden-losses.md"
ALL = {"delivered": 3, "dead": 0}
NONE = {"delivered": 0, "dead": 3}
IDS = ["e0", "e1", "e2"]
HOUR_S = 3600
TRIPLE = [{"event": {"id": one}, "message": one} for one in IDS]


def page_says(page: str, *words: str) -> None:
    """Check that the page of a format, or a page given by its path, names a limit."""
    text = " ".join((read(page) if page.endswith(".md") else format_text(page)).split())
    for one in words:
        assert one in text, f"{page} does not say: {one}"


def is_lost_behind_success(one: Trial) -> None:
    """Check that three events count as delivered, and that none of them is stored: the loss that a page must name."""
    one.record(3)

    assert one.wait() == ALL
    assert one.stub.ids() == []


def is_stored(one: Trial) -> None:
    """Check that three events are stored, and delivered without a warning."""
    one.record(3)

    assert one.wait() == ALL
    assert sorted(one.stub.ids()) == IDS
    assert one.warnings() == []


def is_refused(one: Trial, words: str) -> None:
    """Check that three events are not delivered, that none is stored, and that the destination says why."""
    one.record(3)

    assert one.wait() == NONE
    assert one.stub.ids() == []
    assert words in one.last_error()
    assert {state.state for state in one.states().values()} == {"dead_letter"}


def only_e1_is_dead(one: Trial, code: int, words: str) -> None:
    """Check that of three events the second is a dead letter with its reason, and that the others are delivered and stored."""
    one.record(3)

    assert one.wait() == {"delivered": 2, "dead": 1}
    states = one.states()
    assert [state.state for state in states.values()] == ["delivered", "dead_letter", "delivered"]
    assert states["e1"].last_status_code == code
    assert words in str(states["e1"].last_error)
    assert set(one.stub.ids()) == {"e0", "e2"}


# ── the rows ──


def sentinel_array(service: RunningService) -> None:
    """1: an array in declared columns; an event sent as it is would be answered 204 and not stored."""
    with_version = Sentinel.target + "?api-version=2023-01-01"
    with trial(service, "sentinel", target=with_version, fields={"format": "json"}) as one:
        is_lost_behind_success(one)
    with trial(service, "sentinel") as one:
        is_stored(one)
    with trial(service, "sentinel", columns={"TimeGenerated": "datetime", "event": "dynamic"}) as one:
        one.record(3, user={"id": "ada"})
        assert one.wait() == ALL
        assert [set(row) for row in one.stub.stored] == [{"TimeGenerated", "event"}] * 3
        page_says("sentinel", "A column that the rule does not declare is dropped behind the 204")


def otlp_records(service: RunningService) -> None:
    """2: records; a bare event is a request without records, which is a success. Where the answer shows it, that is warned about."""
    for is_terse in (False, True):
        with trial(service, "otlp", fields={"format": "json"}, is_terse=is_terse) as one:
            is_lost_behind_success(one)
            assert [warning for warning in one.warnings() if "choose format otlp_logs" not in warning] == []
            assert bool(one.warnings()) != is_terse
        with trial(service, "otlp", is_terse=is_terse) as one:
            is_stored(one)


def fluentd_one_document(service: RunningService) -> None:
    """3: one document under its own type; lines, zstd and a cut document are answered 200 and are gone."""
    with trial(service, "fluentd") as one:
        lines, array = as_lines(TRIPLE), json.dumps(TRIPLE).encode()
        assert one.post(lines) == 200
        assert one.post(zstandard.compress(array), Content_Encoding="zstd") == 200
        assert one.post(array[:-2]) == 200
        assert one.stub.stored == []
        is_stored(one)
    with trial(service, "fluentd") as one:
        is_stored(one)


def fluentd_tag(service: RunningService) -> None:
    """4: without a tag, or with one that nothing matches, everything is gone behind a 200."""
    for target in ("/", "/other.tag"):
        with trial(service, "fluentd", target=target) as one:
            is_lost_behind_success(one)
    page_says("json", "For Fluentd the URL must have a path (the tag) that a `<match>` takes")


def logstash_first_document(service: RunningService) -> None:
    """5: an array; of lines under application/json only the first is read."""
    with trial(service, "logstash") as one:
        assert one.post(as_lines(TRIPLE)) == 200
        assert one.stub.ids() == ["e0"]
        one.stub.stored.clear()
        is_stored(one)
    with trial(service, "logstash", fields={"format": "ndjson"}) as one:
        one.record(3)
        one.wait()
        assert one.stub.requests[-1].media_type == "application/x-ndjson"


def logstash_type(service: RunningService) -> None:
    """6: exactly application/json; under another type, or unparsable, it becomes a text."""
    with trial(service, "logstash", fields={"format": "ndjson"}) as one:
        one.record(3)
        assert one.wait() == ALL
        (text,) = one.stub.stored
        assert "event" not in text
        page_says("ndjson", "not for | Logstash: ")
        assert one.post(b'{"a":') == 200
        assert one.stub.stored[-1]["tags"] == ["_jsonparsefailure"]
    with trial(service, "logstash") as one:
        is_stored(one)
        assert {request.headers["content-type"] for request in one.stub.requests} == {"application/json"}


def fluent_bit_one_array(service: RunningService) -> None:
    """7: exactly one array; a second one, and a document that is cut, are dropped behind a 201."""
    with trial(service, "fluent-bit") as one:
        first, second = ([two] for two in TRIPLE[:2])
        assert one.post(json.dumps(first).encode() + json.dumps(second).encode()) == 201
        assert one.post(as_lines(TRIPLE)[:-4]) == 201
        assert one.stub.ids() == ["e0", "e0", "e1"]
        one.stub.stored.clear()
        is_stored(one)


def cribl_path(service: RunningService) -> None:
    """8: another path answers a false success; a bulk answer without items is detected."""
    with trial(service, "cribl", target="/elastic/_doc_", fields={"format": "json"}) as one:
        is_lost_behind_success(one)
        page_says("cribl", "Other paths of Cribl's Elasticsearch source answer success and store nothing")
    with trial(service, "cribl", target="/elastic/other", fields={"format": "elastic_bulk"}) as one:
        is_refused(one, "not from Elasticsearch: whether it stored the events is unknown")
    with trial(service, "cribl", target="/elastic/_bulk") as one:
        is_stored(one)
    with trial(service, "cribl") as one:
        is_stored(one)


def elastic_items(service: RunningService) -> None:
    """9: an item that failed inside a 200 is a dead letter, and the others are delivered."""
    with trial(service, "elasticsearch", refused_ids={"e1"}) as one:
        only_e1_is_dead(one, 400, "a field does not fit the mapping")
        assert len(one.stub.requests) == 1


def elastic_failure_store(service: RunningService) -> None:
    """10: an event in the failure store is delivered, with a warning."""
    with trial(service, "elasticsearch", refused_ids={"e1"}, has_failure_store=True) as one:
        one.record(3)
        assert one.wait() == ALL
        assert one.stub.ids() == ["e0", "e2"]
        assert [event["event"]["id"] for event in one.stub.failure_store] == ["e1"]
        (warning,) = one.warnings()
        assert "stored in the failure store, not in the data stream" in warning


def elastic_dropped(service: RunningService) -> None:
    """11: what a pipeline drops is a dead letter; a wrong index is made, unless the URL forbids it."""
    for name in ("elasticsearch", "elasticsearch doc", "elasticsearch create"):
        with trial(service, name, dropped_ids={"e1"}) as one:
            only_e1_is_dead(one, 200, "nothing was stored: an ingest pipeline drops the event")
    with trial(service, "elasticsearch", target="/logs-wrong/_bulk") as one:
        one.record(3)
        assert one.wait() == ALL
        assert {index for index, *_ in one.stub.stored} == {"logs-wrong"}
        page_says("elastic_bulk", "add `require_data_stream=true` to the URL")
    with trial(service, "elasticsearch", target="/logs-wrong/_bulk?require_data_stream=true") as one:
        is_refused(one, "answered 404 for the event: the index does not exist: check the URL")


def splunk_after_the_answer(service: RunningService) -> None:
    """12: Splunk answers before it stores."""
    with trial(service, "splunk") as one:
        one.stub.fail("drop_after_success")
        is_lost_behind_success(one)
        page_says("splunk_hec", "What Splunk loses between its answer and the index")


def splunk_nearly_full(service: RunningService) -> None:
    """13: codes 24 and 25 accept the events, and smaller windows are used."""
    sizes = []
    for fault in (None, "nearly_full"):
        with trial(service, "splunk") as one:
            if fault is not None:
                one.stub.fail(fault)
            is_stored(one)
            sizes.append(one.window_size())
    assert sizes[1] < sizes[0]


def new_relic_flat(service: RunningService) -> None:
    """14: flat and with its time; arrays would be dropped. Old logs are warned about, its later check is a limit."""
    with trial(service, "new-relic") as one:
        assert isinstance(one.stub, NewRelic)
        assert one.post(json.dumps(TRIPLE).encode()) == 202
        assert (one.stub.stored, len(one.stub.integration_errors)) == ([], 3)
        assert one.post(json.dumps(TRIPLE[0] | {"list": ["lost"]}).encode()) == 202
        assert one.stub.stored == [{"event.id": "e0", "message": "e0"}]
        one.stub.stored.clear()
        is_stored(one)
        assert [log["event.category"] for log in one.stub.stored] == ["iam,web"] * 3
    with trial(service, "new-relic") as one:
        one.record(3, age_s=48 * HOUR_S + 60)
        assert (one.wait(), one.stub.stored) == (ALL, [])
        assert "the backlog has events older than 48 hours" in one.warnings()[0]
    with trial(service, "new-relic", refused_ids=set(IDS)) as one:
        is_lost_behind_success(one)
        page_says(
            "new_relic", "watch `SELECT message FROM NrIntegrationError WHERE newRelicFeature = 'Logs'`"
        )


def datadog_size_and_age(service: RunningService) -> None:
    """15: no event is so long that it is cut; old ones are warned about; filters and quotas are a limit."""
    with trial(service, "datadog") as one:
        assert one.post(json.dumps([TRIPLE[0] | {"long": "x" * 1_000_000}]).encode()) == 202
        assert "event" not in one.stub.stored.pop()
        one.record(3, note="\\" * ((DEFAULT_LIMITS.bytes_max - 1000) // 2))
        assert (one.wait(), one.warnings()) == (ALL, [])
        assert [log["note"] for log in one.stub.stored] == [event["note"] for event in one.events.values()]
    with trial(service, "datadog") as one:
        one.record(3, age_s=18 * HOUR_S + 60)
        assert (one.wait(), one.stub.stored) == (ALL, [])
        assert "the backlog has events older than 18 hours" in one.warnings()[0]
    with trial(service, "datadog") as one:
        one.stub.fail("excluded")
        is_lost_behind_success(one)
        page_says("datadog", "Exclusion filters and quotas drop behind a 202 as well")


def sumo_budget(service: RunningService) -> None:
    """16: beyond the ingest budget everything is dropped behind a 200."""
    for name in ("sumo", "sumo single"):
        with trial(service, name) as one:
            one.stub.fail("over_budget")
            is_lost_behind_success(one)
    page_says(HIDDEN_LOSSES, "everything beyond the ingest budget: 200", "watch the volume in Sumo Logic")


def loki_blocked(service: RunningService) -> None:
    """17: 260 delivers nothing; when the tenant is no longer blocked, what waited is redriven."""
    with trial(service, "loki") as one:
        one.stub.fail("blocked")
        is_refused(one, "answered 260: Loki blocks ingestion for this tenant or stream")
        one.stub.mend()
        one.record(1, first=3)
        assert one.wait() == {"delivered": 4, "dead": 0}
        assert sorted(one.stub.ids()) == [*IDS, "e3"]
    with trial(service, "sumo") as one:
        one.stub.script(Reply(260))
        one.record(1)
        assert (one.wait()["delivered"], one.stub.stored) == (1, [])
        assert "answered 260, which means that Loki blocks ingestion" in one.warnings()[0]


def axiom_counts(service: RunningService) -> None:
    """18: an event that is counted as failed is a dead letter; no text is so long that it is replaced."""
    with trial(service, "axiom", refused_ids={"e1"}) as one:
        only_e1_is_dead(one, 200, "rejected 1 of 1 events")
    with trial(service, "axiom") as one:
        long = {**TRIPLE[0], "message": "x" * (1_000_000 + 1)}
        assert one.post(as_lines([long]), "application/x-ndjson") == 200
        assert one.stub.stored.pop()["message"] == "<invalid string: too long>"
        assert DEFAULT_LIMITS.bytes_max < 1_000_000
        is_stored(one)


def honeycomb_results(service: RunningService) -> None:
    """19: a result of 400 inside of a 200 is a dead letter, 429 is tried again, and the others are delivered once."""
    with trial(service, "honeycomb", refused_ids={"e1"}) as one:
        only_e1_is_dead(one, 400, "answered 400 for the event")
        assert sorted(one.stub.ids()) == ["e0", "e2"]
    with trial(service, "honeycomb") as one:
        one.stub.fail("throttled_half", times=1)
        is_stored(one)
        assert [state.attempts for state in one.states().values()] == [1, 2, 2]
    with trial(service, "honeycomb") as one:
        assert one.post(json.dumps(TRIPLE).encode()) == 200
        assert one.stub.stored == []


def vector_codec(service: RunningService) -> None:
    """20: with its default codec every line is a text; without acknowledgements a 200 means "in memory"."""
    with trial(service, "vector", codec="bytes") as one:
        one.record(3)
        assert one.wait() == ALL
        assert {tuple(sorted(event)) for event in one.stub.stored} == {
            ("message", "path", "source_type", "timestamp")
        }
    with trial(service, "vector") as one:
        one.stub.fail("drop_after_success")
        is_lost_behind_success(one)
    page_says("json", "For Vector, set `decoding.codec: json` and acknowledgements")
    with trial(service, "vector") as one:
        one.stub.fail("errored", times=1)
        is_stored(one)


def better_stack_time(service: RunningService) -> None:
    """21: every event has its `dt`; without one, or with an odd one of its own, the time is that of the arrival."""
    with trial(service, "better-stack") as one:
        assert one.post(json.dumps(TRIPLE).encode()) == 202
        assert {at for at, _ in one.stub.stored} == {ARRIVAL}
        one.stub.stored.clear()
        is_stored(one)
        assert ARRIVAL not in {at for at, _ in one.stub.stored}
    with trial(service, "better-stack") as one:
        one.record(3, dt="yesterday")
        assert one.wait() == ALL
        assert {at for at, _ in one.stub.stored} == {ARRIVAL}
        page_says(
            "better_stack",
            "An event with a `dt` of its own that is not a time is stored under the time of its receipt",
        )


def victorialogs_lines(service: RunningService) -> None:
    """22: every line is valid; invalid ones would be skipped behind a 200; an empty 200 is detected."""
    with trial(service, "victorialogs", target="/insert/jsonline", fields={"format": "elastic_bulk"}) as one:
        assert one.post(as_lines(TRIPLE[:1]) + b"{\n" + as_lines(TRIPLE[1:])) == 200
        assert one.stub.ids() == IDS
        one.stub.stored.clear()
        assert isinstance(one.stub, VictoriaLogs)
        one.record(3)
        assert one.wait() == NONE
        assert "without an answer from Elasticsearch" in one.last_error()
    with trial(service, "victorialogs") as one:
        is_stored(one)


def datadog_receiver_before_november(service: RunningService) -> None:
    """23: an old collector answers 200 to any path; only formats whose answer has a body notice."""
    with trial(service, "old-datadog-receiver") as one:
        is_lost_behind_success(one)
        page_says(HIDDEN_LOSSES, "use a later version; other formats detect the missing answer")
    for format_ in ("elastic_bulk", "splunk_hec", "axiom", "honeycomb", "loki", "new_relic", "sentinel"):
        with trial(service, "old-datadog-receiver", fields={"format": format_}) as one:
            is_refused(one, "answered 200")
    with trial(service, "old-datadog-receiver", fields={"format": "otlp_logs"}) as one:
        is_lost_behind_success(one)
        page_says("otlp_logs", "Old versions of the collector's Datadog receiver answer so at any path")


def loki_one_stream(service: RunningService) -> None:
    """24: one stream; of several, only the error of the last is told, and what the others' lines came to is lost behind a 204."""
    with trial(service, "loki") as one:
        now_ns = int(datetime.now(UTC).timestamp()) * 10**9
        assert one.post(push_of("a", now_ns, "e0")) == 204
        late = [*stream_of("a", now_ns - 2 * HOUR_S * 10**9, "e1"), *stream_of("b", now_ns, "e2")]
        assert one.post(json.dumps({"streams": late}).encode()) == 204
        assert one.stub.ids() == ["e0", "e2"]
    with trial(service, "loki", refused_ids={"e1"}) as one:
        one.client.request("POST", f"/forwarding-destinations/{one.dst_id}/pause")
        for number, dataset in enumerate(("app.login", "app.first", "app.last")):
            one.record(1, first=number, event={"id": f"e{number}", "dataset": dataset})
        one.client.request("POST", f"/forwarding-destinations/{one.dst_id}/resume")
        assert one.wait() == {"delivered": 2, "dead": 1}
        assert max(len(stream["values"]) for stream in streams_sent_to(one)) == 3
        assert one.states()["e1"].state == "dead_letter"
        assert "Loki rejected the line" in str(one.states()["e1"].last_error)
        assert sorted(one.stub.ids()) == ["e0", "e2"]


def streams_sent_to(one: Trial) -> list[dict[str, Any]]:
    """Return all streams that a Loki was sent; every request has one."""
    pushed = [json.loads(request.body)["streams"] for request in one.stub.requests]
    assert {len(streams) for streams in pushed} == {1}
    return [streams[0] for streams in pushed]


def push_of(service_name: str, at_ns: int, event_id: str) -> bytes:
    """Return a request with one line in one stream."""
    return json.dumps({"streams": stream_of(service_name, at_ns, event_id)}).encode()


def stream_of(service_name: str, at_ns: int, event_id: str) -> list[dict[str, object]]:
    """Return a stream with one line."""
    line = json.dumps({"event": {"id": event_id}})
    return [{"stream": {"service_name": service_name}, "values": [[str(at_ns), line]]}]


def collector_after_the_answer(service: RunningService) -> None:
    """25: what a collector loses from its queue, or the destination behind it rejects, no answer shows."""
    with trial(service, "otlp") as one:
        one.stub.fail("drop_after_success")
        is_lost_behind_success(one)
        assert one.warnings() == []
        page_says(
            "otlp_logs", "What a collector loses after its answer, and what the destination behind it rejects"
        )


def splunk_truncate(service: RunningService) -> None:
    """26: the end of an event above TRUNCATE of its source type is lost behind code 0; the page names the setting."""
    with trial(service, "splunk", truncate=10_000) as one:
        one.record(3, message="x" * 12_000)

        assert one.wait() == ALL
        assert [envelope["truncated"] for envelope in one.stub.stored] == [True] * 3
        assert one.warnings() == []
        page_says(
            "docs/how-to/destinations/splunk.md", "`TRUNCATE`, by default 10,000 bytes", "Raise `TRUNCATE`"
        )


IMPOSSIBLE, DETECTED, LIMIT = "impossible", "detected", "limit"
ROWS: list[tuple[Callable[[RunningService], None], str]] = [
    (sentinel_array, IMPOSSIBLE),
    (otlp_records, IMPOSSIBLE),
    (fluentd_one_document, IMPOSSIBLE),
    (fluentd_tag, LIMIT),
    (logstash_first_document, IMPOSSIBLE),
    (logstash_type, IMPOSSIBLE),
    (fluent_bit_one_array, IMPOSSIBLE),
    (cribl_path, LIMIT),
    (elastic_items, DETECTED),
    (elastic_failure_store, DETECTED),
    (elastic_dropped, DETECTED),
    (splunk_after_the_answer, LIMIT),
    (splunk_nearly_full, DETECTED),
    (new_relic_flat, IMPOSSIBLE),
    (datadog_size_and_age, IMPOSSIBLE),
    (sumo_budget, LIMIT),
    (loki_blocked, DETECTED),
    (axiom_counts, DETECTED),
    (honeycomb_results, DETECTED),
    (vector_codec, LIMIT),
    (better_stack_time, IMPOSSIBLE),
    (victorialogs_lines, IMPOSSIBLE),
    (datadog_receiver_before_november, LIMIT),
    (loki_one_stream, IMPOSSIBLE),
    (collector_after_the_answer, LIMIT),
    (splunk_truncate, LIMIT),
]
"""What proves each row of the page, in its order, and what becomes of the loss."""


@pytest.mark.parametrize("proof", [proof for proof, _ in ROWS], ids=lambda proof: proof.__name__)
def test_a_hidden_loss_is_what_the_page_says(
    proof: Callable[[RunningService], None], service: RunningService
) -> None:
    """Each known loss is impossible by what is sent, detected in the answer, or named as a limit."""
    proof(service)


def test_the_page_and_the_proofs_agree() -> None:
    """Every row of the page has the outcome that is proved here, and names its proof."""
    rows = re.findall(
        r"^\| (\d+) \|.+\| (\w+) \| [^|]+ \| `(\w+)` \|$",
        read(HIDDEN_LOSSES),
        re.MULTILINE,
    )

    assert rows == [(str(at), here, proof.__name__) for at, (proof, here) in enumerate(ROWS, 1)]
