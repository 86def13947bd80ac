"""What an auditor asks for: keys, kept checkpoints, and how strong the evidence must be."""

from __future__ import annotations

from typing import NamedTuple, Tuple

from .chain import Kept
from .note import Key
from .proven import CONTENT

KEPT = "kept"
"""Source of a checkpoint that the auditor gave by itself; for others it is the name of an export."""


class Demands(NamedTuple):
    """What the auditor asks for.

    Args:
        keys: the keys that are trusted; () trusts those that the export itself announces, and says so.
        kept: checkpoints that the log must agree with.
        organization: the only one that is looked at, "" for all.
        from_sequence: where the auditor expects the range to begin, 0 if anywhere will do.
        max_age_s: oldest that the last checkpoint may be, 0 if any age will do.
        accept: weakest evidence that is accepted: exact, content or id.
        now_s: seconds since 1970.
    """

    keys: Tuple[Key, ...] = ()
    kept: Tuple[Kept, ...] = ()
    organization: str = ""
    from_sequence: int = 0
    max_age_s: int = 0
    accept: str = CONTENT
    now_s: int = 0
