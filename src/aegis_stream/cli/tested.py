"""What a test of a destination told: one line with the verdict, a line for each stage, and the beginning of a failed answer."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from .output import print_json

_STATES = {True: "ok", False: "failed", None: "-"}


def print_test(answer: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a test told; exits with status 1 if the destination does not accept the event."""
    if as_json:
        print_json(answer)
    else:
        for line in _lines(answer):
            click.echo(_printable(line))
    if not answer["ok"]:
        sys.exit(1)


def _lines(answer: Mapping[str, Any]) -> list[str]:
    status = f"status {answer['status_code']}" if answer["status_code"] is not None else "no answer"
    verdict = "ok" if answer["ok"] else "failed"
    told = answer.get("error") or answer.get("warning") or ""
    lines = [f"{verdict}  {status}  {answer['latency_ms']} ms  {told}"]
    for stage in answer.get("stages", ()):  # none where the service is older than this command
        took = _took(stage["ms"], answered=answer["status_code"] is not None)
        detail = stage["detail"] if stage["detail"] != told else ""  # the line above has it
        lines.append(f"  {stage['name']:<7}  {_STATES[stage['ok']]:<6}  {took:>12}  {detail}")
    lines += [f"  {line}" for line in (answer.get("response_excerpt") or "").splitlines()]
    return lines


def _took(ms: float | None, *, answered: bool) -> str:
    """Say how long a stage took; without an answer the service rounds up."""
    if ms is None:
        return ""
    return f"{ms} ms" if answered else f"up to {ms:g} ms"


def _printable(text: str) -> str:
    from .client import printable  # noqa: PLC0415

    return printable(text).rstrip()
