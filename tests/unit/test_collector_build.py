"""The collector of tests/real is built from what the builder's manifest names, in the version that its page tells."""

import json
import re
from typing import Any

import yaml

from support.pages import COLLECTORS, ROOT, blocks_of, calls_of, commented, read_page, sections_of

BUILD = ROOT / "tests" / "real" / "collector"
PAGE = "opentelemetry-collector"


def read_yaml(name: str) -> dict[str, Any]:
    """Return a file of the build."""
    document: dict[str, Any] = yaml.safe_load((BUILD / name).read_text(encoding="utf-8"))
    return document


def test_every_module_is_pinned():
    """Each component of the manifest stands in go.mod with its version and in go.sum with its checksum."""
    manifest = read_yaml("manifest.yaml")
    wanted = [one["gomod"] for part in manifest.values() if isinstance(part, list) for one in part]
    required = (BUILD / "go.mod").read_text(encoding="utf-8")
    sums = (BUILD / "go.sum").read_text(encoding="utf-8")

    assert wanted
    for module in wanted:
        assert f"\t{module}\n" in required
        assert f"{module} h1:" in sums


def test_the_page_tells_the_version():
    """Manifest, components and page name one version of the collector."""
    manifest = read_yaml("manifest.yaml")
    version = manifest["dist"]["version"]
    beta = [
        one["gomod"]
        for part in ("receivers", "exporters", "processors", "extensions")
        for one in manifest[part]
    ]

    assert {one.rpartition(" v")[2] for one in beta} == {version}
    assert f"Tested against OpenTelemetry Collector {version} " in sections_of(read_page(PAGE))["Proof"]


def test_the_queue_of_the_page_is_the_one_of_the_test():
    """What the page says to merge into the configuration is what the test with the killed collector merges into it."""
    (block,) = blocks_of(sections_of(read_page(PAGE))["What to click there"], "yaml")
    told, tested = yaml.safe_load(block), read_yaml("onward.yaml")
    told_storage, tested_storage = (one["extensions"]["file_storage"] for one in (told, tested))
    told_exporter, tested_exporter = told["exporters"]["otlp_http"], tested["exporters"]["otlp_http/disk"]

    assert told_storage | {"directory": ""} == tested_storage | {"directory": ""}
    assert told_exporter["sending_queue"] == tested_exporter["sending_queue"]
    assert told_exporter["retry_on_failure"].items() <= tested_exporter["retry_on_failure"].items()
    assert told["service"]["extensions"] == tested["service"]["extensions"]


def test_the_configuration_goes_with_the_destination_of_its_page():
    """The destination in the comments of the configuration is the one that the page tells people to make."""
    (call,) = calls_of(sections_of(read_page(PAGE))["What to POST here"])

    assert commented(COLLECTORS / f"{PAGE}.yaml") == json.loads(call.body)


def test_the_configuration_has_no_secret():
    """Token, certificate and key come from variables, which have no default."""
    text = (COLLECTORS / f"{PAGE}.yaml").read_text(encoding="utf-8")
    secrets = re.findall(r"^\s+(?:token|cert_file|key_file): (.+)$", text, re.MULTILINE)

    assert len(secrets) == 3
    assert all(re.fullmatch(r"\$\{env:COLLECTOR_[A-Z]+\}", one) for one in secrets)
