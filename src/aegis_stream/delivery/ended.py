"""How an attempt may end, as the forwarder is told of it."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from aegis_stream.domain.attempt import Answer, Verdict

from .work import Work


class Judged(msgspec.Struct, gc=False):
    """An attempt that ended: what its answer means, one verdict for all events or one for each.

    Args:
        answer: None where nothing was sent, or the verdict came with a later answer.
    """

    work: Work
    verdicts: Verdict | list[Verdict]
    latency_us: int
    answer: Answer | None = None


class Unsent(NamedTuple):
    """Work that was not sent, or of which nothing is known: nothing has failed, and it must be sent.

    Without any work: an attempt goes on, and there is room for another one.

    Args:
        reason: the limit of our own that it waited for; None when it is none.
    """

    works: Sequence[Work]
    reason: str | None = None


class Bug(NamedTuple):
    """An attempt that ended by an error that must not happen."""

    error: Exception


Ended = Judged | Unsent | Bug
