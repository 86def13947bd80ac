"""Destinations that cannot run here, as their contracts describe them, with their bad behaviours: frame.py says how."""

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
