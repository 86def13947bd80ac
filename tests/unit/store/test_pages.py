"""Pages of a log, where their parts do not fit each other."""

import json
from typing import Any

import pytest

from aegis_stream.domain.event import checksum
from aegis_stream.store.pages import read_page

BODIES = [json.dumps({"event": {"id": f"e{number}"}}).encode() for number in range(1, 4)]


class Rows:
    """A unit of work on three events, of which retention removes some while a page is read."""

    def __init__(self, removed: int) -> None:
        self.removed = removed

    def bodies(self, _: int, first: int, last: int, bytes_max: int) -> tuple[list[bytes], int, int]:
        """Return the bodies as they were before."""
        found = BODIES[first - 1 : last]
        if len(found) > 1 and sum(map(len, found)) > bytes_max:
            return [], 0, 0
        return found, sum(map(checksum, found)), len(found)

    def rows(self, name: str, values: tuple[int, ...]) -> list[Any]:
        """Return rows as they are afterwards."""
        _, first, last = values
        left = [
            (number, body, checksum(body), "d", "ALLOWED")
            for number, body in enumerate(BODIES, 1)
            if number > self.removed and first <= number <= last
        ]
        return [row[3:] for row in left] if name == "page_labels" else left

    def row(self, _: str, __: tuple[int, ...]) -> tuple[int]:
        """Return the head."""
        return (3,)


@pytest.mark.parametrize("removed", [0, 1, 3])
def test_labels_belong_to_their_bodies_whatever_retention_does_meanwhile(removed):
    """Bodies and labels may be read on two snapshots: an event has its own labels, or is missing as a whole."""
    page = read_page(Rows(removed), 1, (1, 3), 1 << 20, labels=True)

    assert page.bodies == [b""] * removed + BODIES[removed:]
    assert page.labels == [("", None)] * removed + [("d", "ALLOWED")] * (3 - removed)


@pytest.mark.parametrize(("bytes_max", "count"), [(1, 1), (len(BODIES[0]) * 2, 2), (1 << 20, 3)])
def test_a_page_ends_before_its_bytes_are_too_many(bytes_max, count):
    """Half as many events are asked for until they fit; one event always does."""
    page = read_page(Rows(0), 1, (1, 3), bytes_max, labels=False)

    assert page.bodies == BODIES[:count]
