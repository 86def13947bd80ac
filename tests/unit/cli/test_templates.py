"""Promises of the templates that the command line prints."""

import json

import pytest

from aegis_stream.formats.elastic_template import index_template
from support.cli import run_aegis


@pytest.mark.parametrize("flavor", ["elasticsearch", "opensearch"])
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_the_index_template_is_printed_for_its_flavor(monkeypatch, capsys, flavor, as_json):
    """The output is the body of the request that installs the template; it needs no running service and no key."""
    command = ("destination", "template", "elastic", "--flavor", flavor, *as_json)

    printed = run_aegis(monkeypatch, capsys, *command)

    assert (printed.status, printed.stderr) == (0, "")
    assert json.loads(printed.stdout) == index_template(flavor=flavor)


def test_the_index_template_is_for_the_names_that_are_asked_for(monkeypatch, capsys):
    """The default is for Elasticsearch and the data streams of the documentation; --pattern selects others."""
    usual = run_aegis(monkeypatch, capsys, "destination", "template", "elastic")
    other = run_aegis(monkeypatch, capsys, "destination", "template", "elastic", "--pattern", "audit-*")

    assert json.loads(usual.stdout) == index_template()
    assert json.loads(other.stdout)["index_patterns"] == ["audit-*"]


def test_an_unknown_flavor_is_wrong_use(monkeypatch, capsys):
    """A misspelled flavor is answered with the names there are."""
    answer = run_aegis(monkeypatch, capsys, "destination", "template", "elastic", "--flavor", "solr")

    assert answer.status == 2
    assert "opensearch" in answer.stderr
