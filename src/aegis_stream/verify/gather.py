"""The first reading of the exports: puts aside the checkpoint events, their notes, and the events that announce keys."""

from __future__ import annotations

from typing import Dict, Iterable, List, NamedTuple, Set, Tuple

from .content import Unreadable
from .ed25519 import PUBLIC_KEY_BYTES
from .fields import ADMIN_DATASET, OWN_DATASETS, field, text_of
from .manifest import is_checkpoint, part_of, spelled
from .note import Malformed, Note, read_key, read_note
from .parts import Parts
from .proven import read_values
from .read import Export, Line
from .shapes import Candidates, events_of
from .tree import leaf_of

KEY_EVENTS_MAX = 10_000
LOGS_MAX = 1_000
NOTES_MAX = 4_000_000
_OWN = OWN_DATASETS.decode()
_KEY_ACTIONS = ("proof_key_create", "proof_key_rotate")
_ERASED = "event_erase"
ERASURES_MAX = 1_000_000


class KeyEvent(NamedTuple):
    """An event of the log that announces a key.

    Args:
        candidates: the event, to look up whether it is in the log.
        organization: organization.id.
        before, after: the public keys that it names, of 32 bytes.
    """

    candidates: Candidates
    organization: str
    before: Tuple[bytes, ...]
    after: Tuple[bytes, ...]


class Gathered:
    """What the first reading found.

    Args:
        parts: checkpoint events by organization.
        notes: notes by origin, each once.
        key_events: events that announce keys.
        erasures: events that say that another one was erased.
        broken: checkpoint events that cannot be read.
    """

    def __init__(self) -> None:
        self.parts: Dict[str, Parts] = {}
        self.notes: Dict[str, List[Note]] = {}
        self.key_events: List[KeyEvent] = []
        self.erasures: List[Candidates] = []
        self.broken = 0
        self.count = 0
        self._known: Set[Note] = set()

    def add_note(self, note: Note) -> None:
        """Keep a note of the export."""
        if note in self._known or self.count >= NOTES_MAX:
            return
        if note.origin not in self.notes and len(self.notes) >= LOGS_MAX:
            return
        self._known.add(note)
        self.count += 1
        self.notes.setdefault(note.origin, []).append(note)


def organization_of(origin: str) -> str:
    """Return the organization of a log: the end of its origin, without the sequence at which it begins."""
    return origin.rpartition("/")[2].partition("@")[0]


def base_of(origin: str) -> int:
    """Return the sequence of a log's first event: 1, or what stands behind the @."""
    _, sign, first = origin.rpartition("/")[2].partition("@")
    return int(first) if sign and first.isascii() and first.isdigit() and 0 < len(first) <= 13 else 1


def gather(exports: Iterable[Export]) -> Gathered:
    """Read the exports once. Lines that cannot be read are passed over; the second reading reports them."""
    gathered = Gathered()
    for export in exports:
        for line in export.lines():
            if OWN_DATASETS in line.text:
                _look_at(line, gathered)
    return gathered


def _look_at(line: Line, gathered: Gathered) -> None:
    try:
        for candidates in events_of(line.text.decode()):
            if any(one.value is not None or _OWN in one.text for one in candidates):
                _sort(candidates, gathered)
    except (Unreadable, UnicodeDecodeError):
        return


def _sort(candidates: Candidates, gathered: Gathered) -> None:
    for _, value in read_values(candidates):
        action = text_of(value, "event", "action")
        if is_checkpoint(value):
            _put_aside(value, candidates, gathered)
        elif text_of(value, "event", "dataset") == ADMIN_DATASET and action in _KEY_ACTIONS:
            if len(gathered.key_events) < KEY_EVENTS_MAX:
                gathered.key_events.append(_key_event(value, candidates))
        elif text_of(value, "event", "dataset") == ADMIN_DATASET and action == _ERASED:
            if len(gathered.erasures) < ERASURES_MAX:
                gathered.erasures.append(candidates)
        else:
            continue
        return


def _put_aside(value: object, candidates: Candidates, gathered: Gathered) -> None:
    part = part_of(value)
    if part is None:
        gathered.broken += 1
        return
    if part.note:
        try:
            gathered.add_note(read_note(part.note))
        except Malformed:
            gathered.broken += 1
    # Its versions differ in what a format does not keep, such as the digits of a time; one of them is the leaf. A version with other
    # hashes vouches for nothing here: whoever alters a checkpoint could keep the true one in event.original.
    same = [(one, read) for one, read in read_values(candidates) if part_of(read) == part]
    texts = {text for one, read in same for text in (one.text.encode(), spelled(read))}
    own = {leaf_of(one) for one in texts if one}
    if part.organization not in gathered.parts:
        if len(gathered.parts) >= LOGS_MAX:
            return
        gathered.parts[part.organization] = Parts()
    gathered.parts[part.organization].add(part, b"".join(sorted(own)))


def _key_event(value: object, candidates: Candidates) -> KeyEvent:
    before, after = (_public_keys(field(value, "aegis", "audit", name)) for name in ("before", "after"))
    return KeyEvent(candidates, text_of(value, "organization", "id"), before, after)


def _public_keys(value: object) -> Tuple[bytes, ...]:
    """Return the keys that are written as `public_key`, in hexadecimal, or as a vkey."""
    if not isinstance(value, dict):
        return ()
    keys = []
    for name, text in value.items():
        try:
            if name == "public_key" and isinstance(text, str) and len(text) == 2 * PUBLIC_KEY_BYTES:
                keys.append(bytes.fromhex(text))
            elif name == "vkey" and isinstance(text, str):
                keys.append(read_key(text).public_key)
        except ValueError:
            continue
    return tuple(dict.fromkeys(keys))  # an event may write one key in both ways
