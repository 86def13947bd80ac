"""Signed checkpoints: text that names a log, its size and its root, and the keys that sign it.

A note is read strictly, since its signatures are over its bytes. Limits: 64 KiB of text, 64 signatures.

Source: c2sp.org/signed-note, c2sp.org/tlog-checkpoint and c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import List, NamedTuple, Tuple

from .ed25519 import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, verify
from .tree import HASH_BYTES, SIZE_MAX

NOTE_CHARACTERS_MAX = 64 * 1024
SIGNATURES_MAX = 64
NAME_CHARACTERS_MAX = 1024

SIGNED = 1
"""Type of a signature over the text alone."""
SIGNED_WITH_TIME = 4
"""Type of a cosignature, over the text and a time."""
_KEY_ID_BYTES = 4
_DASH = "\u2014 "


class Malformed(ValueError):
    """A note or key that cannot be read. Its text says why."""


class Key(NamedTuple):
    """A public key, which signs notes under a name.

    Args:
        name: the log's origin.
        public_key: 32 bytes.
        text: as it was given, the vkey.
    """

    name: str
    public_key: bytes
    text: str


class Note(NamedTuple):
    """A checkpoint, not yet checked.

    Args:
        origin: the log's name.
        size: number of leaves.
        root: 32 bytes.
        text: what is signed, with the line feed at its end.
        signatures: name, 4 bytes of key id, and the signature's bytes of each, in order.
    """

    origin: str
    size: int
    root: bytes
    text: str
    signatures: Tuple[Tuple[str, bytes, bytes], ...]


class Opened(NamedTuple):
    """What the signatures of a note say.

    Args:
        keys: the keys that signed it, of those that were asked for.
        wrong: whether a signature claims to be by one of these keys and is not.
        time_s: when it was made, by the cosignature, in seconds since 1970; None if there is none.
    """

    keys: Tuple[Key, ...]
    wrong: bool
    time_s: int | None


def key_id(name: str, kind: int, public_key: bytes) -> bytes:
    """Return the 4 bytes by which a signature names its key."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public_key).digest()[:_KEY_ID_BYTES]


def key_of(name: str, public_key: bytes) -> Key:
    """Return the key that signs notes under a name, with its vkey."""
    data = b64encode(bytes([SIGNED]) + public_key).decode()
    return Key(name, public_key, f"{name}+{key_id(name, SIGNED, public_key).hex()}+{data}")


def read_key(text: str) -> Key:
    """Return the key of a vkey: `name+hash+base64`, of type 1 or 4.

    Raises: Malformed if it is none, if its hash is wrong, or if it is of a type that is not supported.
    """
    name, plus, rest = text.strip().partition("+")
    hash_text, second_plus, data_text = rest.partition("+")
    if not plus or not second_plus:
        raise Malformed("is not a verifier key: it has the form name+hash+key")
    _check_name(name)
    data = _base64(data_text)
    if len(data) != 1 + PUBLIC_KEY_BYTES or data[0] not in (SIGNED, SIGNED_WITH_TIME):
        raise Malformed("is a verifier key of a type that is not supported: Ed25519 has type 1 or 4")
    if hash_text != key_id(name, data[0], data[1:]).hex():
        raise Malformed("is a verifier key whose hash does not fit: copy it again")
    return Key(name, data[1:], text.strip())


def read_note(text: str) -> Note:
    """Return the checkpoint in this text.

    Raises: Malformed if it is none.
    """
    if len(text) > NOTE_CHARACTERS_MAX:
        raise Malformed(f"is longer than {NOTE_CHARACTERS_MAX} characters")
    body, blank, signature_lines = text.rpartition("\n\n")
    if not blank or not signature_lines.endswith("\n"):
        raise Malformed("has no signatures after an empty line")
    if any(sign < " " and sign != "\n" for sign in text) or "\ufffd" in text:
        raise Malformed("has control characters")
    lines = body.split("\n")
    if len(lines) < 3 or not all(lines[:3]):
        raise Malformed("has fewer lines than a checkpoint: origin, size and root")
    _check_origin(lines[0])
    size = _size(lines[1])
    root = _base64(lines[2])
    if len(root) != HASH_BYTES:
        raise Malformed("has a root that is not 32 bytes long")
    if "" in lines[3:]:
        raise Malformed("has an empty extension line")
    signatures = tuple(_signature(line) for line in _lines_of(signature_lines))
    return Note(lines[0], size, root, body + "\n", signatures)


def open_note(note: Note, keys: List[Key]) -> Opened:
    """Check the signatures of a note by these keys; others are passed over.

    Two keys with the same name and id are one another's namesakes: a signature is right if one of them made it.
    """
    found: List[Key] = []
    wrong, time_s = False, None
    for name, signer, data in note.signatures:
        for kind, length in ((SIGNED, SIGNATURE_BYTES), (SIGNED_WITH_TIME, 8 + SIGNATURE_BYTES)):
            named = [one for one in keys if one.name == name and key_id(name, kind, one.public_key) == signer]
            if not named:
                continue
            message = note.text if kind == SIGNED else _timed(note.text, data)
            right = [
                one
                for one in named
                if len(data) == length
                and verify(one.public_key, message.encode(), data[length - SIGNATURE_BYTES :])
            ]
            wrong = wrong or not right
            found += [one for one in right if one not in found]
            if right and kind == SIGNED_WITH_TIME:
                time_s = max(time_s or 0, int.from_bytes(data[:8], "big"))
    return Opened(tuple(found), wrong, time_s)


def _timed(text: str, data: bytes) -> str:
    return f"cosignature/v1\ntime {int.from_bytes(data[:8], 'big')}\n{text}"


def _lines_of(text: str) -> List[str]:
    lines = text[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise Malformed(f"has more than {SIGNATURES_MAX} signatures")
    return lines


def _signature(line: str) -> Tuple[str, bytes, bytes]:
    if not line.startswith(_DASH):
        raise Malformed("has a line among its signatures that is none")
    name, space, text = line[len(_DASH) :].partition(" ")
    if not space:
        raise Malformed("has a line among its signatures that is none")
    _check_name(name)
    data = _base64(text)
    if len(data) <= _KEY_ID_BYTES:
        raise Malformed("has a signature that is too short")
    return name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:]


def _check_name(name: str) -> None:
    if not name or len(name) > NAME_CHARACTERS_MAX or "+" in name or any(one.isspace() for one in name):
        raise Malformed("has a key name that is empty, too long, or has a space or a plus")


def _check_origin(origin: str) -> None:
    if len(origin) > NAME_CHARACTERS_MAX:
        raise Malformed(f"has an origin of more than {NAME_CHARACTERS_MAX} characters")


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 16 or (text[0] == "0" and text != "0"):
        raise Malformed("has a size that is not a decimal number")
    size = int(text)
    if size > SIZE_MAX:
        raise Malformed(f"has a size above {SIZE_MAX}")
    return size


def _base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("has a part that is not base64") from error
