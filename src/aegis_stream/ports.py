"""What the pipeline needs of the world, declared for its callers; `store` and `sender` provide it."""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from typing import Any, NamedTuple, Protocol

import msgspec

from .domain.attempt import Answer, Request, RetryPolicy
from .domain.delivery import Claimed, DestinationKey, DueRetry, Lease, Outstanding, Page, Settled, Settlement
from .domain.destination import Destination
from .domain.endpoint import Route
from .domain.event import NewEvent
from .domain.ids import DestinationNo, Micros, OrganizationNo, WorkerId
from .domain.trace import Trace


class Appended(msgspec.Struct, frozen=True, gc=False):
    """What became of events that were appended together. Not a named tuple: one is made for each request, at three times the cost.

    Args:
        first: sequence of the first new one; the other new ones follow without holes.
        added: how many were new.
        head: the organization's newest sequence afterwards.
        duplicates: index in the call → sequence of the event that was there already, with the same body.
        conflicts: index in the call → sequence of the event that has this id and another body.
    """

    first: int
    added: int
    head: int
    duplicates: dict[int, int] = {}
    conflicts: dict[int, int] = {}


class LogEntry(NamedTuple):
    """One event as it is stored."""

    sequence: int
    event_id: str
    received_at: Micros
    dataset: str
    decision: str | None
    body: str


class EventLabel(NamedTuple):
    """What a list filters by, and the size of an event's body in bytes."""

    sequence: int
    dataset: str
    decision: str | None
    size: int


AppendEnded = Callable[[Appended | Exception], None]
"""Told what became of events that were appended, or why none is stored."""


class EventLog(Protocol):
    """The append-only log of every organization."""

    def append(
        self, organization_no: OrganizationNo, events: Seq[NewEvent], now: Micros, ended: AppendEnded
    ) -> None:
        """Begin to append events of one organization.

        Args:
            ended: called once, later, on the event loop: when the events are durable, or with Unavailable (OutOfRoom where
                the organization's quota has no room for them), and then none of them is stored.
        """
        ...

    async def page(
        self, organization_no: OrganizationNo, first: int, last: int, *, bytes_max: int, labels: bool
    ) -> Page:
        """Read the events first … last, as many as bytes_max allows but at least one; raises Unavailable."""
        ...

    def peek(
        self, organization_no: OrganizationNo, first: int, last: int, *, bytes_max: int, labels: bool
    ) -> Page | None:
        """Read a few events that were appended just now, at once; None where that would wait, or is more than bytes_max."""
        ...

    async def heads(self, served_by: WorkerId | None = None) -> dict[OrganizationNo, int]:
        """Return the newest sequence of every organization that has events; raises Unavailable.

        Args:
            served_by: only those of which this worker serves a destination.
        """
        ...

    def changed(self) -> int:
        """Return a number that is another one after another process has committed."""
        ...


class Ledger(Protocol):
    """What is certain about deliveries, and who may say so."""

    async def enlist(self, worker_id: WorkerId, lease_us: int) -> None:
        """Register a worker, after removing those whose time is over; raises Unavailable.

        Args:
            lease_us: how long it and its leases are good unless it renews them, microseconds by the store's clock.
        """
        ...

    async def renew(self, worker_id: WorkerId, lease_us: int) -> bool:
        """Prolong a worker's leases to `lease_us` from now; False when they are lost already; raises Unavailable.

        A worker that judges itself counts from the moment before it called.
        """
        ...

    async def workers(self) -> list[WorkerId]:
        """Return all registered workers, living or not."""
        ...

    async def crew(self) -> list[tuple[WorkerId, bool]]:
        """Return all registered workers, living or not, and whether each is about to leave."""
        ...

    async def leave(self, worker_id: WorkerId, free: Seq[Lease]) -> None:
        """Note that a worker is about to leave, so that the others share what it hands back here; raises Unavailable."""
        ...

    async def claim(self, worker_id: WorkerId) -> tuple[list[Claimed], int]:
        """Take over free destinations up to a fair share; raises Unavailable.

        Returns: everything this worker now serves, and how many of them are more than its share; nothing when its time is over.
        """
        ...

    async def settle(self, worker_id: WorkerId, settlements: Seq[Settlement]) -> list[Settled | None]:
        """Store settlements in one transaction, each number once; at most one of a destination.

        Returns: for each settlement the counts afterwards; None where the lease did not hold, and then nothing of it is stored.
        Raises: Unavailable; then nothing is stored, or nobody knows: repeat the same settlements.
        """
        ...

    async def due(self, key: DestinationKey, now: Micros, limit: int) -> tuple[list[DueRetry], Micros | None]:
        """Return retries that are due, oldest first, and when the next one after now falls due."""
        ...

    async def bring_forward(self, key: DestinationKey, policy: RetryPolicy, now: Micros) -> None:
        """See to it that no retry is further away from `now` than the policy allows: a clock that was wrong may have written it.

        What a destination may have prolonged by a Retry-After, and what is parked, may be an hour away.
        Raises: Unavailable, and then perhaps nothing has changed. May run twice.
        """
        ...

    async def outstanding(self, key: DestinationKey) -> Outstanding:
        """Return the replays under way and the numbers of retries and dead letters."""
        ...

    async def release(self, worker_id: WorkerId, leases: Seq[Lease]) -> None:
        """Hand destinations back."""
        ...

    async def retire(self, worker_id: WorkerId) -> None:
        """Remove a worker: its leases are free at once."""
        ...


