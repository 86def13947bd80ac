"""Stubs of destinations that cannot run here, with their faults, as their contracts describe them; see frame.py."""

from .collectors import Cribl, FluentBit, Fluentd, Logstash, Panther, SecOps, Sumo, Vector
from .frame import Received, Reply, Stub, as_json, serving
from .platforms import Axiom, BetterStack, Datadog, Honeycomb, NewRelic, Sentinel
from .stores import Elasticsearch, Loki, OldDatadogReceiver, Otlp, Splunk, VictoriaLogs

__all__ = [
    "Axiom",
    "BetterStack",
    "Cribl",
    "Datadog",
    "Elasticsearch",
    "FluentBit",
    "Fluentd",
    "Honeycomb",
    "Logstash",
    "Loki",
    "NewRelic",
    "OldDatadogReceiver",
    "Otlp",
    "Panther",
    "Received",
    "Reply",
    "SecOps",
    "Sentinel",
    "Splunk",
    "Stub",
    "Sumo",
    "Vector",
    "VictoriaLogs",
    "as_json",
    "serving",
]
