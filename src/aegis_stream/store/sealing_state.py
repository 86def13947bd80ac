"""What the sealer says of itself: when it looked last, whether it keeps up, which logs it refuses. Functions of a unit of work.

The sealer is a process of its own. Metrics, the doctor and the console read here how it does, in a few rows whatever the size of the
store.
"""

from typing import NamedTuple

from aegis_stream.domain.ids import Micros, OrganizationId, OrganizationNo

from .database import Unit

REFUSALS_MAX = 1000
"""Most refused logs that are read at once."""
SILENT_US = 120_000_000
"""After so long without a look, no sealer runs, microseconds: it looks every 10 seconds, and while it catches up once a minute."""


class SealingReport(NamedTuple):
    """The newest look of a sealer at all logs.

    Args:
        caught_up_at: the newest look after which nothing was due, and no log was refused.
        lag_events: events that no checkpoint covered when it looked, without its own.
    """

    looked_at: Micros
    caught_up_at: Micros
    lag_events: int

    def is_silent(self, now: Micros) -> bool:
        """Tell whether no sealer runs. A clock that was set back does not make one silent."""
        return now - self.looked_at > SILENT_US

    def lag_s(self, now: Micros) -> int:
        """Return for how long something is due or refused, or no sealer has looked, seconds; at most 20 where one keeps up."""
        return max(0, now - self.caught_up_at) // 1_000_000


class Refusal(NamedTuple):
    """A log that the sealer refuses to seal.

    Args:
        reason: what is wrong, and what to do.
        since: when it refused first for this reason.
    """

    organization_no: OrganizationNo
    org_id: OrganizationId
    reason: str
    since: Micros


class SealingTotals(NamedTuple):
    """What is counted over all logs.

    Args:
        report: None where no sealer was ever to run.
        seals: seals that were stored.
        refusals: how often a log was refused: once for each reason.
    """

    report: SealingReport | None
    seals: int
    refusals: int


def begin(unit: Unit, now: Micros) -> None:
    """Note that a sealer is to run from now on, so that one that never looks is missed."""
    unit.run("begin_sealing", (now,))


def store_report(unit: Unit, now: Micros, lag_events: int | None, *, is_caught_up: bool) -> None:
    """Note that a sealer has looked.

    Args:
        lag_events: None where it has not looked at all logs yet.
        is_caught_up: whether nothing is due any more.
    """
    unit.run("report_sealing", (now, now, int(is_caught_up), lag_events))


def read_report(unit: Unit) -> SealingReport | None:
    """Return the newest look of a sealer; None where none was ever to run."""
    row = unit.row("sealing_report")
    return None if row is None else SealingReport(*row)


def refuse(unit: Unit, organization_no: OrganizationNo, reason: str, now: Micros) -> None:
    """Note and count that a log is refused, for a reason that is not noted yet."""
    unit.run("store_seal_refusal", (organization_no, reason, now))
    unit.run("add_to_counter", (1, "proof_refusals"))


def accept(unit: Unit, organization_no: OrganizationNo) -> None:
    """Note that a log is sealed again."""
    unit.run("delete_seal_refusal", (organization_no,))


def refusals(unit: Unit, limit: int = REFUSALS_MAX) -> list[Refusal]:
    """Return the logs that the sealer refuses, the longest refused first."""
    return [Refusal(*row) for row in unit.rows("seal_refusals", (limit,))]


def refusal_of(unit: Unit, organization_no: OrganizationNo) -> Refusal | None:
    """Return why the sealer refuses a log; None when it does not, or the log is not to be sealed."""
    row = unit.row("seal_refusal_of", (organization_no,))
    return None if row is None else Refusal(*row)


def totals(unit: Unit) -> SealingTotals:
    """Return what is counted over all logs: three rows."""
    row = unit.row("seal_counters")
    assert row is not None, "the schema has both"
    return SealingTotals(read_report(unit), *row)
