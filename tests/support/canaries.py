"""Unique secrets, and a search for them in everything that a service left behind.

    secrets = {"header": canary(), "key": key}
    assert leaks(secrets, [("log", log), *files_below(folder)]) == []

The search finds a secret as it is, in hexadecimal, and in base64 at any position of a longer text.
"""

import base64
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_MARK = b"c4n4ry"

Found = tuple[str, bytes]
"""A place, and its bytes."""


def canary() -> str:
    """Return a secret of letters and digits, which no encoding of URLs or JSON changes."""
    return _MARK.decode() + secrets.token_hex(16)


def leaks(planted: Mapping[str, str | bytes], places: Iterable[Found]) -> list[str]:
    """Return which secret was found where, without the secrets themselves."""
    mark = forms(_MARK)
    marked, others = dict[str, set[bytes]](), dict[str, set[bytes]]()
    for name, text in planted.items():
        secret = text if isinstance(text, bytes) else text.encode()
        (marked if secret.startswith(_MARK) else others)[name] = forms(secret)
    found = []
    for where, content in places:
        # Most places do not even contain the beginning of a canary: a dozen searches then, instead of a thousand.
        needles = others | (marked if any(one in content for one in mark) else {})
        found += [
            f"{name} in {where}" for name, texts in needles.items() if any(text in content for text in texts)
        ]
    return found


def forms(secret: bytes) -> set[bytes]:
    """Return a secret's bytes, its hexadecimal digits, and the parts of its base64 that do not depend on its position."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + secret)
        sure = text[(shift * 8 + 5) // 6 : len(secret + b"\0" * shift) * 8 // 6]
        found |= {sure, sure.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def files_below(folder: Path, *, but: frozenset[str] = frozenset()) -> Iterator[Found]:
    """Read all files below a folder, except those with these names."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in but:
            yield f"file {path.relative_to(folder)}", path.read_bytes()


def command_lines() -> Iterator[Found]:
    """Read the command lines of all processes, as `ps` shows them."""
    yield from _of_processes(
        "cmdline", (int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal())
    )


def environments(pids: Iterable[int]) -> Iterator[Found]:
    """Read the environments of some processes."""
    yield from _of_processes("environ", pids)


def _of_processes(what: str, pids: Iterable[int]) -> Iterator[Found]:
    for pid in pids:
        with suppress(OSError):  # it has ended, or belongs to another user
            yield f"{what} of a process", Path(f"/proc/{pid}/{what}").read_bytes()
