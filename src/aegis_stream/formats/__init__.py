"""Formats: how events become requests, and what an answer says about each event.

A format is a pair of pure functions and the limits of its destinations. Each family has a file, each format a line in
REGISTRY; for "auto", `choose` finds the format that fits the URL.
"""

from .axiom import AXIOM
from .better_stack import BETTER_STACK
from .choice import Choice, choose
from .cribl import CRIBL
from .datadog import DATADOG
from .elastic import ELASTIC_BULK, ELASTIC_CREATE, ELASTIC_DOC
from .format import (
    Acks,
    Format,
    compression_problem,
    narrowed,
    overdue,
    oversize,
    when_compressed,
    with_query,
)
from .honeycomb import HONEYCOMB
from .loki import LOKI
from .new_relic import NEW_RELIC
from .otlp import OTLP_LOGS
from .plain import JSON, JSON_ARRAY, NDJSON
from .sentinel import SENTINEL
from .splunk import SPLUNK_HEC

__all__ = [
    "AUTO",
    "REGISTRY",
    "Acks",
    "Choice",
    "Format",
    "choose",
    "compression_problem",
    "narrowed",
    "overdue",
    "oversize",
    "resolve",
    "when_compressed",
    "with_query",
]

REGISTRY: dict[str, Format] = {
    one.name: one
    for one in (
        JSON,
        NDJSON,
        JSON_ARRAY,
        ELASTIC_BULK,
        ELASTIC_DOC,
        ELASTIC_CREATE,
        SPLUNK_HEC,
        DATADOG,
        NEW_RELIC,
        LOKI,
        OTLP_LOGS,
        CRIBL,
        AXIOM,
        BETTER_STACK,
        HONEYCOMB,
        SENTINEL,
    )
}
"""All formats by name."""

AUTO = "auto"


def resolve(name: str, url: str) -> Format:
    """Return the format of this name, or for "auto" the one that fits the URL.

    Raises: KeyError if there is no such format.
    """
    return choose(url).format if name == AUTO else REGISTRY[name]
