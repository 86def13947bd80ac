"""Whether a database is fit to keep events, row by row: what a start is refused by, and what `aegis doctor` prints."""

from typing import Literal, NamedTuple

State = Literal["ok", "info", "warn", "refuse"]


class Finding(NamedTuple):
    """One row.

    Args:
        state: refuse, if no service may run on the database; warn, if events can be lost or the service can stop; info, if it is
            worth knowing.
        remedy: what to set or do; "" if the state is ok.
    """

    row: str
    state: State
    detail: str
    remedy: str = ""


class Demands(NamedTuple):
    """What the operator demands, and what they vouch for.

    Args:
        require_sync: a standby must have each event before it is acknowledged (AEGIS_REQUIRE_SYNC).
        atomic_pages: the file system of the database never tears a page (AEGIS_ATOMIC_PAGES).
    """

    require_sync: bool = False
    atomic_pages: bool = False


NO_DEMANDS = Demands()
