"""Reads what docs/how-to/destinations and examples/collectors tell people to send, as a shell would.

Nothing is run: variables are replaced, JSON is decoded, and command lines are parsed by the program's own parser.
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aegis_stream.api.schemas.destinations import (
    DestinationWrite,
)
from aegis_stream.api.schemas.specs import spec_of
from aegis_stream.cli.destination_body import body_of
from aegis_stream.cli.main import cli
from aegis_stream.domain.destination import (
    DestinationSpec,
    auth_header_problems,
    header_problems,
    policy_problems,
)
from aegis_stream.domain.oauth2 import oauth2_problems
from aegis_stream.domain.url import parse_url
from aegis_stream.netguard import NetGuard
from aegis_stream.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "how-to" / "destinations"
FORMATS = ROOT / "docs" / "reference" / "formats.md"
COLLECTORS = ROOT / "examples" / "collectors"
VARIABLE = re.compile(r"\$([A-Z][A-Z0-9_]*)")
CREDENTIAL = re.compile(r"key|secret|token|auth|password", re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """A curl command of a page: its method and its literal body."""

    method: str
    body: str

    def sent(self) -> dict[str, Any]:
        """Return the body as the shell sends it."""
        sent: dict[str, Any] = json.loads(expanded(self.body))
        return sent


def page_names() -> list[str]:
    """Return the names of all pages about one destination."""
    return sorted(one.stem for one in PAGES.glob("*.md") if one.stem != "index")


def read_page(name: str) -> str:
    """Return the text of a page."""
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def sections_of(text: str) -> dict[str, str]:
    """Return the text below each heading; the text above the first one has the heading ""."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def format_text(name: str) -> str:
    """Return what the documentation says about a format: the head of the page that describes it, and the format's section.

    One page describes a format: that of its destination, or docs/reference/formats.md.
    """
    pages = [sections_of(one.read_text(encoding="utf-8")) for one in (*sorted(PAGES.glob("*.md")), FORMATS)]
    (page,) = [one for one in pages if f"Format {name}" in one]
    return page[""] + page[f"Format {name}"]


def formats_described() -> list[str]:
    """Return the names of all formats that a page describes, each as often as it is described."""
    pages = [one.read_text(encoding="utf-8") for one in (*PAGES.glob("*.md"), FORMATS)]
    return [name for page in pages for name in re.findall(r"^## Format (\w+)$", page, re.MULTILINE)]


def blocks_of(text: str, language: str) -> list[str]:
    """Return the contents of a text's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def calls_of(section: str) -> list[Call]:
    """Return the curl commands of a section that have a here-document as body, in their order."""
    return [
        Call("PATCH" if "-X PATCH" in head else "POST", body)
        for block in blocks_of(section, "sh")
        for head, body in re.findall(
            r"^(curl [^\n]*) -d @- <<END\n(.*?)^END$", block, re.MULTILINE | re.DOTALL
        )
    ]


def commands_of(section: str) -> list[str]:
    """Return the `aegis destination add` commands of a section, with the variables set for each of them."""
    return [
        line
        for block in blocks_of(section, "sh")
        for line in block.splitlines()
        if re.search(r"(^| )aegis destination add ", line)
    ]


def expanded(text: str) -> str:
    """Replace variables as the shell does; a secret URL is replaced by one of the same shape."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        return "https://collector.example/receiver/v1/http/x" if name.endswith("_URL") else f"value-of-{name}"

    return VARIABLE.sub(value, text)


def written_by(command: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the destination that a command would send, parsed by the program itself."""
    words = shlex.split(expanded(command))
    begin = words.index("aegis")
    variables = dict(one.split("=", 1) for one in words[:begin])
    for name, value in {"AEGIS_ORG": "org_abc", "AEGIS_API_KEY": "a-key", **variables}.items():
        monkeypatch.setenv(name, value)
    group = cli.commands["destination"]
    assert words[begin + 1 : begin + 3] == ["destination", "add"]
    context = group.commands["add"].make_context("add", words[begin + 3 :])  # type: ignore[attr-defined]
    return body_of(context, context.params)


def spec_of_body(body: str | bytes) -> DestinationSpec:
    """Return what the API makes of a destination's body, with every check that needs no network.

    Raises: msgspec.ValidationError, Invalid.
    """
    settings = Settings()
    spec = spec_of(msgspec.json.decode(body, type=DestinationWrite), settings.retry.policy)
    problems = [
        *auth_header_problems(spec.auth_header_name, spec.auth_header_value),
        *header_problems(spec.headers, spec.auth_header_name),
        *oauth2_problems(spec.oauth2, spec.auth_header_name),
        *policy_problems(spec),
    ]
    assert problems == []
    assert NetGuard().check_host(parse_url(spec.url, allow_http=False)) is None
    return spec


def documents_of(text: str) -> list[Any]:
    """Read concatenated JSON documents."""
    found, place, text = [], 0, text.strip()
    while place < len(text):
        value, end = json.JSONDecoder().raw_decode(text, place)
        found.append(value)
        place = end + len(text[end:]) - len(text[end:].lstrip())
    return found


def commented(path: Path) -> dict[str, Any]:
    """Return the destination in the comments at the head of a configuration."""
    comments = "\n".join(re.findall(r"^#(?: (.*))?$", path.read_text(encoding="utf-8"), re.MULTILINE))
    (body,) = re.findall(r"^ *\{\"name\".*?\}$", comments, re.MULTILINE | re.DOTALL)
    shown: dict[str, Any] = json.loads(body)
    return shown


def secrets_of(body: Mapping[str, Any]) -> list[str]:
    """Return every value of a destination's body that is a credential; names of tenants and log groups are not."""
    further = {name: value for name, value in (body.get("headers") or {}).items() if CREDENTIAL.search(name)}
    client_secret = (body.get("oauth2") or {}).get("client_secret")
    return [one for one in (body.get("auth_header_value"), *further.values(), client_secret) if one]
