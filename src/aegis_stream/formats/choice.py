"""Which format fits a URL: what `auto` becomes, and why.

`auto` becomes `json`, one event as stored, unless the destination at that URL would reject it or lose something behind a 2xx.
Paths are checked before hosts, because collectors run on any host.
"""

import re
from typing import NamedTuple

from .axiom import AXIOM
from .better_stack import BETTER_STACK
from .cribl import CRIBL
from .datadog import DATADOG
from .elastic import ELASTIC_BULK, ELASTIC_CREATE, ELASTIC_DOC
from .format import Format
from .honeycomb import HONEYCOMB
from .loki import LOKI
from .new_relic import NEW_RELIC
from .otlp import OTLP_LOGS
from .plain import JSON
from .sentinel import SENTINEL
from .splunk import SPLUNK_HEC


class Choice(NamedTuple):
    """A format and the reason for it, a clause for people that contains no secret of the URL."""

    format: Format
    reason: str


_ANY_HOST = ".*"
_SPLUNK_PATH = r"/services/collector(/event(/1\.0)?)?"
_SENTINEL_PATH = r"/dataCollectionRules/[^/]+/streams/[^/]+"
_NEW_RELIC_HOST = r"((gov-)?log-api(\.eu)?\.newrelic\.com|log-api\.jp\.nr-data\.net)"
_BETTER_STACK_HOST = r"(.*\.)?(betterstackdata\.com|logs\.betterstack\.com)"
_OTLP_ELSE = (
    "OTLP receivers accept only traces or metrics at this path, and drop events: send logs to /v1/logs"
)
_RULES: tuple[tuple[str, str, Format, str], ...] = (
    (_ANY_HOST, r"/cribl/_bulk", CRIBL, "the path ends in /cribl/_bulk, where Cribl reads lines"),
    (_ANY_HOST, r"/_bulk", ELASTIC_BULK, "the path ends in /_bulk, Elasticsearch's API for many events"),
    (_ANY_HOST, r"/_doc", ELASTIC_DOC, "the path ends in /_doc, Elasticsearch's API for one document"),
    (
        _ANY_HOST,
        r"/_create",
        ELASTIC_CREATE,
        "the path ends in /_create, Elasticsearch's API for one document",
    ),
    (_ANY_HOST, _SPLUNK_PATH, SPLUNK_HEC, "the path is that of Splunk's HTTP Event Collector"),
    (_ANY_HOST, r"/loki/api/v1/push", LOKI, "the path is that of Loki's push API"),
    (_ANY_HOST, r"/v1/logs", OTLP_LOGS, "the path ends in /v1/logs, where OTLP receivers take logs"),
    (_ANY_HOST, r"/v1/(traces|metrics)", JSON, _OTLP_ELSE),
    (_ANY_HOST, r"/1/batch/[^/]+", HONEYCOMB, "the path is that of Honeycomb's batches"),
    (_ANY_HOST, _SENTINEL_PATH, SENTINEL, "the path is that of the Logs Ingestion API of Microsoft Sentinel"),
    (_ANY_HOST, r"/v1/datasets/[^/]+/ingest", AXIOM, "the path is that of Axiom's ingest"),
    (r"(.*\.)?axiom\.co", r"/v1/ingest/[^/]+", AXIOM, "host and path are those of Axiom's ingest"),
    (r"http-intake\.logs\..+", r"/api/v2/logs", DATADOG, "host and path are those of Datadog's intake"),
    (_NEW_RELIC_HOST, r"/log/v1", NEW_RELIC, "host and path are those of New Relic's Log API"),
    (_BETTER_STACK_HOST, r"", BETTER_STACK, "the host is one of Better Stack's"),
)
"""(host, end of the path, format, reason); the first match decides."""
_COMPILED = tuple(
    (re.compile(host), re.compile(f".*{path}"), Choice(format_, reason))
    for host, path, format_, reason in _RULES
)
_DEFAULT = Choice(JSON, "no other format is known for this URL: each event is sent as it is stored")


def choose(url: str) -> Choice:
    """Return the format that fits a URL, and why. Total: every text has one; query and port are ignored."""
    authority, _, rest = url.partition("://")[2].partition("?")[0].partition("/")
    host, path = authority.partition(":")[0].lower(), f"/{rest}".rstrip("/")
    for of_host, of_path, choice in _COMPILED:
        if of_host.fullmatch(host) and of_path.fullmatch(path):
            return choice
    return _DEFAULT
