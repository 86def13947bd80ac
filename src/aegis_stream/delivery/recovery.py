"""When a destination that is well again gets its dead letters back by itself: pure, the sister of `Pacing`.

Dead letters about the destination become pending when an attempt succeeds after failures. At most AUTO_REDRIVE_MAX of them do
so with one settlement, so one redrive may take several; and between two redrives there is a pause.
"""

import math
from dataclasses import dataclass

from aegis_stream.domain.delivery import AUTO_REDRIVE_MAX
from aegis_stream.domain.ids import Micros

REDRIVE_PAUSE_S = 60.0
"""Shortest time between two automatic redrives of a destination, seconds, so that a flapping one is not flooded."""


@dataclass(slots=True)
class Recovery:
    """Decides for one destination; has no clock. Times in seconds are those of the event loop.

    Args:
        enabled: it may redrive at all.
        ailing: the newest attempt failed, so the next success is a recovery.
        is_owed: a redrive is due when the pause since the last one is over.
    """

    enabled: bool
    ailing: bool
    is_owed: bool = False
    _begun_at_s: float = -math.inf
    _died_by: Micros | None = None
    _left: int = 0

    @property
    def due_at_s(self) -> float | None:
        """When the redrive that is owed may begin; None when none is owed."""
        return self._begun_at_s + REDRIVE_PAUSE_S if self.is_owed else None

    @property
    def under_way(self) -> bool:
        """True while a redrive needs further settlements."""
        return self._died_by is not None

    def begin(self, died: int, *, now: Micros, now_s: float) -> bool:
        """Begin a redrive, or remember that one is owed while the pause lasts.

        Args:
            died: dead letters there are.
            now: those that are dead by now are redriven.
        Returns: whether a settlement has to carry it to the store.
        """
        self.is_owed = now_s - self._begun_at_s < REDRIVE_PAUSE_S
        if not self.enabled or not died or self.is_owed:
            return False
        self._left, self._died_by, self._begun_at_s = died, now, now_s
        return True

    def take(self) -> Micros | None:
        """Return by when dead letters of the next settlement's part must have died; None when no redrive is under way."""
        died_by = self._died_by
        if died_by is not None:
            self._left -= AUTO_REDRIVE_MAX
            if self._left <= 0:
                self._died_by = None
        return died_by
