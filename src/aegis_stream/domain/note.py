"""Signed notes, verifier keys, checkpoints and proofs as texts: the formats that public verifiers of transparency logs read.

A checkpoint says: the log `origin` has `size` leaves and this root. A signed note is a text with signature lines. Two kinds of Ed25519
signature are known: PLAIN over the text, and TIMED, which carries the second at which it was made. Other lines are kept and ignored.

Nothing here holds a private key or knows how Ed25519 is computed: callers pass `Sign` and `Check`.

Source: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature, c2sp.org/tlog-proof@v1.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple

from aegis_stream.errors import Invalid, Malformed, TooLarge

from .merkle import HASH_BYTES, SIZE_MAX
from .merkle_proof import HASHES_MAX

Sign = Callable[[bytes], bytes]
"""Message → Ed25519 signature of 64 bytes."""
Check = Callable[[bytes, bytes, bytes], bool]
"""(public key, signature, message) → whether it is the key's signature of the message. Raises nothing."""

NOTE_BYTES_MAX = 64 * 1024
"""Largest signed note that is read."""
SIGNATURES_MAX = 64
"""Most signature lines of a note that is read; the format asks for at least 16."""
VERIFIER_KEY_CHARACTERS_MAX = 1024
"""Longest verifier key that is read."""
EXTRA_BYTES_MAX = 4096
"""Most extra data of a proof that is read."""
PUBLIC_KEY_BYTES, SIGNATURE_BYTES = 32, 64
_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_TIME_MAX = (1 << 63) - 1
_DASH = "\u2014 "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NOT_IN_NAMES = re.compile(r"[\s+]")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_PROOF_HEAD = "c2sp.org/tlog-proof@v1"


class Kind(IntEnum):
    """What a signature is over, as the byte that the format assigns to it."""

    PLAIN = 0x01
    TIMED = 0x04


class VerifierKey(NamedTuple):
    """A public key with a name, as `name+id+key` is written.

    Args:
        name: neither empty nor with a space or a plus in it.
        public: Ed25519, PUBLIC_KEY_BYTES.
    """

    name: str
    kind: Kind
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature line refers to the key: a hint, not a fingerprint."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:_KEY_ID_BYTES]

    @property
    def text(self) -> str:
        """The key as people and programs pass it on."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(bytes([self.kind]) + self.public)}"


class Signature(NamedTuple):
    """One signature line of a note.

    Args:
        key_id: of the key that is said to have made it.
        value: the signature's bytes, whatever its kind.
    """

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        """The line, with its newline."""
        return f"{_DASH}{self.name} {_base64(self.key_id + self.value)}\n"


class Signed(NamedTuple):
    """A signature that was checked, and holds.

    Args:
        at_s: seconds since 1970 that a TIMED signature carries; None for a PLAIN one.
    """

    key: VerifierKey
    at_s: int | None


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the signatures under it.

    Args:
        text: ends with a newline.
    """

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(one.line for one in self.signatures)}"

    def signed_by(self, keys: Iterable[VerifierKey], check: Check) -> tuple[Signed, ...]:
        """Return the signatures of known keys, all of which hold. Unknown keys are ignored.

        Raises: Invalid when one line names a known key, by name and id, and is not its signature: then nothing in the note counts.
        """
        known = {(key.name, key.key_id): key for key in keys}
        found = []
        for one in self.signatures:
            key = known.get((one.name, one.key_id))
            if key is None:
                continue
            signed = _checked(key, one.value, self.text, check)
            if signed is None:
                raise Invalid(f"the note's signature by {key.name}+{key.key_id.hex()} is not that key's")
            found.append(signed)
        return tuple(found)


class Checkpoint(NamedTuple):
    """What a log says of itself.

    Args:
        origin: the log's name; one line.
        size: its leaves, 0 to SIZE_MAX.
        root: of the tree of that size, HASH_BYTES.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


class LogProof(NamedTuple):
    """That a leaf is in a log, in one text that can be checked without the log.

    Args:
        leaf_index: of the leaf, from 0.
        hashes: the inclusion proof in the tree of the checkpoint.
        note: the signed checkpoint.
        extra: data that nobody vouches for; None for none.
    """

    leaf_index: int
    hashes: tuple[bytes, ...]
    note: Note
    extra: bytes | None = None

    @property
    def text(self) -> str:
        """The proof as a file of the type .tlog-proof."""
        extra = [] if self.extra is None else [f"extra {_base64(self.extra)}"]
        lines = [_PROOF_HEAD, *extra, f"index {self.leaf_index}", *map(_base64, self.hashes), "", ""]
        return "\n".join(lines) + str(self.note)


def sign_plain(text: str, key: VerifierKey, sign: Sign) -> Signature:
    """Sign a note's text with a key of kind PLAIN."""
    assert key.kind is Kind.PLAIN, "each kind has an id of its own"
    return Signature(key.name, key.key_id, sign(text.encode()))


def sign_timed(text: str, key: VerifierKey, at_s: int, sign: Sign) -> Signature:
    """Sign a checkpoint's text with a key of kind TIMED.

    Args:
        at_s: seconds since 1970.
    """
    assert key.kind is Kind.TIMED, "each kind has an id of its own"
    return Signature(
        key.name, key.key_id, at_s.to_bytes(_TIME_BYTES, "big") + sign(_timed_message(text, at_s))
    )