class Place(NamedTuple):
    """Where a sealed record belongs; it opens nowhere else.

    Args:
        audience: stands for those to whom the secret may be sent; "" where it is sent to nobody.
    """

    org_id: str
    dst_id: str
    field: str
    audience: str = ""


class Sealer(Protocol):
    """Encrypts what must not lie in the store in plain text. A master key is known by its id of four bytes."""

    @property
    def newest(self) -> bytes:
        """Id of the master key that stands first where the keys are kept."""
        ...

    def holds(self, key_id: bytes) -> bool:
        """Tell whether a master key is there."""
        ...

    def stamp(self, key_id: bytes) -> bytes:
        """Return how every record begins that is sealed now under a master key."""
        ...

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """Return a key of 32 bytes for another purpose from each master key, the newest first; they reveal nothing about these."""
        ...

    def seal(self, secret: str, place: Place, key_id: bytes | None = None) -> bytes:
        """Encrypt under a master key, None for the newest; raises Unavailable when that key is not there."""
        ...

    def is_bound(self, sealed: bytes) -> bool:
        """Tell whether a record is of a version that is bound to its audience."""
        ...

    def open(self, sealed: bytes, place: Place, *, unbound: bool = False) -> str:
        """Decrypt; raises Unavailable when the record was moved or damaged, or its master key is not there.

        Args:
            unbound: accept a record of a version without audience in a place that has one.
        """
        ...

    def rewrap(self, sealed: bytes, place: Place, key_id: bytes, *, unbound: bool = False) -> bytes:
        """Bring a record under another master key, and to the newest version; raises Unavailable as `open` and `seal` do."""
        ...


class Directory(Protocol):
    """What a worker looks up about destinations."""

    async def changed_since(self, revision: int) -> list[tuple[DestinationNo, int]]:
        """Return destinations changed after a revision, with the revision of the change, in order."""
        ...

    async def destination(self, destination_no: DestinationNo) -> Destination | None:
        """Return a destination, or None when it is deleted."""
        ...


class Retention(Protocol):
    """Forgets what is over its time."""

    async def advance(self, worker_id: WorkerId, now: Micros, passed_us: int) -> Micros | None:
        """Move retention's clock towards `now`, at most as fast as time passes; raises Unavailable.

        Args:
            passed_us: time since the last call that returned, by the monotonic clock, microseconds.
        Returns: where it stands; None while another worker does this work.
        """
        ...

    async def step(self, horizon: Micros) -> int:
        """Remove some of what is older than `horizon`; returns how many rows went, 0 when there is no more."""
        ...

    async def remove_rollups(self, now: Micros) -> int:
        """Remove some rollups that are over their own time, which does not depend on that of events.

        Returns: how many rows went, 0 when there is no more.
        """
        ...


class DeadLetterWork(Protocol):
    """What is done with many dead letters at a time, in small parts."""

    async def step(self, worker_id: WorkerId) -> bool:
        """Do a part of the work there is; raises Unavailable, and then nothing of the part is done.

        Returns: whether there may be more; False also while another worker does this work.
        """
        ...


class Notifier(Protocol):
    """Wakes the workers; a ring may be lost, so everyone who waits for it also looks now and then."""

    def notify(self, organization_no: OrganizationNo, head: int) -> None:
        """Tell that a log has grown to `head`; rings of one moment travel together."""
        ...

    def notify_changes(self) -> None:
        """Tell that destinations changed."""
        ...


class Clock(Protocol):
    """What time it is. Timers use the event loop's own monotonic time, never this."""

    def now(self) -> Micros:
        """Return the wall clock: microseconds since 1970-01-01 UTC; may jump either way."""
        ...

    def steady(self) -> Micros:
        """Return the microseconds of a clock that nobody sets, the same for all processes of this machine since its start."""
        ...


class Random(Protocol):
    """Where chance comes from."""

    def chance(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """Return `count` bytes that nobody can foresee."""
        ...


class Channel(Protocol):
    """Connections to one destination; used by nobody else."""

    @property
    def waits(self) -> bool:
        """True while attempts wait for something that further ones would only wait for as well, such as a token."""
        ...

    def start(self, request: Request, ended: Callable[[Any, Answer], None], token: object) -> None:
        """Begin one attempt: send the request; its answer comes by a call.

        Args:
            ended: called once as ended(token, answer), later, on the event loop: a Response whatever its status, or a
                Fault; within the route's timeout_s (and a quarter of a second), and 4 s more if it waits for a limit of our
                own. A Fault of kind LIMIT says that nothing was sent. It may start the next attempt at once.
        Raises: nothing.
        """
        ...

    async def post(self, request: Request) -> Answer:
        """Make one attempt, and wait for its answer as `start` tells it.

        Raises: nothing but CancelledError; after cancellation the connection in use is closed.
        """
        ...

    def close(self) -> None:
        """Close all connections; an attempt that is under way ends as a Fault of kind CLOSED."""
        ...


class Sender(Protocol):
    """Opens channels; the only thing that leaves the service leaves through one of them."""

    def open(self, route: Route, trace: Trace | None = None) -> Channel:
        """Return a channel for this route; makes no connection yet.

        Args:
            trace: gets a mark for each stage that the channel's first attempt passes; for a test, which makes one alone.
        """
        ...
