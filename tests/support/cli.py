"""Runs the command `aegis` inside this process: fast, with the exit status and the output of the real command."""

import io
import sys
from dataclasses import dataclass

from aegis_stream.cli.main import main


@dataclass(frozen=True)
class Finished:
    """The result of a command: its exit status and its output."""

    status: int
    stdout: str
    stderr: str


class _Input(io.TextIOWrapper):
    """Standard input that is not a terminal."""


def run_aegis(monkeypatch, capsys, *arguments: str, stdin: bytes = b"", **environment: str) -> Finished:
    """Run `aegis ARGUMENTS` with these variables and return the result."""
    capsys.readouterr()
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["aegis", *arguments])
        patch.setattr(sys, "stdin", _Input(io.BytesIO(stdin), encoding="utf-8"))
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    out, err = capsys.readouterr()
    return Finished(status, out, err)
