"""The operator key, which creates organizations: given, or generated at the first start and kept as a digest.

Where several machines share a database, the digest is a row of it: the first node to start generates the key, and all others accept
the same one. On SQLite it is a file of the data directory.
"""

import hashlib
import re
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from aegis_stream.domain.ids import new_secret
from aegis_stream.domain.organization import OPERATOR_KEY_PREFIX
from aegis_stream.errors import Misconfigured
from aegis_stream.store import secrets as stored
from aegis_stream.store.database import Database, Unit
from aegis_stream.vault.durable import replace_file

_DIGEST = re.compile(r"[0-9a-f]{64}")
_DIGEST_FILE, _KEY_FILE = "operator.sha256", "operator.key"


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
        return _digest_of(given), False
    known = _kept_digest(folder)
    if known is not None:
        return known, False
    key = new_secret(OPERATOR_KEY_PREFIX, secrets.token_bytes(32))
    digest = _digest_of(key)
    _keep_key(folder, key)
    _write(folder / _DIGEST_FILE, digest.hex())
    _tell(folder, key, note)
    return digest, True


def shared_operator_digest(
    db: Database, folder: Path, given: str | None, note: Callable[[str], None]
) -> tuple[bytes, bool]:
    """Return the SHA-256 of the operator key that all nodes on a database accept, and whether it was generated just now.

    The transaction that records the digest decides which node was first, so nodes that start at the same moment agree. A key that
    is given is recorded in place of another one, so that nodes to which none is given accept it too. So is the key of a data
    directory whose database was copied into this one.

    Args: see `operator_digest`.
    Raises: Misconfigured if a file cannot be written, or the digest is not one. Unavailable.
    """
    known = db.read_now(stored.operator_key)
    wanted = _digest_of(given) if given is not None else None
    if known is not None and wanted in (None, known):
        return known, False
    key = new_secret(OPERATOR_KEY_PREFIX, secrets.token_bytes(32))

    def decide(unit: Unit) -> bytes:
        recorded = stored.operator_key(unit)
        if wanted is None and recorded is not None:
            return recorded
        digest = wanted or _kept_digest(folder)
        if digest is None:
            _keep_key(folder, key)  # before it is recorded: nobody could have it after a crash
            digest = _digest_of(key)
        if digest != recorded:
            stored.record_operator_key(unit, digest)
        return digest

    digest = db.write_now(decide)
    generated = digest == _digest_of(key)
    if generated:
        _tell(folder, key, note)
    elif given is None and known is None:
        note(
            "another node has generated the operator key: it is shown there, or in the file operator.key there"
        )
    return digest, generated


def _digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _kept_digest(folder: Path) -> bytes | None:
    """Return the digest that is kept in a data directory, if there is one. Raises: Misconfigured if it is not one."""
    path = folder / _DIGEST_FILE
    known = path.read_text().strip() if path.exists() else ""
    if not known:
        return None
    if _DIGEST.fullmatch(known) is None:
        raise Misconfigured(
            f"{path} does not hold a SHA-256: restore it from a backup, or delete it to get a new operator key"
        )
    return bytes.fromhex(known)


def _keep_key(folder: Path, key: str) -> None:
    """Write a generated key to its file where no terminal can show it. Raises: Misconfigured."""
    if not sys.stdout.isatty():
        _write(folder / _KEY_FILE, key)


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, text + "\n")
    except OSError as error:
        raise Misconfigured(
            f"the operator key cannot be written to {path.parent}: {error.strerror}"
        ) from error


def _tell(folder: Path, key: str, note: Callable[[str], None]) -> None:
    if sys.stdout.isatty():
        note(f"operator key, shown only once: {key}")
    else:
        note(
            f"operator key, shown only in {folder / _KEY_FILE} (mode 0600): keep it in a safe place, and delete the file"
        )
