"""The checks of `aegis doctor` on sealed logs: how far they are sealed, whether a sealer runs, which logs it refuses.

They read tree, keys and signed checkpoint of every log, and not its events.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from aegis_stream.control.sealing_guard import fault_at_rest
from aegis_stream.domain.ids import SECOND, Micros
from aegis_stream.errors import Misconfigured
from aegis_stream.settings import Settings
from aegis_stream.store.checkpoint_log import CheckpointLog
from aegis_stream.store.inspection import Inspection
from aegis_stream.store.sealing_state import SealingReport

from .checks import Finding, State, listed

LOGS_SECONDS_MAX = 20.0
"""Longest check of the logs, seconds: about a thousand each."""
BEHIND_S = 600
"""A sealer that did not catch up for so long is too slow, seconds: bursts of minutes are normal."""
_RESTART = "put the newest backup in place; without one, `aegis proof restart --org {} --reason TEXT` begins another log"
_KEY = "`aegis vault reset` gives the key up, and the next seal makes another one: verifiers need it"
_START = "start `aegis serve` or `aegis sealer`; if one should run, its log says why it ends"


class _Sealed(NamedTuple):
    """What all logs have together.

    Args:
        waiting: events that no checkpoint covers, without the sealer's own.
        newest: the time of the newest seal; 0 without any.
        is_whole: whether every log was looked at.
    """

    logs: int = 0
    head: int = 0
    sealed: int = 0
    waiting: int = 0
    newest: Micros = Micros(0)
    is_whole: bool = True


def check_proof(inspection: Inspection, settings: Settings, now: Micros) -> Iterator[Finding]:
    """Check that logs are sealed, as far as the newest look at them tells, and that the next seal would not be refused."""
    if not settings.proof.enabled:
        yield Finding(
            "proof",
            "note",
            "no log is sealed, because AEGIS_PROOF is false: nobody can prove that no event is missing",
            "set AEGIS_PROOF=true",
        )
        return
    try:
        noted = CheckpointLog(settings.store.data_dir)
    except Misconfigured as error:
        yield Finding("proof", "problem", error.message, "let the service read it")
        return
    faults: dict[str, str] = {one.org_id: one.reason for one in inspection.seal_refusals()}
    found = _look(inspection, noted, faults)
    yield from _refused(faults)
    report = inspection.sealing().report
    yield from _sealer(report, found, now, refuses=bool(faults))
    text = f"{found.sealed:,} of {found.head:,} events of {found.logs:,} logs are sealed"
    if not found.is_whole:
        yield Finding(
            "proof", "note", f"{text}; not all logs were checked within {LOGS_SECONDS_MAX:g} s", "run it again on a restored backup"
        )  # fmt: skip
    elif not found.logs:
        yield Finding("proof", "ok", "there is no event to seal")
    elif not found.newest:
        yield Finding(
            "proof", "note", f"{text}: the first seal is still to come", "run this again in a minute"
        )
    else:
        waiting = f"; {found.waiting:,} wait for the next seal" if found.waiting else ""
        yield Finding("proof", "ok", f"{text}, the newest seal is {_age(now - found.newest)} old{waiting}")


def _look(inspection: Inspection, noted: CheckpointLog, faults: dict[str, str]) -> _Sealed:
    """Look at every log, and add to `faults` what the next seal would refuse."""
    deadline, found = time.monotonic() + LOGS_SECONDS_MAX, _Sealed()
    for one in inspection.sealed_logs():
        if time.monotonic() > deadline:
            return found._replace(is_whole=False)
        state, log = one.state, one.tree
        found = found._replace(
            logs=found.logs + 1,
            head=found.head + state.head,
            sealed=found.sealed + (0 if log is None else min(log.end, state.head)),
            waiting=found.waiting + max(0, state.unsealed - (state.own or 0)),
            newest=max(found.newest, Micros(0) if log is None else log.sealed_at),
        )
        if log is not None and (fault := fault_at_rest(one, noted.last(log.origin))):
            faults.setdefault(state.org_id, fault)
    return found


def _refused(faults: dict[str, str]) -> Iterator[Finding]:
    """Name each log that is not sealed any more; of many the first ones."""
    named = list(faults)[:10]
    for org_id in named:
        remedy = _KEY if "cannot be used" in faults[org_id] else _RESTART.format(org_id)
        yield Finding(
            "proof", "problem", f"the log of {org_id} is not sealed any more: {faults[org_id]}", remedy
        )
    if len(faults) > len(named):
        rest = listed(list(faults)[len(named) :])
        yield Finding(
            "proof",
            "problem",
            f"not sealed any more either: {rest}",
            "mend those above first, then run this again",
        )


def _sealer(report: SealingReport | None, found: _Sealed, now: Micros, *, refuses: bool) -> Iterator[Finding]:
    """Tell that no sealer runs, or that it is too slow; and that retention waits for it."""
    state: State = "problem" if found.waiting else "note"
    held = f"; {found.waiting:,} events wait, and retention removes none of them" if found.waiting else ""
    if found.logs and report is None:
        yield Finding("proof", "note", f"no sealer has ever run{held}", _START)
    elif found.logs and report is not None and report.is_silent(now):
        age = _age(now - report.looked_at)
        yield Finding("proof", state, f"no sealer runs: the last one was seen {age} ago{held}", _START)
    elif report is not None and found.waiting and not refuses and report.lag_s(now) > BEHIND_S:
        yield Finding(
            "proof", "problem", f"the sealer has not caught up for {_age(now - report.caught_up_at)}{held}",
            "give it a processor: it yields to ingest and delivery; or lower its work with AEGIS_PROOF_CONTENTS=off",
        )  # fmt: skip


def _age(us: int) -> str:
    seconds = max(0, us) // SECOND
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
