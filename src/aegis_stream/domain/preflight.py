"""Preflight decisions: which keys and types their `aegis` object may have. `private_text` searches its texts."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from .decode_errors import describe
from .event import PREFLIGHT_DATASET, Rejection

Decision = Literal["ALLOWED", "ALLOWED_WITH_MASKING", "BLOCKED"]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A count that fits the integers of every destination."""


class Preflight(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The `aegis` object of a preflight decision: counts of findings, never the values found.

    Unknown keys are rejected, and all texts are searched for values, so that no finding gets in by accident.
    """

    decision: Decision
    preflight_id: str | UnsetType = UNSET
    destination: Literal["AI_TOOL", "VENDOR", "CUSTOMER"] | UnsetType = UNSET
    summary: str | None | UnsetType = UNSET
    policy_version: str | None | UnsetType = UNSET
    policy_id: str | None | UnsetType = UNSET
    source_type: str | None | UnsetType = UNSET
    input_type: str | None | UnsetType = UNSET
    input_size_bytes: Count | None | UnsetType = UNSET
    finding_counts_by_type: dict[str, Count] | UnsetType = UNSET
    actor_id: str | None | UnsetType = UNSET


_decode_preflight = msgspec.json.Decoder(Preflight).decode


def parse_preflight(aegis: Raw | UnsetType) -> Preflight | Rejection:
    """Decode the `aegis` object of a preflight event: known keys with the right types, nothing else."""
    if aegis is UNSET:
        return Rejection(
            None,
            "aegis",
            f"is missing: an event of dataset {PREFLIGHT_DATASET} needs it, with aegis.decision",
        )
    try:
        return _decode_preflight(aegis)
    except (msgspec.DecodeError, RecursionError) as error:
        return describe(error, "aegis")
