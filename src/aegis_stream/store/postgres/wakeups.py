"""Wake-ups between the nodes on one database: NOTIFY after the commit, from a connection of its own.

A NOTIFY inside the transaction of an append would hold a lock of the whole server over its commit, so that commits follow one by
one. Here it is a transaction without a row, after the commit, at most one each RING_S. The processes of one machine wake each other
through their sockets as well, which is faster. A wake-up may be lost: workers also look at the database several times a second.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg

from aegis_stream.domain.ids import OrganizationNo
from aegis_stream.ports import Random
from aegis_stream.settings.database_url import DatabaseUrl
from aegis_stream.store.local_wakeups import WakeListener, WakeNotifier
from aegis_stream.store.nodes import node_of_directory

from .connect import Session

CHANNEL = "aegis_wake"
RING_S = 0.005
"""Shortest time between two notifications of a process, seconds; what is told meanwhile goes into the next one."""
RETRY_S = 1.0
"""Pause before another connection is tried, seconds."""
PAYLOAD_BYTES_MAX = 7000
"""Longest payload; the server's limit is 8000 bytes."""
WAIT_S = 60.0
"""How long the thread of a listener waits at once, seconds; to be closed it is woken."""
CLOSE_S = 2.0
"""How long the end of a process waits for a thread, seconds."""


class NodeNotifier:
    """The sending side (port Notifier): wakes the workers of this machine by their sockets, those of others by the database.

    Args:
        url: where the database is.
        folder: where the workers of this machine listen.
    """

    def __init__(self, url: DatabaseUrl, folder: Path, random: Random) -> None:
        self._local = WakeNotifier(folder)
        self._url = url
        self._node = node_of_directory(folder, random)
        self._heads: dict[int, int] = {}  # filled on the event loop, replaced by the thread
        self._told = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def notify(self, organization_no: OrganizationNo, head: int) -> None:
        """Tell that a log has grown to `head`."""
        self._local.notify(organization_no, head)
        self._tell(organization_no, head)

    def notify_changes(self) -> None:
        """Tell that destinations changed."""
        self._local.notify_changes()
        self._tell(0, 0)

    def close(self) -> None:
        """Send what was told, for a moment at most, and close the connection."""
        self._closing.set()
        self._told.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        self._local.close()

    def _tell(self, organization_no: int, head: int) -> None:
        self._heads[organization_no] = head
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="store-notify", daemon=True)
            with contextlib.suppress(
                RuntimeError
            ):  # the machine has no thread to give; the next call asks again
                thread.start()
                self._thread = thread
        self._told.set()

    def _run(self) -> None:
        """Body of the thread: send again and again; what cannot be sent is lost, and found by a look."""
        while not self._closing.is_set():
            try:
                with Session(self._url) as session:
                    self._send_all(session)
            except psycopg.Error:
                self._closing.wait(RETRY_S)

    def _send_all(self, session: Session) -> None:
        while self._told.wait():
            self._told.clear()
            heads, self._heads = self._heads, {}
            for payload in payloads(self._node, heads):
                session.cursor.execute("SELECT pg_notify($1, $2)", (CHANNEL, payload))
            if self._closing.is_set():
                return
            time.sleep(RING_S)


class NodeListener:
    """The listening side of a worker: its own socket, and the database for what other machines tell.

    Args:
        url: where the database is, without a pooler in between: one passes on no notifications.
        on_wake: called on the event loop with organization and head; (0, 0) when destinations changed.
    Raises: Unavailable when no descriptor is free.
    """

    def __init__(
        self,
        url: DatabaseUrl,
        folder: Path,
        worker_id: str,
        on_wake: Callable[[int, int], None],
        random: Random,
    ) -> None:
        self._local = WakeListener(folder, worker_id, on_wake)
        self._url = url
        self._node = node_of_directory(folder, random)
        self._on_wake = on_wake
        self._loop = asyncio.get_running_loop()
        self._closing = threading.Event()
        self._session: Session | None = None
        self._hears = False
        thread = threading.Thread(target=self._run, name="store-listen", daemon=True)
        with contextlib.suppress(
            RuntimeError
        ):  # the machine has no thread to give: looks at the database will do
            thread.start()

    @property
    def hears(self) -> bool:
        """Whether other machines can wake this worker at the moment; else it must look more often."""
        return self._hears

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        if self._session is not None:
            self._session.cut()
        self._local.close()

    def _run(self) -> None:
        """Body of the thread: listen again and again, unless a pooler is in between."""
        while not self._closing.is_set():
            try:
                with Session(self._url) as session:
                    if session.pooled:
                        return
                    self._session = session
                    self._listen(session)
            except psycopg.Error:
                self._hears = False
                self._closing.wait(RETRY_S)
        self._hears = False

    def _listen(self, session: Session) -> None:
        session.exec(f"LISTEN {CHANNEL}")
        self._hears = True
        while not self._closing.is_set():
            for one in session.raw.notifies(timeout=WAIT_S, stop_after=1):
                told = heads_of(one.payload, but=self._node)
                if told:
                    with contextlib.suppress(RuntimeError):  # the event loop has ended
                        self._loop.call_soon_threadsafe(self._wake, told)

    def _wake(self, told: Mapping[int, int]) -> None:
        if not self._closing.is_set():
            for organization_no, head in told.items():
                self._on_wake(organization_no, head)


def payloads(node: str, heads: Mapping[int, int]) -> Iterator[str]:
    """Yield texts that tell these heads, each within the limit: `node organization:head organization:head …`."""
    text = node
    for organization_no, head in heads.items():
        pair = f" {organization_no}:{head}"
        if len(text) + len(pair) > PAYLOAD_BYTES_MAX:
            yield text
            text = node
        text += pair
    if heads:
        yield text


def heads_of(payload: str, but: str) -> dict[int, int]:
    """Return what a text tells; nothing when it comes from the node `but`, or is not one of ours."""
    node, *pairs = payload.split(" ")
    if node == but:
        return {}
    try:
        return {int(no): int(head) for no, head in (pair.split(":") for pair in pairs)}
    except ValueError:
        return {}