def parse_verifier_key(text: str) -> VerifierKey:
    """Read a verifier key. Raises: Invalid, with what is wrong."""
    parts = text.strip().split("+", 2) if len(text) <= VERIFIER_KEY_CHARACTERS_MAX else []
    if len(parts) != 3:
        raise Invalid("a verifier key is written name+id+key, with two plus signs")
    name, key_id, encoded = parts
    _check_name(name)
    material = _from_base64(encoded, "the verifier key's last part")
    if not material or material[0] not in tuple(Kind):
        raise Invalid("the verifier key is of a kind that is not supported: only Ed25519 keys (1 and 4) are")
    if len(material) != 1 + PUBLIC_KEY_BYTES:
        raise Invalid(f"the verifier key has {len(material) - 1} bytes, and an Ed25519 key has 32")
    key = VerifierKey(name, Kind(material[0]), material[1:])
    if key.key_id.hex() != key_id:
        raise Invalid(f"the verifier key's id is {key.key_id.hex()}, not what it says: it was cut or changed")
    return key


def parse_note(data: bytes | str) -> Note:
    """Read a signed note.

    Raises: TooLarge beyond NOTE_BYTES_MAX or SIGNATURES_MAX. Malformed when it is not one; no part of it is repaired.
    """
    text = _text(data, "a note")
    body, separator, lines = text.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise Malformed("a signed note has an empty line before its signatures, and ends with a newline")
    rows = lines[:-1].split("\n")
    if len(rows) > SIGNATURES_MAX:
        raise TooLarge(f"a note has {len(rows)} signature lines; the limit is {SIGNATURES_MAX}")
    return Note(body + "\n", tuple(_signature(row) for row in rows))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint; further lines are allowed, and ignored. Raises: Malformed."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise Malformed("a checkpoint is three lines, or more, none of them empty: origin, size, root")
    origin, size, root = lines[:3]
    number = _decimal(size, "a checkpoint's size")
    if number > SIZE_MAX:
        raise Malformed(f"a checkpoint's size is at most {SIZE_MAX}")
    return Checkpoint(origin, number, _hash(root, "a checkpoint's root"))


def parse_log_proof(data: bytes | str) -> LogProof:
    """Read a proof that stands alone. Raises: TooLarge, Malformed."""
    text = _text(data, "a proof")
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines.pop(0) != _PROOF_HEAD:
        raise Malformed(
            f"a proof begins with the line {_PROOF_HEAD}, and has a checkpoint after an empty line"
        )
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _from_base64(lines.pop(0).removeprefix("extra "), "the proof's extra data")
        if len(extra) > EXTRA_BYTES_MAX:
            raise TooLarge(f"a proof's extra data has {len(extra)} bytes; the limit is {EXTRA_BYTES_MAX}")
    if not lines or not lines[0].startswith("index "):
        raise Malformed("a proof's index is missing")
    index = _decimal(lines.pop(0).removeprefix("index "), "a proof's index")
    if len(lines) > HASHES_MAX:
        raise Malformed(f"a proof has {len(lines)} hashes; at most {HASHES_MAX} can be needed")
    return LogProof(index, tuple(_hash(line, "a proof's hash") for line in lines), parse_note(note), extra)


def _checked(key: VerifierKey, value: bytes, text: str, check: Check) -> Signed | None:
    """Return a signature that holds, or None."""
    if key.kind is Kind.PLAIN:
        holds = len(value) == SIGNATURE_BYTES and check(key.public, value, text.encode())
        return Signed(key, None) if holds else None
    at_s = int.from_bytes(value[:_TIME_BYTES], "big")
    if len(value) != _TIME_BYTES + SIGNATURE_BYTES or at_s > _TIME_MAX:
        return None
    holds = check(key.public, value[_TIME_BYTES:], _timed_message(text, at_s))
    return Signed(key, at_s) if holds else None


def _timed_message(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def _signature(row: str) -> Signature:
    name, separator, encoded = row.removeprefix(_DASH).partition(" ")
    if not row.startswith(_DASH) or not separator:
        raise Malformed("a signature line is written: dash, space, name, space, signature")
    _check_name(name)
    value = _from_base64(encoded, "a signature")
    if len(value) <= _KEY_ID_BYTES:
        raise Malformed("a signature is longer than the id of its key")
    return Signature(name, value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])


def _check_name(name: str) -> None:
    if not name or _NOT_IN_NAMES.search(name):
        raise Malformed("the name of a key is neither empty nor has spaces or plus signs")


def _text(data: bytes | str, what: str) -> str:
    if len(data) > NOTE_BYTES_MAX:
        raise TooLarge(f"{what} has {len(data)} bytes; the limit is {NOTE_BYTES_MAX}")
    try:
        text = data.decode() if isinstance(data, bytes) else data.encode().decode()
    except UnicodeError:
        raise Malformed(f"{what} is not UTF-8") from None
    if _CONTROL.search(text):
        raise Malformed(f"{what} has a control character: only newlines are allowed")
    return text


def _decimal(text: str, what: str) -> int:
    if not _DECIMAL.fullmatch(text):
        raise Malformed(f"{what} is a decimal number without leading zeros")
    return int(text)


def _hash(text: str, what: str) -> bytes:
    value = _from_base64(text, what)
    if len(value) != HASH_BYTES:
        raise Malformed(f"{what} has {len(value)} bytes, and a hash has {HASH_BYTES}")
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _from_base64(text: str, what: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        value = b""
    # One value has one spelling: bits that nobody reads must not make two notes of one.
    if not text or _base64(value) != text:
        raise Malformed(f"{what} is not base64 (RFC 4648 section 4)")
    return value
