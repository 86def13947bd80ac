"""Calls that wait until a log is sealed: how many there may be in a process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from aegis_stream.domain.ids import OrganizationNo
from aegis_stream.errors import Limited

WAITING_MAX: Final = 4
"""Most calls that wait for one organization's log in a process."""
ALL_WAITING_MAX: Final = 100
"""Most calls that wait in a process; each looks at its log ten times a second."""


@dataclass(frozen=True, slots=True)
class SealWaits:
    """The calls that wait in this process."""

    _waiting: Counter[OrganizationNo] = field(default_factory=Counter)

    @contextmanager
    def place(self, no: OrganizationNo) -> Iterator[None]:
        """Have a place among those who wait. Raises: Limited when there are too many."""
        if self._waiting[no] >= WAITING_MAX or self._waiting.total() >= ALL_WAITING_MAX:
            raise Limited(
                f"too many calls wait for a seal, at most {WAITING_MAX} for one log and {ALL_WAITING_MAX} for all: wait for their answers",
                code="rate-limited",
            )
        self._waiting[no] += 1
        try:
            yield
        finally:
            self._waiting[no] -= 1
            if not self._waiting[no]:
                del self._waiting[no]
