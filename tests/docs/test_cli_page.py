"""docs/reference/cli.md and the commands say the same."""

import re

import click
import pytest

from aegis_stream.cli.main import cli
from support.docs import read

PAGE = read("docs/reference/cli.md")
REMOTE = ("destination", "dead-letter", "delivery", "event")


@pytest.mark.parametrize("group", REMOTE)
def test_every_remote_command_is_documented(group):
    """Each command that calls the API stands on the page."""
    commands = cli.commands[group]
    assert isinstance(commands, click.Group)

    assert not [name for name in commands.commands if f"aegis {group} {name}" not in PAGE]


def test_every_option_on_the_page_exists():
    """The page names no option that no command has."""
    known = {"--help"}
    waiting: list[click.Command] = [cli]
    for command in waiting:
        known |= {text for one in command.params for text in (*one.opts, *one.secondary_opts)}
        waiting += command.commands.values() if isinstance(command, click.Group) else []

    assert set(re.findall(r"(?<!\w)--[a-z][a-z0-9-]+", PAGE)) <= known
