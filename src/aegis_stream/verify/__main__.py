"""The command: `python -m aegis_stream.verify`, `aegis verify` and aegis-verify.pyz."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, NoReturn

from .chain import Kept
from .demands import KEPT, Demands
from .findings import WRONG_USE
from .gather import gather
from .judge import judge
from .note import Key, Malformed, Note, read_key, read_note
from .read import Export
from .report import as_json, text

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FILE_BYTES_MAX = 1024 * 1024
KEYS_MAX = 64
"""Most keys of one file."""
_EPILOG = """\
Several exports are one: give all files that together hold the range. Order and duplicates do not matter.

exit status:
  0  complete and unaltered, by a key that you gave
  1  something is altered or missing, or there are two histories
  2  wrong use
  3  it cannot be decided: no key given, no checkpoint, lines that cannot be read, events that are not in the log
"""


OPTIONS: Dict[str, Dict[str, Any]] = {
    "--key": {
        "action": "append",
        "default": [],
        "metavar": "VKEY|FILE",
        "help": "trust this key of the log, or those in the file; may be repeated",
    },
    "--checkpoint": {
        "action": "append",
        "default": [],
        "metavar": "FILE",
        "help": "a checkpoint that you kept: the log must agree with it; may be repeated",
    },
    "--against": {
        "action": "append",
        "default": [],
        "metavar": "EXPORT",
        "help": "an export from another SIEM: the log must agree with its checkpoints; may be repeated",
    },
    "--org": {"default": "", "metavar": "ID", "help": "look at this organization only"},
    "--from": {
        "type": int,
        "default": 0,
        "dest": "first",
        "metavar": "SEQUENCE",
        "help": "expect the range to begin here at the latest",
    },
    "--max-age": {
        "default": "",
        "metavar": "2h",
        "help": "the last checkpoint must not be older: a number and s, m, h or d",
    },
    "--accept": {
        "choices": ("exact", "content", "id"),
        "default": "content",
        "help": "weakest evidence that is accepted (default: content)",
    },
    "--json": {"action": "store_true", "help": "print JSON"},
}
"""The options, as argparse has them."""


class _Wrong(Exception):
    """Wrong use. Its text says what, and what to do."""


def main(arguments: List[str] | None = None, prog: str = "aegis-verify", now_s: int | None = None) -> int:
    """Run the command and return its exit status: 0 complete, 1 not complete, 2 wrong use, 3 undecided.

    Args:
        arguments: those after the command; None takes the process's.
        prog: name of the command in its messages.
        now_s: seconds since 1970; None asks the clock.
    """
    options = _parser(prog).parse_args(arguments)
    exports: List[Export] = []
    try:
        demands = _demands(options, int(time.time()) if now_s is None else now_s)
        exports = _opened(options.export)
        findings = judge(exports, demands)
    except _Wrong as error:
        sys.stderr.write(f"{prog}: {error}\n")
        return WRONG_USE
    except OSError as error:
        sys.stderr.write(f"{prog}: {error.filename or 'an export'}: {error.strerror or error}\n")
        return WRONG_USE
    finally:
        for export in exports:
            export.close()
    report = json.dumps(as_json(findings), indent=2) + "\n" if options.json else text(findings)
    try:
        sys.stdout.write(report)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except UnicodeEncodeError:
        sys.stdout.write(report.encode("ascii", "replace").decode())
    return findings.status


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Check offline that exported audit events are complete and unaltered.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "export", nargs="+", metavar="EXPORT", help="a file from the SIEM, .gz too; - is standard input"
    )
    for name, settings in OPTIONS.items():
        parser.add_argument(name, **settings)
    return parser


def _demands(options: argparse.Namespace, now_s: int) -> Demands:
    keys = tuple(key for one in options.key for key in _keys(one))
    if options.first < 0:
        raise _Wrong("--from is below 0: give the sequence of the first event that you expect")
    kept = [Kept(_note(one), KEPT) for one in options.checkpoint]
    for name in options.against:
        kept += _notes_of(name)
    return Demands(
        keys=keys,
        kept=tuple(kept),
        organization=options.org,
        from_sequence=options.first,
        max_age_s=_seconds(options.max_age),
        accept=options.accept,
        now_s=now_s,
    )


def _keys(given: str) -> List[Key]:
    """Return a key that was given as text, or those of a file: one a line, or a policy."""
    lines = [given] if "+" in given else _read(given).split("\n")
    words = [line.split()[-1] for line in lines if line.strip() and not line.startswith(("#", "quorum"))]
    if not 1 <= len(words) <= KEYS_MAX:
        raise _Wrong(f"--key {given}: the file must hold 1 to {KEYS_MAX} keys, one a line")
    try:
        return [read_key(word) for word in words]
    except Malformed as error:
        raise _Wrong(f"--key {given}: {error}") from error


def _note(name: str) -> Note:
    try:
        return read_note(_read(name))
    except Malformed as error:
        raise _Wrong(f"--checkpoint {name}: it {error}") from error


def _notes_of(name: str) -> List[Kept]:
    exports = _opened([name])
    try:
        gathered = gather(exports)
    finally:
        exports[0].close()
    for parts in gathered.parts.values():
        parts.close()
    notes = [note for notes in gathered.notes.values() for note in notes]
    if not notes:
        raise _Wrong(f"--against {name}: it has no checkpoint")
    return [Kept(note, name) for note in notes]


def _read(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _Wrong(f"{name}: {error.strerror}") from error
    if len(data) > _FILE_BYTES_MAX:
        raise _Wrong(f"{name} has more than {_FILE_BYTES_MAX} bytes: it is neither a key nor a checkpoint")
    try:
        return data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _Wrong(f"{name} is not UTF-8") from error


def _opened(names: List[str]) -> List[Export]:
    exports: List[Export] = []
    try:
        for name in names:
            exports.append(Export(name))  # noqa: PERF401 - those that are open are closed if a later one is missing
    except OSError:
        for export in exports:
            export.close()
        raise
    return exports


def _seconds(given: str) -> int:
    if not given:
        return 0
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", given)
    if not found or not int(found[1]):
        raise _Wrong(f"--max-age {given}: give a number and s, m, h or d, such as 2h")
    return int(found[1]) * _UNITS[found[2]]


def run() -> NoReturn:
    """Run the command and exit."""
    sys.exit(main())


if __name__ == "__main__":
    run()
