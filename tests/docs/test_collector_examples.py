"""The configurations for collectors: they go with the destinations of their pages, and keep what must not be lost.

None of these collectors can be had from a package registry; what can be read by a parser is read by one.
"""

import json
import re

import pytest
import yaml
from vrl_python import VRLRuntime

from support.pages import COLLECTORS, calls_of, commented, read_page, sections_of

PAGES = {
    "logstash.conf": "logstash",
    "fluentd.conf": "fluentd",
    "vector.yaml": "vector",
    "fluent-bit.yaml": "fluent-bit",
}
"""Each configuration, and the page that tells of it."""
BESIDE = ("logstash-pipelines.yml", "nginx.conf")
"""What belongs to one of them, or to two."""
SECRET = "0123456789abcdef" * 4


def read(name: str) -> str:
    """Return a configuration as it stands."""
    return (COLLECTORS / name).read_text(encoding="utf-8")


def settings_of(text: str) -> dict[str, str]:
    """Return name → value of the settings in Fluentd's or Logstash's language, without their comments."""
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines()]
    found = [re.fullmatch(r"(@?[\w.]+)(?: =>)? (.+)", line) for line in lines]
    return {one[1]: one[2] for one in found if one is not None}


@pytest.mark.parametrize("name", PAGES)
def test_a_configuration_goes_with_the_destination_of_its_page(name):
    """The destination in the comments of a configuration is the one that its page tells people to make."""
    page = sections_of(read_page(PAGES[name]))["What to POST here"]

    assert commented(COLLECTORS / name) == json.loads(calls_of(page)[0].body)
    assert f"docs/how-to/destinations/{PAGES[name]}.md" in read(name)


@pytest.mark.parametrize("name", [*PAGES, *BESIDE])
def test_no_configuration_has_a_secret(name):
    """A credential comes from a variable, a keystore or a file of its own, and TLS is nowhere switched off."""
    for line in read(name).splitlines():
        found = re.match(r"\s*(?:password|api_key|header|shared_key|token)\b(?: =>|:)? (.+)", line)
        assert found is None or re.search(r"\$\{\w+\}|SECRET\[", found[1]), line
        assert not re.search(r"verify\w*:? (?:=> )?(?:off|false|none|\"none\")", line), line


def test_vector_answers_when_an_event_is_on_disk():
    """Events are read as JSON, acknowledged from the sink's disk buffer, and stored under their own ids."""
    config = yaml.safe_load(read("vector.yaml"))
    source, sink = config["sources"]["aegis"], config["sinks"]["store"]

    assert config["acknowledgements"] == {"enabled": True}
    assert (source["type"], source["decoding"], source["path_key"]) == ("http_server", {"codec": "json"}, "")
    assert source["tls"]["enabled"] is True
    assert (sink["buffer"]["type"], sink["buffer"]["when_full"]) == ("disk", "block")
    assert sink["bulk"]["action"] == "create"
    assert f".{sink['id_key']} = .event.id" in config["transforms"]["as_it_was_sent"]["source"]
    assert sink["inputs"] == ["as_it_was_sent"]


def test_fluent_bit_answers_when_an_event_is_on_disk():
    """Chunks are on disk, synced, never thrown away for their number, and sent until they are taken."""
    config = yaml.safe_load(read("fluent-bit.yaml"))
    (source,), (sink,) = config["pipeline"]["inputs"], config["pipeline"]["outputs"]

    assert config["service"]["storage.sync"] == "full"
    assert (source["name"], source["listen"], source["storage.type"]) == ("http", "127.0.0.1", "filesystem")
    assert sink["retry_limit"] == "no_limits"
    assert sink["json_date_key"] is False
    assert "storage.total_limit_size" not in sink


def test_logstash_answers_when_an_event_is_on_disk():
    """The queue is persisted and synced for each event, and the plugin writes nothing over the event."""
    (pipeline,) = yaml.safe_load(read("logstash-pipelines.yml"))
    settings = settings_of(read("logstash.conf"))

    assert (pipeline["queue.type"], pipeline["queue.checkpoint.writes"]) == ("persisted", 1)
    assert pipeline["dead_letter_queue.enable"] is True
    assert settings["codec"] == "json_lines"  # of the file for what is no JSON, the last one
    assert 'codec => json { ecs_compatibility => "disabled" }' in read("logstash.conf")
    assert settings["additional_codecs"] == "{}"
    assert settings["ecs_compatibility"] == '"disabled"'
    assert settings["remote_host_target_field"].startswith('"[@metadata]')
    assert settings["request_headers_target_field"].startswith('"[@metadata]')
    assert (settings["action"], settings["document_id"]) == ('"create"', '"%{[event][id]}"')


def test_fluentd_answers_when_an_event_is_in_its_buffer():
    """Every tag is taken, the buffer is a file that refuses what it has no room for, and sections are closed where they began."""
    text = read("fluentd.conf")
    settings = settings_of(text)
    open_sections: list[str] = []
    for closing, section in re.findall(r"^\s*<(/?)(\w+)[^>]*>$", text, re.MULTILINE):
        if closing:
            assert open_sections.pop() == section
        else:
            open_sections.append(section)

    assert open_sections == []
    assert re.search(r"<label @AEGIS>\n(?:\s*#.*\n)*\s*<match \*\*>", text)
    assert settings["@label"] == "@AEGIS"
    assert settings["bind"] == "127.0.0.1"
    assert (settings["time_key"], settings["keep_time_key"]) == ("@timestamp", "true")
    assert (settings["overflow_action"], settings["retry_forever"]) == ("throw_exception", "true")
    assert re.search(r"<buffer time>\n\s*@type file\n", text)


def test_logstash_parses_by_its_own_grammar():
    """A parser that follows Logstash's grammar reads the whole file: one input, one output."""
    parser = pytest.importorskip("logstash_pipeline_parser", reason="there is none for this Python")
    text = read("logstash.conf")

    assert [section for section, _ in parser.Pipeline(text).parse()] == ["input", "output"]
    with pytest.raises(Exception, match="Expected"):
        parser.Pipeline(text.replace("ssl_enabled => true", "ssl_enabled =>")).parse()


def test_vectors_programs_say_what_they_should():
    """In Vector's own language the secret opens, nothing else does, and an event leaves as it was sent, with its id beside it."""
    config, runtime = yaml.safe_load(read("vector.yaml")), VRLRuntime()
    check = config["sources"]["aegis"]["auth"]["source"].replace("SECRET[files.aegis_shared_secret]", SECRET)
    remap = config["transforms"]["as_it_was_sent"]["source"]
    event = {"event": {"id": "e-1"}, "timestamp": "mine", "host": {"name": "h"}}

    def opens(headers: dict[str, str]) -> bool:
        result: bool = runtime.execute(check, {"headers": headers, "path": "/aegis"}).runtime_result
        return result

    def leaves(*, added: str) -> dict[str, object]:
        result: dict[str, object] = runtime.execute(f"{added}\n{remap}", event).processed_event
        return result

    assert opens({"x-shared-secret": SECRET})
    assert not any(opens(one) for one in ({}, {"x-shared-secret": SECRET.upper()}, {"x-shared-secret": ""}))
    with_id = event | {"id_of_document": "e-1"}
    assert leaves(added='.source_type = "http_server"') == with_id
    assert leaves(added="del(.timestamp)\n.timestamp = now()") == {
        name: value for name, value in with_id.items() if name != "timestamp"
    }
