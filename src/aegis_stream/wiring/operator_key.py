"""The operator key, which creates organizations: given, or generated at the first start and kept as a digest."""

import hashlib
import re
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from aegis_stream.domain.ids import new_secret
from aegis_stream.domain.organization import OPERATOR_KEY_PREFIX
from aegis_stream.errors import Misconfigured
from aegis_stream.vault.durable import replace_file

_DIGEST = re.compile(r"[0-9a-f]{64}")


def operator_digest(folder: Path, given: str | None, note: Callable[[str], None]) -> tuple[bytes, bool]:
    """Return the SHA-256 of the operator key, and whether the key was generated just now.

    A generated key is shown on a terminal. Elsewhere standard output ends in a journal or a log, so it is written to a file
    of mode 0600 instead. A digest that a power cut left empty is replaced, with a new key: nobody can have the old one.

    Args:
        folder: the data directory.
        given: AEGIS_OPERATOR_KEY.
        note: called with what to tell the person who starts the service.
    Raises: Misconfigured if a file cannot be written, or the digest is not one.
    """
    if given is not None:
        return hashlib.sha256(given.encode()).digest(), False
    path = folder / "operator.sha256"
    known = path.read_text().strip() if path.exists() else ""
    if known:
        if _DIGEST.fullmatch(known) is None:
            raise Misconfigured(
                f"{path} does not hold a SHA-256: restore it from a backup, or delete it to get a new operator key"
            )
        return bytes.fromhex(known), False
    key = new_secret(OPERATOR_KEY_PREFIX, secrets.token_bytes(32))
    digest = hashlib.sha256(key.encode()).digest()
    shown = folder / "operator.key"
    try:
        if not sys.stdout.isatty():
            replace_file(shown, key + "\n")
        replace_file(path, digest.hex() + "\n")
    except OSError as error:
        raise Misconfigured(f"the operator key cannot be written to {folder}: {error.strerror}") from error
    if sys.stdout.isatty():
        note(f"operator key, shown only once: {key}")
    else:
        note(f"operator key, shown only in {shown} (mode 0600): keep it in a safe place, and delete the file")
    return digest, True
