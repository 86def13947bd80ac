"""Bodies of the calls for sealed logs."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .base import Strict


class LogKeyRotate(Strict):
    """How many seconds the old key signs as well; without it AEGIS_PROOF_KEY_OVERLAP_DAYS, and 0 after a theft."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=315_360_000)] | UnsetType = UNSET


class LogKeyRotated(msgspec.Struct):
    """The key that signs the checkpoints of a log from now on, and the one before it, as verifiers are given them.

    `log` is null while nothing is sealed; the keys are public keys in hexadecimal then.
    """

    log: str | None
    key: str
    old_key: str
    old_key_until: str
