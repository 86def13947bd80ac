"""How far one attempt came, and when: the sender marks what it has passed, whoever asked for the trace reads it afterwards.

Only a test has one. Deliveries pass none, so their path has no more to do than before.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from .ids import Micros


class Stage(enum.StrEnum):
    """What an attempt goes through, in this order."""

    TOKEN = "token"  # noqa: S105 - a token for it was fetched; only with an OAuth2 client
    RESOLVE = "resolve"  # its name has addresses
    GUARD = "guard"  # all of them are allowed
    CONNECT = "connect"  # one of them has accepted a connection
    TLS = "tls"  # its certificate is trusted; only with https
    SEND = "send"  # the request was written
    ANSWER = "answer"  # it was answered, and the answer says that the event is stored


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What is told of a certificate that was trusted.

    Args:
        issuer: who signed it, as it names itself.
        expires_at: microseconds since 1970.
    """

    issuer: str
    expires_at: Micros


class Trace:
    """The stages that one attempt has passed.

    Args:
        clock: microseconds of a clock that nobody sets.
        on_stage: is called at once with each stage that is passed, with each of them once, whatever is sent again. It must not wait.
            Not with ANSWER: only the verdict says whether that is passed.

    Attributes:
        began_at: when it was made, by that clock.
        passed: when each stage was passed for the first time.
        tls_version: such as "TLS 1.3"; "" before the handshake is done.
        certificate: of the peer; None before it was trusted.
        unread: the attempt ended before the peer had read the request.
    """

    __slots__ = ("_clock", "_on_stage", "_told", "began_at", "certificate", "passed", "tls_version", "unread")

    def __init__(self, clock: Callable[[], Micros], on_stage: Callable[[Stage], None] | None = None) -> None:
        self._clock = clock
        self._on_stage = on_stage
        self._told: set[Stage] = set()
        self.began_at = clock()
        self.passed: dict[Stage, Micros] = {}
        self.tls_version = ""
        self.certificate: PeerCertificate | None = None
        self.unread = False

    def mark(self, stage: Stage) -> None:
        """Note that a stage is passed. Only the first time counts: several addresses may be tried at the same time."""
        self.passed.setdefault(stage, self._clock())
        self._tell(stage)

    def restart(self, stage: Stage) -> None:
        """Forget everything, and note that a stage is passed: with another token the request is sent again."""
        self.passed = {stage: self._clock()}
        self.certificate, self.tls_version, self.unread = None, "", False
        self._tell(stage)

    def _tell(self, stage: Stage) -> None:
        if self._on_stage is not None and stage not in self._told and stage is not Stage.ANSWER:
            self._told.add(stage)
            self._on_stage(stage)
