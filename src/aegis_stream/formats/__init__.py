"""Formats: how events become requests, and what an answer says about each event.

A format is a pair of pure functions. One file per family, one line per format in REGISTRY; `for_url` chooses where the
user asked for "auto".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aegis_stream.domain.attempt import Answer, Request, Verdict

from .plain import encode_array, encode_lines, encode_single
from .status import by_status


@dataclass(frozen=True, slots=True)
class Format:
    """How events travel to one kind of destination.

    Args:
        name: what the user writes as `format`.
        encode: stored bodies → request. Pure; as many bodies as batch_max at most.
        interpret: (answer, number of events) → a verdict for each event, or one verdict for all of them.
        batches: more than one event may travel in a request.
        frame_bytes: bytes that each event adds to the body beside its own.
    """

    name: str
    encode: Callable[[Sequence[bytes]], Request]
    interpret: Callable[[Answer, int], Verdict | list[Verdict]]
    batches: bool
    frame_bytes: int = 0


REGISTRY: dict[str, Format] = {
    one.name: one
    for one in (
        Format("json", encode_single, by_status, batches=False),
        Format("ndjson", encode_lines, by_status, batches=True, frame_bytes=1),
        Format("json_array", encode_array, by_status, batches=True, frame_bytes=1),
    )
}
"""Every format by its name."""

AUTO = "auto"


def resolve(name: str, url: str) -> Format:  # noqa: ARG001 - the URL decides once there are formats bound to paths
    """Return the format to use: the one asked for, or for "auto" the one that suits the URL.

    Raises: KeyError when there is no such format.
    """
    return REGISTRY["json" if name == AUTO else name]
