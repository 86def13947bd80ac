"""Templates that the command line prints: what a destination is set up with."""

import json

import pytest

from aegis_stream.formats.elastic_template import index_template
from support.cli import run_aegis


@pytest.mark.parametrize("flavor", ["elasticsearch", "opensearch"])
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_the_index_template_is_printed_for_its_flavor(monkeypatch, capsys, flavor, as_json):
    """What is printed is the body of the request that puts the template, without a running service or a key."""
    command = ("destination", "template", "elastic", "--flavor", flavor, *as_json)

    printed = run_aegis(monkeypatch, capsys, *command)

    assert (printed.status, printed.stderr) == (0, "")
    assert json.loads(printed.stdout) == index_template(flavor=flavor)


def test_the_index_template_is_for_the_names_that_are_asked_for(monkeypatch, capsys):
    """Without an option it is Elasticsearch's, for the streams that the pages name; another pattern is another stream's."""
    usual = run_aegis(monkeypatch, capsys, "destination", "template", "elastic")
    other = run_aegis(monkeypatch, capsys, "destination", "template", "elastic", "--pattern", "audit-*")

    assert json.loads(usual.stdout) == index_template()
    assert json.loads(other.stdout)["index_patterns"] == ["audit-*"]


def test_an_unknown_flavor_is_wrong_use(monkeypatch, capsys):
    """Whoever misspells the flavor reads which there are."""
    answer = run_aegis(monkeypatch, capsys, "destination", "template", "elastic", "--flavor", "solr")

    assert answer.status == 2
    assert "opensearch" in answer.stderr
