"""A format for tests: its destination returns verdicts as they are, and its answers only number them.

So a test can make a destination return any verdict that any format can read from an answer.
"""

from collections import Counter

import pytest

from aegis_stream.domain.attempt import Accepted, Answer, Failure, FailureScope, Fault, Response, Verdict
from aegis_stream.formats import REGISTRY, Format

TAKEN = Accepted(200)
REFUSED = Failure(FailureScope.EVENT, "the event is refused for good", 400, permanent=True)
BAD_FOR_NOW = Failure(FailureScope.EVENT, "the event is refused", 400)
DOWN = Failure(FailureScope.DESTINATION, "the destination is down", 502)
FAILED_INSIDE = Failure(
    FailureScope.DESTINATION, "the destination failed inside, perhaps because of one event", 500
)
TOO_LARGE = Failure(FailureScope.EVENT, "the request is too large", 413, permanent=True)
UNJUDGED = Failure(FailureScope.DESTINATION, "not looked at", 400, unjudged=True)


class Spoken:
    """The verdicts of a destination with the format `spoken`.

    Attributes:
        taken: how often each event was accepted.
    """

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self._said: list[Verdict | list[Verdict]] = []

    def say(self, event_ids: list[str], verdicts: Verdict | list[Verdict]) -> Response:
        """Return the answer to a request, with one verdict for all its events or one for each."""
        each = verdicts if isinstance(verdicts, list) else [verdicts] * len(event_ids)
        self.taken.update(
            one for one, verdict in zip(event_ids, each, strict=True) if isinstance(verdict, Accepted)
        )
        self._said.append(verdicts)
        number = b"%d" % (len(self._said) - 1)
        return Response(200 if isinstance(verdicts, Accepted) else 400, number, 5000)

    def register(self, monkeypatch: pytest.MonkeyPatch, **limits: object) -> None:
        """Register the format for the length of a test; events are sent as lines."""
        values = {"encode": REGISTRY["ndjson"].encode, "batches": True, "frame_bytes": 1} | limits
        monkeypatch.setitem(REGISTRY, "spoken", Format("spoken", interpret=self._interpret, **values))

    def _interpret(self, answer: Answer, count: int) -> Verdict | list[Verdict]:
        return DOWN if isinstance(answer, Fault) else self._said[int(answer.body)]
