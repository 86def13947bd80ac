"""Promises of `auto`: the URL decides, there is a reason, and the default is json."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_stream.formats import AUTO, REGISTRY, choose, resolve
from support.formats import UNHURRIED

CHOSEN = [
    ("elastic_bulk", "https://es.example.com:9200/logs-aegis.preflight-default/_bulk"),
    ("elastic_bulk", "https://es.example.com/_bulk"),
    ("elastic_bulk", "https://es.example.com/_bulk/"),
    ("elastic_bulk", "https://es.example.com/_bulk?pipeline=x"),
    ("elastic_bulk", "https://vl.example.com:9428/insert/elasticsearch/_bulk"),
    ("elastic_bulk", "https://cribl.example.com:9200/elastic/_bulk"),
    ("cribl", "https://cribl.example.com:10080/cribl/_bulk"),
    ("elastic_doc", "https://es.example.com/audit/_doc"),
    ("elastic_create", "https://es.example.com/audit/_create"),
    ("splunk_hec", "https://splunk.example.com:8088/services/collector"),
    ("splunk_hec", "https://splunk.example.com:8088/services/collector/event"),
    ("splunk_hec", "https://splunk.example.com:8088/services/collector/event/1.0?channel=x"),
    ("splunk_hec", "https://http-inputs-mine.splunkcloud.com/services/collector"),
    ("loki", "https://loki.example.com/loki/api/v1/push"),
    ("otlp_logs", "https://otel.example.com:4318/v1/logs"),
    ("otlp_logs", "https://loki.example.com/otlp/v1/logs"),
    ("honeycomb", "https://api.honeycomb.io/1/batch/audit"),
    ("honeycomb", "https://api.eu1.honeycomb.io/1/batch/audit"),
    (
        "sentinel",
        "https://dce-1.westeurope-1.ingest.monitor.azure.com/dataCollectionRules/dcr-00/streams/Custom-Aegis_CL",
    ),
    (
        "sentinel",
        "https://x.ingest.monitor.azure.com/dataCollectionRules/dcr-00/streams/Custom-A?api-version=2023-01-01",
    ),
    ("axiom", "https://api.axiom.co/v1/datasets/audit/ingest"),
    ("axiom", "https://eu-central-1.aws.edge.axiom.co/v1/ingest/audit"),
    *(
        ("datadog", f"https://http-intake.logs.{site}/api/v2/logs")
        for site in (
            "datadoghq.com",
            "datadoghq.eu",
            "us3.datadoghq.com",
            "ap1.datadoghq.com",
            "ddog-gov.com",
        )
    ),
    ("datadog", "https://HTTP-INTAKE.logs.datadoghq.com/api/v2/logs?ddtags=env:prod"),
    ("new_relic", "https://log-api.newrelic.com/log/v1"),
    ("new_relic", "https://log-api.eu.newrelic.com/log/v1?Api-Key=x"),
    ("new_relic", "https://gov-log-api.newrelic.com/log/v1"),
    ("new_relic", "https://log-api.jp.nr-data.net/log/v1"),
    ("better_stack", "https://s1234.eu-nbg-2.betterstackdata.com/"),
    ("better_stack", "https://in.logs.betterstack.com"),
    # Where OTLP receivers take something else.
    ("json", "https://otel.example.com:4318/v1/traces"),
    ("json", "https://otel.example.com:4318/v1/metrics/"),
    # Where the event as it is stored is right, or nothing is known.
    ("json", "https://collectors.example.com/receiver/v1/http/secret"),
    ("json", "https://h.example/in"),
    ("json", "https://h.example/"),
    ("json", "https://h.example"),
    ("json", "https://h.example?x=/_bulk"),
    ("json", "https://h.example/in?x=/_bulk"),
    ("json", "https://h.example/_bulk/more"),
    ("json", "https://h.example/my_bulk"),
    ("json", "https://h.example/services/collector/raw"),
    ("json", "https://h.example/dataCollectionRules/dcr-00/streams"),
    ("json", "https://h.example/api/v2/logs"),
    ("json", "https://h.example/v1/ingest/audit"),
    ("json", "https://log-api.newrelic.com.evil.example/log/v1"),
    ("json", "https://evilaxiom.co/v1/ingest/audit"),
    ("json", "https://[2001:db8::1]:8088/in"),
    ("splunk_hec", "https://[2001:db8::1]:8088/services/collector"),
]


@pytest.mark.parametrize("name, url", CHOSEN)
def test_the_url_decides(name, url):
    """Each of these URLs gets the format of its destination's contract."""
    assert resolve(AUTO, url).name == name
    assert choose(url).format.name == name


@pytest.mark.parametrize("url", sorted({url for _, url in CHOSEN}))
@pytest.mark.parametrize("name", ["json", "ndjson", "splunk_hec"])
def test_the_choice_can_be_overridden(name, url):
    """A format that is chosen by name is used for any URL."""
    assert resolve(name, url).name == name


@pytest.mark.parametrize("name, url", CHOSEN)
def test_says_why(name, url):
    """The reason is a clause for a person, and repeats only those parts of the URL that the contract defines."""
    reason = choose(url).reason

    assert 20 < len(reason) < 120
    assert not any(part in reason for part in ("example", "secret", "Api-Key", "audit"))


@pytest.mark.parametrize("what", ["traces", "metrics"])
def test_a_path_for_something_else_is_told(what):
    """Where an OTLP receiver takes traces or metrics, the reason says where logs belong."""
    assert "send logs to /v1/logs" in choose(f"https://h.example:4318/v1/{what}").reason
    assert "send logs to /v1/logs" not in choose(f"https://h.example:4318/v1/{what}/more").reason


def test_every_format_but_the_plain_ones_can_be_chosen():
    """`auto` can choose every format except ndjson and json_array, which must be set."""
    assert {name for name, _ in CHOSEN} == set(REGISTRY) - {"ndjson", "json_array"}


@settings(UNHURRIED)
@given(st.text(max_size=80) | st.text(alphabet=":/?@[]._abulk", max_size=80).map("https://h/".__add__))
def test_any_text_has_a_format(text):
    """Every text gets a format and a reason."""
    choice = choose(text)

    assert choice.format.name in REGISTRY
    assert choice.reason
