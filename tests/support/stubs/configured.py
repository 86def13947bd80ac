"""Every destination of the guide, configured by the call on its page (docs/how-to/destinations/*.md), with a stub.

The credential is the one of the page, so the stub rejects a page with a wrong header. If the host of the URL chooses the
format, `format` is given, because stubs are on loopback.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from aegis_stream.formats import choose
from support.pages import calls_of, read_page, sections_of

from .collectors import Cribl, FluentBit, Fluentd, Logstash, Panther, SecOps, Sumo, Vector
from .frame import Stub
from .platforms import Axiom, BetterStack, Datadog, Honeycomb, NewRelic, Sentinel
from .stores import Elasticsearch, Loki, OldDatadogReceiver, Otlp, Splunk, VictoriaLogs

_URL_FIELDS = ("url", "name")


@dataclass(frozen=True)
class Configured:
    """A destination and its configuration.

    Args:
        maker: creates its stub.
        fields: fields of the destination besides its URL.
        target: path and query of the URL.
        chosen: the resulting format.
        page: page of the guide, or None.
    """

    maker: Callable[..., Stub]
    fields: dict[str, Any]
    target: str
    chosen: str
    page: str | None = None

    def make(self, **options: Any) -> Stub:
        """Make the stub."""
        stub = self.maker(**options)
        stub.target = self.target  # type: ignore[misc] # the instance's own
        return stub

    def with_fields(
        self, target: str | None = None, chosen: str | None = None, **fields: Any
    ) -> "Configured":
        """Return the same destination with a slightly different configuration."""
        chosen = chosen or fields.get("format", self.chosen)
        return replace(self, fields=self.fields | fields, target=target or self.target, chosen=chosen)


def of_page(page: str, stub: Callable[..., Stub], call: int = 0, **options: Any) -> Configured:
    """Return the destination of a page of the guide."""
    sent = calls_of(sections_of(read_page(page))["What to POST here"])[call].sent()
    fields = {name: value for name, value in sent.items() if name not in _URL_FIELDS}
    parts = urlsplit(sent["url"])
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    chosen = fields.get("format") or choose(sent["url"]).format.name
    if choose(f"http://127.0.0.1{target}").format.name != chosen:
        fields["format"] = chosen

    def make(**more: Any) -> Stub:
        return stub(**options, **more)

    return Configured(make, fields, target, chosen, page)


_SHARED = ("x-shared-secret", "value-of-COLLECTOR_SECRET")
_SUMO = of_page("sumo-logic", Sumo)
_LOGSTASH = of_page("logstash", Logstash, basic="value-of-LOGSTASH_BASIC")
_FLUENTD = of_page("fluentd", Fluentd, front=_SHARED)
_VECTOR = of_page("vector", Vector, front=_SHARED)
_FLUENT_BIT = of_page("fluent-bit", FluentBit, front=_SHARED)
_PANTHER = of_page("panther", Panther, header=("x-panther-secret", "value-of-PANTHER_SECRET"))
_SECOPS = of_page("google-secops", SecOps, key="value-of-SECOPS_API_KEY", secret="value-of-SECOPS_SECRET_KEY")
_LOKI = of_page("grafana-loki", Loki, front=("authorization", "Basic value-of-LOKI_BASIC"))

_ELASTIC_PAGE = "elasticsearch-and-opensearch"
_ELASTIC = of_page(_ELASTIC_PAGE, Elasticsearch, credential="ApiKey value-of-ELASTIC_API_KEY")
_STREAM = "/logs-aegis.preflight-default"

CONFIGURED: dict[str, Configured] = {
    "sumo": _SUMO,
    "cribl": of_page("cribl", Cribl, token="value-of-CRIBL_TOKEN"),
    "logstash": _LOGSTASH,
    "fluentd": _FLUENTD,
    "vector": _VECTOR,
    "fluent-bit": _FLUENT_BIT,
    "panther": _PANTHER,
    "secops": _SECOPS,
    "new-relic": of_page("new-relic", NewRelic, key="value-of-NEW_RELIC_LICENSE_KEY"),
    "datadog": of_page("datadog", Datadog, key="value-of-DATADOG_API_KEY"),
    "sentinel": of_page("microsoft-sentinel", Sentinel, 1, token="value-of-SENTINEL_TOKEN"),
    "axiom": of_page("axiom", Axiom, token="value-of-AXIOM_TOKEN"),
    "better-stack": of_page("better-stack", BetterStack, token="value-of-BETTER_STACK_TOKEN"),
    "honeycomb": of_page("honeycomb", Honeycomb, key="value-of-HONEYCOMB_KEY"),
    "elasticsearch": _ELASTIC,
    "opensearch": of_page(
        _ELASTIC_PAGE, Elasticsearch, 1, credential="Basic value-of-OPENSEARCH_BASIC", is_opensearch=True
    ),
    "victorialogs": of_page(
        "victorialogs", VictoriaLogs, front=("authorization", "Basic value-of-VICTORIALOGS_BASIC")
    ),
    "splunk": of_page("splunk", Splunk, token="value-of-SPLUNK_HEC_TOKEN"),
    "loki": _LOKI,
    "otlp": of_page(
        "opentelemetry-collector", Otlp, front=("authorization", "Bearer value-of-COLLECTOR_TOKEN")
    ),
}
"""Every destination once, with a format that sends many events together."""

OTHER_FORMS: dict[str, Configured] = {
    "sumo single": _SUMO.with_fields(format="json"),
    "sumo token": Configured(
        lambda **options: Sumo(token="t0", **options),
        {"auth_header_name": "x-sumo-token", "auth_header_value": "t0", "format": "ndjson"},
        "/receiver/v1/http",
        "ndjson",
    ),
    "logstash single": _LOGSTASH.with_fields(format="json"),
    "fluentd single": _FLUENTD.with_fields(format="json"),
    "vector single": _VECTOR.with_fields(format="json"),
    "vector array": _VECTOR.with_fields(format="json_array"),
    "fluent-bit single": _FLUENT_BIT.with_fields(format="json"),
    "panther single": _PANTHER.with_fields(format="json"),
    "secops single": _SECOPS.with_fields(format="json"),
    "secops url": Configured(
        SecOps, {"format": "ndjson"}, SecOps.target + "?key=api-key&secret=feed-secret", "ndjson"
    ),
    "elasticsearch doc": _ELASTIC.with_fields(_STREAM + "/_doc", chosen="elastic_doc"),
    "elasticsearch create": _ELASTIC.with_fields(_STREAM + "/_create", chosen="elastic_create"),
    "loki tenant": replace(
        _LOKI.with_fields(headers={"X-Scope-OrgID": "tenant"}),
        maker=lambda **options: _LOKI.maker(tenant="tenant", **options),
    ),
}
"""Further ways to the same destinations; the first word is the destination."""

COMPRESSED: dict[str, Configured] = {
    **{f"{name} gzip": one.with_fields(compression="gzip") for name, one in CONFIGURED.items()},
    **{f"{name} zstd": CONFIGURED[name].with_fields(compression="zstd") for name in ("axiom", "honeycomb")},
}
"""Every destination again, with the compressions of the formats' pages."""

OLD_DATADOG_RECEIVER = Configured(OldDatadogReceiver, {"format": "datadog"}, "/api/v2/logs", "datadog")
"""Not a destination of the guide, but one that users may choose."""
EVERY = CONFIGURED | OTHER_FORMS | {"old-datadog-receiver": OLD_DATADOG_RECEIVER}
