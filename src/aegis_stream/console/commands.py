"""The call behind a control, as curl and as `aegis` command: what the console can do, a key can do by the API."""

import shlex
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class ShownCall:
    """One call of the API, in two spellings. The key's place is taken by `$AEGIS_API_KEY`."""

    curl: str
    aegis: str


def shown_call(
    base: str, method: str, path: str, body: Any = None, *, aegis: str, is_file: bool = False
) -> ShownCall:
    """Spell a call.

    Args:
        base: scheme and host of this console, such as https://aegis.example.com.
        path: below /api, with its query.
        body: JSON; None for none.
        aegis: the same as a command, with its values quoted by `quoted`; "" where there is none.
        is_file: whether the answer is a file with a name of its own.
    """
    parts = ["curl", "--fail-with-body", *(["-OJ"] if is_file else [])]
    if method != "GET":
        parts += ["-X", method]
    parts += [quoted(base + path)]
    lines = [" ".join(parts), '  -H "Authorization: Bearer $AEGIS_API_KEY"']
    if body is not None:
        lines += [
            "  -H 'Content-Type: application/json'",
            "  -d " + quoted(msgspec.json.encode(body).decode()),
        ]
    return ShownCall(" \\\n".join(lines), aegis)


def quoted(value: str) -> str:
    """Return a value as a shell takes it for one word."""
    return shlex.quote(value)
