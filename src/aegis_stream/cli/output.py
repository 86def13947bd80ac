"""Tables for people, and what --json prints."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    """Print one JSON document; on a terminal indented, with everything but ASCII escaped."""
    on_terminal = sys.stdout.isatty()
    click.echo(json.dumps(value, ensure_ascii=on_terminal, indent=2 if on_terminal else None))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under their headings, in columns that fit their content."""
    texts = [[_cell(value) for value in row] for row in rows]
    widths = [
        max(len(head), *(len(line[column]) for line in texts)) if texts else len(head)
        for column, head in enumerate(heads)
    ]
    for line in ([head.upper() for head in heads], *texts):
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    # Text of events and receivers must not control the terminal.
    return "".join(character if character.isprintable() else " " for character in text)
