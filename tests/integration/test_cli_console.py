"""Promises of `aegis console`, on the store of a data directory."""

import json
import re

import pytest

from aegis_stream.domain.console_link import console_url
from support.cli import run_aegis


@pytest.fixture
def aegis(tmp_path, monkeypatch, capsys):
    """`aegis(…)` runs a command on a data directory that has an organization."""
    monkeypatch.setenv("AEGIS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("AEGIS_ORG", raising=False)
    run_aegis(monkeypatch, capsys, "org", "create", "First", "--id", "org_first")

    return lambda *arguments: run_aegis(monkeypatch, capsys, "console", "link", *arguments)


@pytest.fixture
def console(aegis, monkeypatch, capsys):
    """`console(…)` runs another command of the group on the same data directory."""
    return lambda *arguments: run_aegis(monkeypatch, capsys, "console", *arguments)


@pytest.mark.parametrize("whose", [("--org", "org_first", "--scope", "admin"), ("--operator",)], ids=str)
def test_a_link_is_printed_alone(aegis, whose):
    """Standard output has the URL and nothing else, so that it can be handed on; the rest is told beside it."""
    made = aegis(*whose, "--url", "https://audit.example.com/")

    assert made.status == 0
    assert re.fullmatch(r"https://audit\.example\.com/console/link#aegis_cl_[\w-]{43}\n", made.stdout)
    assert "opens the console once, until 20" in made.stderr


def test_the_default_address_is_that_of_serve(aegis):
    """Without --url the link leads to this machine; --json says until when."""
    made = json.loads(aegis("--org", "org_first", "--json").stdout)

    assert made["url"].startswith(console_url("http://127.0.0.1:8700", "aegis_cl_"))
    assert made["id"].startswith("lnk_")
    assert made["expires_at"].endswith("Z")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ((), 2, "--org ORGANIZATION or --operator"),
        (("--org", "org_none"), 1, "org_none"),
        (("--org", "org_first", "--expires-seconds", "5"), 2, "60"),
        (("--org", "org_first", "--return-url", "ftp://x"), 1, "return_url must be an https URL"),
    ],
    ids=str,
)
def test_a_mistake_is_named(aegis, arguments, status, told):
    """What cannot be made says why, and prints no URL."""
    failed = aegis(*arguments)

    assert failed.status == status
    assert told in failed.stderr
    assert "aegis_cl_" not in failed.stdout


def test_links_are_listed_and_revoked(aegis, console):
    """The list has each link without its URL; a revoked one is gone, and revoking it again says so."""
    made = json.loads(aegis("--org", "org_first", "--scope", "admin", "--json").stdout)
    listed = console("links", "--org", "org_first", "--json")
    [row] = json.loads(listed.stdout)
    revoked = console("revoke", made["id"], "--org", "org_first")
    again = console("revoke", made["id"], "--org", "org_first")

    assert (row["id"], row["scope"], row["made_by"], row["used_at"]) == (made["id"], "admin", None, None)
    assert row["expires_at"] == made["expires_at"]
    assert "aegis_cl_" not in listed.stdout
    assert (revoked.status, revoked.stdout) == (0, f"revoked {made['id']}\n")
    assert again.status == 1
    assert "there is no console link" in again.stderr
    assert console("links", "--org", "org_first").stdout.split()[:3] == ["ID", "SCOPE", "MADE_BY"]
