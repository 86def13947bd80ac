"""Keeps what failed attempts were answered, for people: the first of many failures alike, without our secrets.

Cutting the secrets out takes up to a tenth of a second, so it is done on a thread in small steps, and rarely: an outage with
a hundred thousand failures keeps one answer an hour.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Protocol

from aegis_stream.domain.attempt import Answer, Failure, Response
from aegis_stream.domain.delivery import KeptAnswer, ShownAnswer
from aegis_stream.domain.destination import Destination, DestinationSpec
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.rate import Buckets, Rate

AGAIN_S = 3600
"""A failure with the same status and message is kept again after this, seconds."""
OF_ONE = Rate(4, 120)
"""Answers that are kept of one destination: a receiver may say something else each time."""
OF_ORGANIZATION = Rate(8, 80)
"""Answers that a worker keeps of one organization. Failures without one are not counted: there is nothing to cut out of them."""
OF_ALL = Rate(32, 80)
"""Answers that a worker keeps of all organizations, so that one with many receivers takes no place of another's.

Cutting the secrets out of so many costs at most 4 % of a core, and about 12 seconds pass until the last of 32 at once is kept.
"""
RANGES_CHARACTERS_MAX = 2000
"""Longest list of the events of a request that is kept; a longer one is not."""


Redact = Callable[[Response, DestinationSpec, list[str]], ShownAnswer]
"""Cuts out of an answer what is secret, the tokens that were sent included; runs on a thread."""


class Keeping(Protocol):
    """Takes an answer that is to be kept."""

    def keep(self, answer: KeptAnswer) -> None:
        """Have an answer stored with the next settlement."""
        ...


class AnswerKeeper:
    """Decides which answers of a worker's attempts are kept, and hands them on without secrets.

    Args:
        bearers_of: destination → the tokens that its requests carry.
        spawn: starts a task in the worker's task group.
    """

    __slots__ = (
        "_again",
        "_bearers_of",
        "_of_all",
        "_of_one",
        "_of_organization",
        "_redact",
        "_spawn",
        "_threads",
    )

    def __init__(
        self,
        redact: Redact,
        bearers_of: Callable[[Destination], list[str]],
        spawn: Callable[..., Any],
        threads: Executor | None = None,
    ) -> None:
        self._redact = redact
        self._bearers_of = bearers_of
        self._spawn = spawn
        self._threads = threads or ThreadPoolExecutor(1, thread_name_prefix="aegis-answers")
        self._again = Buckets(Rate(1, AGAIN_S))
        self._of_one = Buckets(OF_ONE)
        self._of_organization = Buckets(OF_ORGANIZATION)
        self._of_all = Buckets(OF_ALL)

    def close(self) -> None:
        """Keep no more answers: those that wait for the thread are dropped, and whoever ends the worker waits for none of them."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def failed(
        self,
        destination: Destination,
        sequences: Sequence[int],
        failure: Failure,
        answer: Answer,
        now: Micros,
        to: Keeping,
    ) -> None:
        """Keep the answer to an attempt that failed, if none alike was kept lately. Costs one look where one was.

        Args:
            sequences: of the events of the request.
            now: when the attempt ended, as its rows in the attempt log say.
        """
        alike = (destination.no, failure.status_code, failure.message)
        counted = [(self._again, alike), (self._of_one, destination.no)]
        if isinstance(answer, Response):
            counted += [(self._of_organization, destination.organization_no), (self._of_all, 0)]
        for buckets, key in counted:
            if buckets.wait(key, now):
                return
        for buckets, key in counted:
            buckets.take(key, now)
        first, last = sequences[0], sequences[-1]
        kept = KeptAnswer(
            now, first, last, ranges_of(sequences), failure.status_code, failure.message, "", ""
        )
        if isinstance(answer, Response):
            secrets = destination.spec, self._bearers_of(destination)
            self._spawn(self._redact_and_keep(kept, answer, secrets, to))
        else:
            to.keep(kept)

    async def _redact_and_keep(
        self, kept: KeptAnswer, answer: Response, secrets: tuple[DestinationSpec, list[str]], to: Keeping
    ) -> None:
        """Hand an answer on without secrets. Where that fails nothing is kept: it is only for people to look at."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(Exception):
            shown = await loop.run_in_executor(self._threads, self._redact, answer, *secrets)
            to.keep(kept._replace(headers=shown.headers, excerpt=shown.excerpt))


def ranges_of(sequences: Sequence[int]) -> str:
    """Write sequences as ranges, such as 1-5,8; "" where that is longer than RANGES_CHARACTERS_MAX."""
    parts: list[list[int]] = []
    for sequence in sequences:
        if parts and parts[-1][1] == sequence - 1:
            parts[-1][1] = sequence
        else:
            parts.append([sequence, sequence])
    text = ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in parts)
    return text if len(text) <= RANGES_CHARACTERS_MAX else ""
