"""What the front door asks of the application behind it, and what connections share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .answer import Answer
from .head import Head, Refusal
from .shares import Shares
from .turns import Turns

if TYPE_CHECKING:
    from .connection import Connection
    from .place import Place


CALLS_AT_ONCE = 4
"""Calls that are begun in one round of the event loop, so that a round stays short whatever the number of waiting calls."""

READS_AT_ONCE = 8
"""Pieces of unfinished requests that are taken in one round: each may have 256 KiB."""


class Admitted(NamedTuple):
    """A request whose body may come.

    Args:
        holder: name of the organization or network that the connection and its bytes are counted for from now on.
        body_max: largest body, bytes.
        serve: called once, with the whole body and the connection, which it answers then or later.
    """

    holder: str
    body_max: int
    serve: "Callable[[bytes, Connection], None]"


Decision = Admitted | Answer
"""The body may come, or the request is answered without it."""


class Reception(Protocol):
    """The application behind the front door."""

    def admit(self, head: Head, connection: "Connection") -> Decision | Awaitable[Decision]:
        """Decide about a request by its head alone; raises nothing."""
        ...

    def refuse(self, refusal: Refusal) -> Answer:
        """Return the answer to what the front door refuses by itself."""
        ...


class Deadlines(Protocol):
    """Looks at the deadlines of all connections now and then."""

    def add(self, watched: "Place") -> None:
        """Begin to look."""
        ...

    def discard(self, watched: "Place") -> None:
        """Stop looking."""
        ...


@dataclass(slots=True)
class Bounds:
    """What the connections of one listener share, and how long each may take; times in seconds.

    Args:
        turns: of requests that are answered here at once or by the application; ingest takes none.
        reads: of connections whose client sends more than whole requests.
    """

    shares: Shares
    deadlines: Deadlines
    network_of: Callable[[str], str]
    header_bytes_max: int
    headers_max: int
    header_timeout_s: float
    body_timeout_s: float
    keep_alive_s: float
    open: "set[Connection]" = field(default_factory=set)
    turns: Turns = field(default_factory=lambda: Turns(CALLS_AT_ONCE))
    reads: Turns = field(default_factory=lambda: Turns(READS_AT_ONCE))
