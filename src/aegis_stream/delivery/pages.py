"""Pages of the log, read once for all destinations of an organization that want the same ones at about the same time."""

import asyncio
from collections import OrderedDict
from functools import partial

from aegis_stream.domain.delivery import Page
from aegis_stream.domain.ids import OrganizationNo
from aegis_stream.ports import EventLog

PAGE_EVENTS_MAX = 1000
"""Events read at once."""
PAGE_BYTES_MAX = 1024 * 1024
"""Bytes of bodies read at once; a destination holds two pages at most."""
PEEK_EVENTS_MAX = 32
"""Most events that are read at once on the event loop: what was appended a moment ago. A read on a thread costs two wake-ups of
a sleeping processor, ten times as much as these few rows."""
PEEK_BYTES_MAX = 64 * 1024
"""Most bytes of several bodies that are read on the event loop."""
PAGES_SHARED_MAX = 32
"""Pages kept so that destinations of one organization read the head of its log once."""


class SharedPages:
    """Reads pages of the log, once for all destinations that want the same ones at about the same time."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._pages: OrderedDict[tuple[OrganizationNo, int, bool], asyncio.Future[Page]] = OrderedDict()
        self._through: dict[
            OrganizationNo, int
        ] = {}  # the newest sequence of each organization that was read

    async def read(self, organization_no: OrganizationNo, first: int, last: int, *, labels: bool) -> Page:
        """Return events from `first` on, at least one and none beyond `last` that was not there when it was read."""
        page = self._shared(organization_no, first, labels=labels)
        if page is not None:
            return page
        key = (organization_no, first, labels)
        reading_now = self._pages.get(key)
        if reading_now is None:
            last = min(last, first + PAGE_EVENTS_MAX - 1)
            reading_now = asyncio.ensure_future(
                self._log.page(organization_no, first, last, bytes_max=PAGE_BYTES_MAX, labels=labels)
            )
            reading_now.add_done_callback(partial(self._note, organization_no))
            self._share(key, reading_now)
        try:
            return await asyncio.shield(reading_now)
        except BaseException:
            self._pages.pop(key, None)
            raise

    def peek(self, organization_no: OrganizationNo, first: int, last: int, *, labels: bool) -> Page | None:
        """Return events from `first` on, as `read` does, but at once; None where they must be read."""
        page = self._shared(organization_no, first, labels=labels)
        if page is not None:
            return page
        key = (organization_no, first, labels)
        if key in self._pages:
            return None  # it is being read
        last = min(last, first + PEEK_EVENTS_MAX - 1)
        page = self._log.peek(organization_no, first, last, bytes_max=PEEK_BYTES_MAX, labels=labels)
        if page is not None:
            read: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
            read.set_result(page)
            self._share(key, read)
            self._note(organization_no, read)
        return page

    def _shared(self, organization_no: OrganizationNo, first: int, *, labels: bool) -> Page | None:
        """Return what is known from `first` on, if anything is."""
        if first > self._through.get(organization_no, 0):
            return None  # new events, as most of the time
        for (no, start, labelled), reading in reversed(self._pages.items()):
            if no != organization_no or start > first or (labels and not labelled) or not _is_read(reading):
                continue
            page = reading.result()
            skip = first - start
            if skip < len(page.bodies):
                return (
                    Page(first, page.bodies[skip:], page.labels[skip:] if page.labels is not None else None)
                    if skip
                    else page
                )
        return None

    def _share(self, key: tuple[OrganizationNo, int, bool], reading: "asyncio.Future[Page]") -> None:
        self._pages[key] = reading
        while len(self._pages) > PAGES_SHARED_MAX:
            self._pages.popitem(last=False)

    def _note(self, organization_no: OrganizationNo, reading: "asyncio.Future[Page]") -> None:
        if _is_read(reading):
            page = reading.result()
            last = page.first + len(page.bodies) - 1
            self._through[organization_no] = max(last, self._through.get(organization_no, 0))

    def forget(self, organization_no: OrganizationNo, through: int) -> None:
        """Let go of pages that lie wholly at or below a sequence that every destination here has taken."""
        for key in [
            key for key, reading in self._pages.items() if key[0] == organization_no and _is_read(reading)
        ]:
            if key[1] + len(self._pages[key].result().bodies) - 1 <= through:
                del self._pages[key]


def _is_read(reading: "asyncio.Future[Page]") -> bool:
    return reading.done() and not reading.cancelled() and reading.exception() is None
